"""Times what trimming a vocabulary of full size takes, and plans what it saves.

Random weights come with the small model's tokenizer, so one of Tiny Aya's size is put beside links
to the weights. Usage:
python -m tinyaya.benchmarks.trim SRC --work DIR [--languages te,mr,bn,ta,hi,pa,gu] [--keep safe]
It then names the commands that export both bundles and compare their speed.
"""

import json
import os
from pathlib import Path
from time import perf_counter
from typing import Annotated

import typer

from tinyaya.benchmarks.synthetic_tokenizer import grow_tokenizer
from tinyaya.export.backends import BACKENDS, find_backend
from tinyaya.export.bundle.resolve import resolve_export
from tinyaya.export.decoder.model import EMBEDDING
from tinyaya.export.languages.variants import resolve_languages
from tinyaya.export.options import ExportOptions, VocabularyOptions
from tinyaya.export.plan.estimate import plan_export
from tinyaya.export.source.checkpoint import open_checkpoint, read_json
from tinyaya.export.vocabulary.choose import trimmed
from tinyaya.runtime.progress import Silent

SOUTH_ASIA = "te,mr,bn,ta,hi,pa,gu,ur,ne"


def link_checkpoint(source: Path, target: Path) -> None:
    """Make `target` of links to the files of `source`, and a tokenizer of Tiny Aya's size."""
    target.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        link = target / path.name
        if path.name != "tokenizer.json" and not link.exists():
            os.link(path, link)
    grown = target / "tokenizer.json"
    if not grown.exists():
        definition = grow_tokenizer(read_json(source / "tokenizer.json"))
        grown.write_text(json.dumps(definition, ensure_ascii=False), encoding="utf-8")


def main(
    source: Annotated[Path, typer.Argument(metavar="SRC")],
    work: Annotated[Path, typer.Option(metavar="DIR", help="On the same disk as SRC.")],
    languages: Annotated[str, typer.Option(help="Codes or names.")] = SOUTH_ASIA,
    keep: Annotated[str, typer.Option(help="safe or tight.")] = "safe",
    recipe: Annotated[str, typer.Option(help="Of the plans.")] = "int4",
) -> None:
    """Time the trim of a checkpoint, and plan both bundles."""
    folder = work / "checkpoint"
    link_checkpoint(source, folder)
    codes = tuple(row.code for row in resolve_languages(languages))
    options = ExportOptions(recipe=recipe, vocabulary=VocabularyOptions(languages=codes, keep=keep))
    start = perf_counter()
    whole = open_checkpoint(folder)
    opened = perf_counter()
    own = trimmed(whole, options, Silent())
    chosen = perf_counter()
    table = own.read(f"{EMBEDDING}.weight")
    print(f"open {opened - start:.1f} s, trim {chosen - opened:.1f} s, ", end="")
    print(f"read its table {perf_counter() - chosen:.1f} s")
    rows, kept = whole.config.vocab_size, own.config.vocab_size
    print(f"rows {rows} -> {kept} ({len(table)} read), {kept / rows:.1%}")
    exports = [resolve_export(each, options) for each in (whole, own)]
    for name in BACKENDS:
        plans = [plan_export(each, find_backend(name)) for each in exports]
        saved = plans[0].bundle_bytes - plans[1].bundle_bytes
        print(f"{name}: bundle {plans[0].bundle_bytes / 1e9:.3f} GB, {saved / 1e9:.3f} GB less")
    command = f"tinyaya-export export {folder} --recipe {recipe} --no-calibrate --backend BACKEND"
    print(f"{command} --out {work}/whole")
    print(f"{command} --out {work}/own --languages {','.join(codes)} --keep {keep}")
    bundles = f"--bundle {work}/whole --bundle {work}/own"
    print(f"python -m tinyaya.benchmarks.speed {bundles} --contexts 128 --out {work}/speed.json")


if __name__ == "__main__":
    typer.run(main)
