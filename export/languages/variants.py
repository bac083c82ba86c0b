"""Finds the language of a code or name, and the variant of Tiny Aya to take for it.

Codes are BCP 47 or ISO 639, names English or a language's own; names are those of the CLDR.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import langcodes
from langcodes import Language as Tag
from langcodes.tag_parser import LanguageTagError

from tinyaya.export.languages.table import LANGUAGES, Language
from tinyaya.runtime.errors import OptionError

_MAX_TAG_DISTANCE = 10  # CLDR's, of tags that mean the same language to its readers
_ENGLISH = "en"


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One of the models; regions: whose languages it was tuned for, empty where for none."""

    name: str
    regions: tuple[str, ...]
    purpose: str

    @property
    def languages(self) -> Sequence[Language]:
        """Of its regions."""
        return [row for row in LANGUAGES.values() if row.region in self.regions]


_VARIANTS = (
    Variant(name="base", regions=(), purpose="not tuned, for fine-tuning; no chat template"),
    Variant(
        name="global",
        regions=tuple(dict.fromkeys(row.region for row in LANGUAGES.values())),
        purpose="tuned for all its languages alike; for mixed regions",
    ),
    Variant(name="earth", regions=("Africa", "West Asia"), purpose="tuned for its regions"),
    Variant(name="fire", regions=("South Asia",), purpose="tuned for its region"),
    Variant(name="water", regions=("Europe", "Asia-Pacific"), purpose="tuned for its regions"),
)
VARIANTS: Mapping[str, Variant] = {row.name: row for row in _VARIANTS}
_REGIONAL_VARIANTS = ("earth", "fire", "water")


def resolve_language(text: str) -> Language:
    """The language of a code or name; raises OptionError with the nearest ones."""
    wanted = text.strip().casefold()
    if wanted in (names := _names()):
        return LANGUAGES[names[wanted]]
    for tag in _tags(text.strip()):
        found, distance = langcodes.closest_match(tag, list(LANGUAGES), _MAX_TAG_DISTANCE)
        if distance <= _MAX_TAG_DISTANCE and found in LANGUAGES:
            return LANGUAGES[found]
    near = dict.fromkeys(names[name] for name in get_close_matches(wanted, names, 3, 0.6))
    known = [f"{LANGUAGES[code].name} ({code})" for code in near]
    way_out = f"nearest: {', '.join(known)}" if known else "see `tinyaya-export variants`"
    raise OptionError(f"{text!r} is none of the {len(LANGUAGES)} languages; {way_out}")


def resolve_languages(text: str) -> tuple[Language, ...]:
    """Languages of codes or names with commas between; raises OptionError."""
    parts = [part for part in text.split(",") if part.strip()]
    if not parts:
        raise OptionError("no language is named; expected codes or names such as sw,en")
    return tuple({row.code: row for row in map(resolve_language, parts)}.values())


def own_name(language: Language) -> str:
    """What its speakers call it."""
    return Tag.get(language.code, normalize=False).autonym()


def recommend(languages: Sequence[Language]) -> Variant:
    """The variant tuned for these languages, or the balanced one where they need several.

    English is in the text of all of them, so it counts only where it stands alone.
    """
    regions = {row.region for row in languages if row.code != _ENGLISH} or {
        row.region for row in languages
    }
    for name in _REGIONAL_VARIANTS:
        if regions <= set(VARIANTS[name].regions):
            return VARIANTS[name]
    return VARIANTS["global"]


def variant_of(checkpoint: Path) -> Variant | None:
    """Which variant a folder says it is, by its path or config; None where it does not say.

    Files of all tuned variants but the weights are equal, so that only names can tell.
    """
    said = [str(checkpoint.absolute()), _name_in_config(checkpoint / "config.json")]
    for text in said:
        if found := re.findall(rf"tiny[-_]aya[-_]({'|'.join(VARIANTS)})", text, re.IGNORECASE):
            return VARIANTS[found[-1].lower()]
    return None


def variant_note(checkpoint: Path, languages: Sequence[Language]) -> str | None:
    """What to tell somebody who exports `checkpoint` for `languages`; None where it fits."""
    found, wanted = variant_of(checkpoint), recommend(languages)
    if found == wanted:
        return None
    codes = ", ".join(row.code for row in languages)
    what = f"is tiny-aya-{found.name}" if found else "does not say which variant it is"
    return f"{checkpoint} {what}; for {codes} take tiny-aya-{wanted.name}"


def _name_in_config(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("_name_or_path", ""))
    except (OSError, ValueError, AttributeError):  # reading the checkpoint tells what is wrong
        return ""


def _names() -> dict[str, str]:
    """Casefolded codes and names -> codes."""
    names: dict[str, str] = {}
    for code, language in LANGUAGES.items():
        for name in (code, language.name, own_name(language)):
            names.setdefault(name.casefold(), code)
    return names


def _tags(text: str) -> Iterator[str]:
    """Tags that a code or name may stand for."""
    with suppress(LanguageTagError):
        tag = Tag.get(text)
        if tag.is_valid():
            yield tag.prefer_macrolanguage().to_tag()
    with suppress(LookupError):
        yield langcodes.find(text).to_tag()
