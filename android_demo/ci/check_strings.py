"""The app's resources and code in; fails where a text is not translated, or is no resource at all.

Usage: python android_demo/ci/check_strings.py android_demo/src/main
"""

import re
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

_ARGUMENT = re.compile(r"%\d\$[a-z]")
_SHOWN = ("text", "hint", "title", "label", "contentDescription")
_ANDROID = "{http://schemas.android.com/apk/res/android}"
_LITERAL_IN_CODE = re.compile(
    r'(?:\.text|\btitle|contentDescription|\.hint) = "[^"$]|set(?:Text|Message|Title)\("[^"]'
)


def main(sources: Path) -> None:
    """Print what was compared; end with an error that names every fault."""
    resources = sources / "res"
    original = _strings(resources / "values" / "strings.xml")
    translations = sorted(path.parent for path in resources.glob("values-*/strings.xml"))
    faults = [fault for folder in translations for fault in _compare(original, folder)]
    faults += [fault for path in resources.rglob("*.xml") for fault in _literals(path)]
    for path in (sources / "kotlin").rglob("*.kt"):
        faults += [
            f"{path}: {line.strip()}"
            for line in path.read_text(encoding="utf-8").splitlines()
            if _LITERAL_IN_CODE.search(line)
        ]
    if len(translations) < 5:
        faults.append(f"{len(translations)} translations; expected at least 5")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(original)} strings in {1 + len(translations)} languages")


def _strings(path: Path) -> dict[str, set[str]]:
    """Name of a string or plural that is translated -> the arguments that it takes."""
    found: dict[str, set[str]] = {}
    for element in ET.parse(path).getroot():
        if element.get("translatable") != "false":
            text = "".join(element.itertext())
            found[element.get("name", "")] = set(_ARGUMENT.findall(text))
    return found


def _compare(original: dict[str, set[str]], folder: Path) -> list[str]:
    found = _strings(folder / "strings.xml")
    faults = [f"{folder.name} lacks {name}" for name in original.keys() - found.keys()]
    faults += [
        f"{folder.name} has {name}, which is nowhere else"
        for name in found.keys() - original.keys()
    ]
    shared = original.keys() & found.keys()
    return faults + [
        f"{folder.name}: {name} takes {found[name]}, not {original[name]}"
        for name in shared
        if found[name] != original[name]
    ]


def _literals(path: Path) -> list[str]:
    if path.parent.name.startswith("values"):
        return []
    return [
        f"{path.name}: {key} is '{value}', no resource"
        for element in ET.parse(path).iter()
        for key in _SHOWN
        if (value := element.get(f"{_ANDROID}{key}")) and not value.startswith("@")
    ]


if __name__ == "__main__":
    main(Path(sys.argv[1]))
