"""Commands and options of the command line that are about languages; see `cli`."""

from dataclasses import asdict
from typing import Annotated

import typer

from export.cli_quality import Json, print_json


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
    from export.terminal_languages import print_languages, print_variants
    from export.variants import VARIANTS, own_name, recommend, resolve_languages

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
