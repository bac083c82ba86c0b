"""The app's layouts and strings in; an HTML page that shows them, and pictures of it, out.

It is a drawing of the resource files with CSS, no screenshot of Android. Needs chromium.
Usage: python android_demo/ci/draw_layouts.py android_demo/src/main/res OUT
"""

import html
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_ANDROID = "{http://schemas.android.com/apk/res/android}"
_SYSTEM = {"@android:color/transparent": "transparent"}
_WIDTH, _HEIGHT = 360, 720  # dp
_RTL = ("ar", "fa", "he", "ur")


@dataclass(frozen=True, kw_only=True)
class Screen:
    """A layout as it is drawn: texts and visibility by id, rows of lists as layouts with texts."""

    layout: str
    language: str = ""
    night: bool = False
    font_scale: float = 1.0
    texts: Mapping[str, str]
    gone: tuple[str, ...] = ()
    rows: tuple[tuple[str, Mapping[str, str]], ...] = ()


class Drawing:
    """One screen on its way from XML to HTML."""

    def __init__(self, resources: Path, screen: Screen) -> None:
        self._resources, self._screen = resources, screen
        self.strings = self._values("strings", screen.language)
        self._colors = self._values("colors", "night" if screen.night else "")
        self._dimens = self._values("dimens", "")
        styles = ET.parse(resources / "values" / "styles.xml").getroot()
        self._styles = {
            style.get("name"): {i.get("name", ""): i.text or "" for i in style} for style in styles
        }

    def html(self) -> str:
        """The screen as one element."""
        direction = "rtl" if self._screen.language in _RTL else "ltr"
        colors = "#1c1f20;color:#eceff0" if self._screen.night else "#fbfbfa;color:#1a1c1d"
        title = html.escape(self._screen.texts["title"])
        body = self._view(self._layout(self._screen.layout), self._screen.texts, "column")
        size = f"width:{_WIDTH}px;height:{_HEIGHT}px"
        return (
            f'<div dir="{direction}" class="phone" style="{size};background:{colors}">'
            f'<div class="bar">{title}</div>{body}</div>'
        )

    def _layout(self, name: str) -> ET.Element:
        return ET.parse(self._resources / "layout" / f"{name}.xml").getroot()

    def _values(self, kind: str, qualifier: str) -> dict[str, str]:
        folders = ["values", f"values-{qualifier}"] if qualifier else ["values"]
        found = {}
        for folder in folders:
            for item in ET.parse(self._resources / folder / f"{kind}.xml").getroot():
                name = item.get("name", "")
                text = item.text or ""
                if item.tag == "plurals":
                    text = next(i.text or "" for i in item if i.get("quantity") == "other")
                found[name] = text.replace("\\'", "'").replace("\\n", "\n")
        return found

    def _attributes(self, view: ET.Element) -> dict[str, str]:
        style = self._styles.get(view.get("style", "").removeprefix("@style/"), {})
        found = {name.removeprefix("android:"): value for name, value in style.items()}
        found |= {name.removeprefix(_ANDROID): value for name, value in view.attrib.items()}
        return {name: self._resolved(value) for name, value in found.items()}

    def _resolved(self, value: str) -> str:
        kind, _, name = value.lstrip("@+").partition("/")
        tables = {"string": self.strings, "color": self._colors, "dimen": self._dimens}
        if value.startswith("@") and kind in tables:
            return tables[kind][name]
        return _SYSTEM.get(value, value)

    def _view(self, view: ET.Element, texts: Mapping[str, str], parent: str) -> str:
        attributes = self._attributes(view)
        name = attributes.get("id", "").partition("/")[2]
        hidden = attributes.get("visibility") == "gone" and name not in texts
        if hidden or name in self._screen.gone or name in texts.get("gone", "").split():
            return ""
        css = self._css(attributes, parent)
        text = texts.get(name, attributes.get("text", ""))
        inner = self._inner(view, attributes, texts, text)
        return f'<div class="{view.tag} {self._borderless(view)}" style="{css}">{inner}</div>'

    def _borderless(self, view: ET.Element) -> str:
        return "borderless" if "Borderless" in view.get("style", "") else ""

    def _inner(
        self, view: ET.Element, attributes: Mapping[str, str], texts: Mapping[str, str], text: str
    ) -> str:
        if view.tag == "ListView":
            return "".join(
                self._view(self._layout(row), own, "row") for row, own in self._screen.rows
            )
        if view.tag == "ProgressBar":
            return f'<span style="width:{text or 0}%"></span>'
        if view.tag == "EditText" and not text:
            return f"<i>{html.escape(attributes.get('hint', ''))}</i>"
        direction = attributes.get("orientation", "vertical")
        children = "".join(self._view(child, texts, direction) for child in view)
        return children or f'<span dir="auto">{html.escape(text)}</span>'

    def _css(self, attributes: Mapping[str, str], parent: str) -> str:
        rules = [
            *self._sizes(attributes, parent),
            *self._background(attributes.get("background", "")),
        ]
        if direction := attributes.get("orientation"):
            rules.append(f"flex-direction:{'row' if direction == 'horizontal' else 'column'}")
        for key, css in _TEXT_RULES.items():
            if key in attributes:
                rules.append(f"{css}:{_pixels(attributes[key], self._screen.font_scale)}")
        rules += [css for (key, value), css in _GRAVITY.items() if attributes.get(key) == value]
        return ";".join(rules)

    def _sizes(self, attributes: Mapping[str, str], parent: str) -> list[str]:
        rules = [
            f"{css}{suffix}:{_pixels(size)}"
            for side, suffix in _SIDES.items()
            for kind, css in (("padding", "padding"), ("layout_margin", "margin"))
            if (size := attributes.get(f"{kind}{side}"))
        ]
        if "layout_weight" in attributes:
            rules.append(f"flex:{attributes['layout_weight']} 1 0;min-width:0;min-height:0")
        elif attributes.get("layout_width") == "match_parent" and parent != "horizontal":
            rules.append("align-self:stretch")
        return rules

    def _background(self, value: str) -> list[str]:
        if not value.startswith("@drawable/"):
            return [f"background:{value}"] if value else []
        shape = ET.parse(self._resources / "drawable" / f"{value.partition('/')[2]}.xml").getroot()
        color = self._resolved(shape[0].get(f"{_ANDROID}color", ""))
        radius = self._resolved(shape[1].get(f"{_ANDROID}radius", ""))
        return [f"background:{color}", f"border-radius:{_pixels(radius)}", "align-self:auto"]


_TEXT_RULES = {"textColor": "color", "minHeight": "min-height", "textSize": "font-size"}
_GRAVITY = {
    ("gravity", "end"): "align-items:flex-end",
    ("textAlignment", "viewEnd"): "text-align:end",
}
_SIDES = {
    "": "",
    "Start": "-inline-start",
    "End": "-inline-end",
    "Top": "-top",
    "Bottom": "-bottom",
}
_CSS = """
body{margin:16px;display:flex;gap:16px;background:#fff;width:max-content;
font:17px "Noto Sans","Noto Sans Arabic",sans-serif}
.phone{border:1px solid #888;border-radius:18px;overflow:hidden;display:flex;flex-direction:column}
.phone>div:last-child{flex:1;min-height:0}
.bar{padding:14px 16px;font-size:20px;font-weight:600}
.phone div{box-sizing:border-box}
.LinearLayout,.ScrollView{display:flex}.ScrollView{flex-direction:column}
.TextView{white-space:pre-wrap;overflow-wrap:anywhere}
.ListView{overflow:hidden;display:flex;flex-direction:column}
.Button{background:#7d8b9044;border-radius:6px;text-align:center;padding:12px 8px;font-size:14px;
margin:2px}
.borderless{background:none;color:#2f86a3}
.EditText{border-bottom:2px solid #7d8b90;padding:10px 4px}
.EditText i{opacity:.6;font-style:normal}
.ProgressBar{height:4px;background:#7d8b9055;margin:6px 0}
.ProgressBar span{display:block;height:4px;background:#2f86a3}
.Spinner{padding:12px 4px}.Spinner::after{content:" \\25BE"}
.CheckBox{padding:12px 4px}.CheckBox::before{content:"\\2610 "}
.LinearLayout[style*="flex-direction:row"]{align-items:center}
"""


def _pixels(value: str, scale: float = 1.0) -> str:
    found = re.fullmatch(r"([\d.]+)(dp|sp)", value)
    if not found:
        return value
    return f"{float(found.group(1)) * (scale if found.group(2) == 'sp' else 1):g}px"


_BUNDLES = (
    ("bundle_item", {
        "name": "tiny-aya-global",
        "line": "onnx \u00b7 2.33 GB \u00b7 context 8192\nNeeds 3.06 GB of memory",
        "languages": "67 languages: Amharic, Arabic, Basque, Bengali, Bulgarian, Burmese \u2026",
        "quality": "Change from the original: 8.7 mnat on average, most in Lao (21.4)",
    }),
    ("bundle_item", {
        "name": "swahili-build",
        "line": "executorch \u00b7 1.98 GB \u00b7 context 4096\nNeeds 2.6 GB of memory",
        "languages": "2 languages: English, Swahili",
        "quality": "No quality figures in this bundle\nPushed by cable, not checked yet",
        "open": "Check files",
        "gone": "bench",
    }),
)  # fmt: skip
_SWAHILI = (
    ("user_message", {
        "text": "Habari ya asubuhi! Niambie kuhusu Ziwa Victoria kwa sentensi moja.",
    }),
    ("model_message", {
        "text": "Ziwa Victoria ni ziwa kubwa zaidi barani Afrika na liko kati ya Tanzania, "
                "Uganda na Kenya.",
        "figures": "11.2 tokens/s \u00b7 27 tokens \u00b7 first after 0.6 s",
    }),
)  # fmt: skip
_ARABIC = (
    ("user_message", {"text": "صباح الخير! ما عاصمة كينيا؟"}),
    (
        "model_message",
        {
            "text": "عاصمة كينيا هي نيروبي.",
            "figures": "11.2 رمز/ث · 9 رمزًا · الأول بعد 0.6 ث",
        },
    ),
)
_CHAT = {
    "title": "tiny-aya-global",
    "phase": "Answering\u2026",
    "meter": "21",
    "meter_text": "Context: 1716 of 8192 tokens",
    "heat": "Temperature normal",
    "language": "Swahili",
    "send": "Stop",
}
_IMPORT = {
    "title": "Language models",
    "progress_text": "Importing earth: 812 MB of 2.33 GB",
    "progress": "35",
    "import_stop": "Stop",
    "gone": "import_folder",
}
_BENCH = {
    "title": "Benchmark",
    "progress_text": "Measured 7 of 20\nCooling down",
    "progress": "35",
    "run": "Stop",
    "results": "prompt 128: 44.1 tokens/s (42.0 to 45.3)\n"
    "decode 64 at 128: 10.1 tokens/s (9.6 to 10.4)",
}
_PUSH = "With a cable: adb push FOLDER /sdcard/Android/data/org.tinyaya.demo/files/bundles/"


def _screens(arabic: Mapping[str, str]) -> list[Screen]:
    chat_ar = {
        "title": "tiny-aya-global",
        "phase": arabic["phase_ready"],
        "meter": "4",
        "meter_text": arabic["meter"].replace("%1$d", "402").replace("%2$d", "8192"),
        "heat": arabic["heat_none"],
        "language": arabic["language_any"],
    }
    long = {**_CHAT, "problem": "The message is too long for this model. Shorten it."}
    first = {"title": "Language models", "push": _PUSH}
    return [
        Screen(layout="bundles", texts=first, gone=("bundles",)),
        Screen(layout="bundles", rows=_BUNDLES, texts=_IMPORT, gone=("welcome",)),
        Screen(layout="chat", rows=_SWAHILI, texts=_CHAT),
        Screen(layout="chat", language="ar", night=True, rows=_ARABIC, texts=chat_ar),
        Screen(layout="chat", font_scale=1.6, rows=_SWAHILI[:1], texts=long),
        Screen(layout="bench", texts=_BENCH),
    ]


def main(resources: Path, out: Path) -> None:
    """Write layouts.html and layouts.png to `out`."""
    out.mkdir(parents=True, exist_ok=True)
    screens = _screens(Drawing(resources, Screen(layout="chat", language="ar", texts={})).strings)
    drawn = "".join(Drawing(resources, screen).html() for screen in screens)
    page = f"<!doctype html><meta charset=utf-8><style>{_CSS}</style><body>{drawn}</body>"
    (out / "layouts.html").write_text(page, encoding="utf-8")
    size = f"{len(screens) * (_WIDTH + 18) + 18},{_HEIGHT + 34}"
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    target = [
        f"--window-size={size}",
        f"--screenshot={out / 'layouts.png'}",
        f"file://{(out / 'layouts.html').resolve()}",
    ]
    subprocess.run([*command, *target], check=True, capture_output=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
