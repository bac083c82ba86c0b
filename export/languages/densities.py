"""Counts how much text of each language the tokens of a bundle hold.

Tokens a second do not compare between languages: one needs five times the tokens of another for the
same text. A step takes the same time whatever its token says, so that characters a second follow
from tokens a second and from the tokenizer.
"""

from collections.abc import Mapping
from pathlib import Path

from tinyaya.export.languages.table import LANGUAGES
from tinyaya.export.languages.texts import evaluation_texts
from tinyaya.runtime import open_bundle
from tinyaya.runtime.facts import Density

_REFERENCE_LANGUAGE = "en"


def read_densities(bundle: Path, texts: Mapping[str, str] | None = None) -> tuple[Density, ...]:
    """Densities of the bundle's own tokenizer; texts: the same in all languages, or what ships."""
    tokenizer = open_bundle(bundle, check_hashes=False).tokenizer
    texts = evaluation_texts(None) if texts is None else texts
    tokens = {code: len(tokenizer.encode(text, add_bos=False)) for code, text in texts.items()}
    english = tokens.get(_REFERENCE_LANGUAGE)
    return tuple(
        Density(
            code=code,
            name=LANGUAGES[code].name if code in LANGUAGES else code,
            characters_per_token=len(text) / tokens[code],
            tokens_to_english=tokens[code] / english if english else None,
        )
        for code, text in texts.items()
        if tokens[code]
    )
