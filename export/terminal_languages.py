"""What people see in a terminal of variants, languages and trimmed vocabularies."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from export.languages import LANGUAGES

if TYPE_CHECKING:
    from export.quality.figures import Quality
    from export.variants import Variant


def print_variants(variants: "Iterable[Variant]") -> None:
    """The models, with what each is for."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("variant", "languages", "regions", ""):
        table.add_column(column)
    for row in variants:
        count = str(len(row.languages) or "")
        table.add_row(f"tiny-aya-{row.name}", count, ", ".join(row.regions), row.purpose)
    Console().print(table)


def print_languages(rows: Sequence[Mapping[str, str]]) -> None:
    """Languages by region, with the variant for each."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in ("code", "name", "own name", "region", "variant"):
        table.add_column(column)
    for row in rows:
        table.add_row(row["code"], row["name"], row["own_name"], row["region"], row["variant"])
    Console().print(table)


def print_trim(quality: "Quality") -> None:
    """What a trimmed vocabulary costs by language; nothing where it is whole."""
    if not quality.trim:
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("trimmed vocabulary")
    for column in ("tokens before", "tokens", "growth", "dropped mass", "KL on kept, mnat"):
        table.add_column(column, justify="right")
    for code, row in quality.trim.items():
        table.add_row(
            f"{code} {LANGUAGES[code].name}" if code in LANGUAGES else code,
            str(row.tokens_before),
            str(row.tokens),
            f"{row.growth:.2%}",
            f"{row.dropped_mass:.2%}",
            f"{quality.languages[code].mean_kl * 1000:.3f}",
        )
    Console().print(table)


def print_changes(changes: Mapping[str, Mapping[str, float]]) -> None:
    """What calibration for some languages gave them and cost the others; KL in mnat."""
    for name, row in changes.items():
        before, now = row["before"] * 1000, row["now"] * 1000
        Console().print(
            f"{name}, {row['languages']:.0f} languages: mean KL {before:.3f} -> {now:.3f} mnat "
            f"({now / before - 1:+.0%})",
            highlight=False,
        )
