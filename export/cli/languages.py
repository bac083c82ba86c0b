"""Runs `variants`, and reads the options that choose languages."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tinyaya.export.cli.options import Json, print_json
from tinyaya.export.options import VocabularyOptions
from tinyaya.runtime.errors import OptionError

Languages = Annotated[
    str | None,
    typer.Option(metavar="NAME,...", help="Keep the words of these languages alone: sw,en."),
]
Keep = Annotated[
    str | None,
    typer.Option(
        metavar="safe|tight|all",
        help="With --languages: all words of their scripts, only those of their texts, or all.",
        show_default="safe",
    ),
]
VocabularyTexts = Annotated[
    Path | None,
    typer.Option("--texts", metavar="DIR", help="With --keep tight: more text, one a language."),
]


def vocabulary_options(
    languages: str | None, keep: str | None, texts: Path | None
) -> VocabularyOptions | None:
    """What the three options above mean together; raises OptionError."""
    if languages is None:
        if keep or texts:
            raise OptionError("--keep and --texts choose words for --languages; name some")
        return None
    from tinyaya.export.languages.variants import resolve_languages

    codes = tuple(language.code for language in resolve_languages(languages))
    return VocabularyOptions(languages=codes, keep=keep or "safe", texts=texts)


def variants(
    language: Annotated[
        str | None,
        typer.Option(metavar="NAME,...", help="Codes or names: sw, swa, Swahili, Kiswahili."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List Tiny Aya's variants and languages, or recommend a variant for some.

    Example: tinyaya-export variants --language sw
    """
    from tinyaya.export.cli.tables import print_languages, print_variants
    from tinyaya.export.languages.variants import VARIANTS, own_name, recommend, resolve_languages

    chosen = resolve_languages(language) if language else ()
    shown = chosen or VARIANTS["global"].languages
    rows = [
        {**asdict(row), "own_name": own_name(row), "variant": recommend([row]).name}
        for row in shown
    ]
    best = recommend(chosen).name if chosen else None
    if as_json:
        table = [asdict(variant) for variant in VARIANTS.values()]
        print_json({"variants": table, "languages": rows, "recommended": best})
        return
    if best is None:
        print_variants(VARIANTS.values())
    print_languages(rows)
    if best is not None:
        print(f"take tiny-aya-{best}: {VARIANTS[best].purpose}")
