"""Lists Tiny Aya's languages: code, name, region, and how well the web is stocked with each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tinyaya.runtime.errors import OptionError

# Names and regions: Tiny Aya's technical report (arXiv 2603.11510), section 2.
_LANGUAGES_BY_REGION = {
    "Asia-Pacific": (
        "zh Chinese, zh-Hant Traditional Chinese, yue Cantonese, vi Vietnamese, tl Tagalog, "
        "jv Javanese, km Khmer, th Thai, my Burmese, ms Malay, ko Korean, lo Lao, id Indonesian, "
        "ja Japanese"
    ),
    "Africa": (
        "zu Zulu, am Amharic, ha Hausa, ig Igbo, sw Swahili, xh Xhosa, wo Wolof, sn Shona, "
        "yo Yoruba, pcm Nigerian Pidgin, mg Malagasy"
    ),
    "South Asia": (
        "te Telugu, mr Marathi, bn Bengali, ta Tamil, hi Hindi, pa Punjabi, gu Gujarati, ur Urdu, "
        "ne Nepali"
    ),
    "Europe": (
        "ca Catalan, gl Galician, nl Dutch, da Danish, fi Finnish, cs Czech, pt Portuguese, "
        "fr French, lt Lithuanian, sk Slovak, eu Basque, en English, sv Swedish, pl Polish, "
        "es Spanish, sl Slovenian, uk Ukrainian, el Greek, nb Norwegian Bokmål, ro Romanian, "
        "sr Serbian, de German, it Italian, ru Russian, ga Irish, hu Hungarian, bg Bulgarian, "
        "hr Croatian, et Estonian, lv Latvian, cy Welsh"
    ),
    "West Asia": "ar Arabic, mt Maltese, tr Turkish, he Hebrew, fa Persian",
}
# Presence on the web, as the same report groups languages in its figure 16; the last row is rare.
_CODES_BY_RESOURCES = {
    "1 (most)": "en ru de ja zh zh-Hant fr es pt it pl nl tr id",
    "2": "cs vi ko uk sv ar el ro hu da sk th fi",
    "3": "nb bg he sr hi hr ca fa lt et sl bn lv",
    "4": "ms ta eu gl mr ur te my sw gu km cy pa",
    "5 (least)": "ga lo jv am ha mg mt ig zu yo sn xh wo",
}
NOT_RANKED = "not ranked"


@dataclass(frozen=True, kw_only=True)
class Language:
    """One language; resources: a row of the report's groups, or NOT_RANKED."""

    code: str
    name: str
    region: str
    resources: str


def _languages() -> Iterator[Language]:
    resources = {code: row for row, codes in _CODES_BY_RESOURCES.items() for code in codes.split()}
    for region, entries in _LANGUAGES_BY_REGION.items():
        for entry in entries.split(", "):
            code, name = entry.split(" ", 1)
            ranked = resources.get(code, NOT_RANKED)
            yield Language(code=code, name=name, region=region, resources=ranked)


LANGUAGES: Mapping[str, Language] = {language.code: language for language in _languages()}


def find_language(code: str) -> Language:
    """The language of that code; raises OptionError, which lists the known codes."""
    if code not in LANGUAGES:
        known = ", ".join(sorted(LANGUAGES))
        raise OptionError(f"no language has the code {code!r}; known: {known}")
    return LANGUAGES[code]
