"""Runs `inspect`, `verify` and `demo`: shows what a bundle holds, and checks it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tinyaya.export.cli.options import Adapters, BundleFolder, EngineName, Json, Texts, print_json


def inspect(bundle: BundleFolder, as_json: Json = False) -> None:
    """Show what is in a bundle.

    Example: tinyaya-export inspect aya/onnx
    """
    from tinyaya.export.cli.tables import print_manifest
    from tinyaya.runtime import open_bundle

    opened = open_bundle(bundle, check_hashes=False)
    if as_json:
        print((opened.folder / "manifest.json").read_text(encoding="utf-8"), end="")
    else:
        print_manifest(opened)


def verify(
    bundle: BundleFolder,
    against: Annotated[
        Path | None, typer.Option(metavar="SRC", help="Checkpoint that it was made from.")
    ] = None,
    adapters: Adapters = [],  # noqa: B006
    tokens: Annotated[
        int | None,
        typer.Option(help="With --against: judge the end of a text of so many tokens, too."),
    ] = None,
    engine: EngineName = None,
    as_json: Json = False,
) -> None:
    """Check hashes, tokenizer and program; with --against, against the model itself.

    Example: tinyaya-export verify aya/onnx --against tiny-aya-global
    """
    from tinyaya.export.cli.tables import print_checks
    from tinyaya.export.proof.verify import verify_bundle

    checks = verify_bundle(bundle, against, tokens, engine=engine, adapters=adapters)
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        print_checks(checks)
    if not ok:
        raise typer.Exit(1)


def demo(
    source: Annotated[Path, typer.Argument(metavar="[SRC]", help="Checkpoint.")] = Path(
        "tests/assets/nano"
    ),
    texts: Texts = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where the bundles go.")] = Path("demo"),
    as_json: Json = False,
) -> None:
    """Export a small model to both engines, prove both by language, and let both speak.

    Example: tinyaya-export demo
    """
    from tinyaya.export.cli.tables import print_demo
    from tinyaya.export.demo import run_demo
    from tinyaya.export.system.progress_bar import shown_progress

    with shown_progress() as progress:
        result = run_demo(source, texts, out, progress)
    if as_json:
        print_json(asdict(result))
    else:
        print_demo(result)
    if not result.ok:
        raise typer.Exit(1)
