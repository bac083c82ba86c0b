"""Runs `inspect`, `verify`, `push` and `demo`: shows what a bundle holds, checks and shares it."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from tinyaya.export.cli.options import (
    Adapters,
    BundleFolder,
    BundleSource,
    EngineName,
    Json,
    Texts,
    find_shown,
    print_json,
)


def inspect(bundle: BundleSource, as_json: Json = False) -> None:
    """Show what is in a bundle.

    Example: tinyaya-export inspect aya/onnx
    """
    from tinyaya.export.cli.tables import print_manifest
    from tinyaya.runtime import open_bundle

    opened = open_bundle(find_shown(bundle), check_hashes=False)
    if as_json:
        print_json(json.loads((opened.folder / "manifest.json").read_text(encoding="utf-8")))
    else:
        print_manifest(opened)


def verify(
    bundle: BundleSource,
    against: Annotated[
        str | None, typer.Option(metavar="SRC", help="Checkpoint that it was made from.")
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
    from tinyaya.export.system.progress_bar import shown_progress
    from tinyaya.runtime.hub.download import find_bundle

    with shown_progress() as progress:
        checks = verify_bundle(
            find_bundle(bundle, progress),
            against,
            tokens,
            engine=engine,
            adapters=adapters,
            progress=progress,
        )
    ok = all(check.ok for check in checks)
    if as_json:
        print_json({"ok": ok, "checks": [asdict(check) for check in checks]})
    else:
        print_checks(checks)
    if not ok:
        raise typer.Exit(1)


def push(
    folder: BundleFolder,
    name: Annotated[str, typer.Argument(metavar="ORG/NAME", help="The model on the Hub.")],
    private: Annotated[bool, typer.Option("--private", help="Where it is made now.")] = False,
    base: Annotated[
        str | None,
        typer.Option(metavar="ORG/NAME", help="The checkpoint.", show_default="the manifest's"),
    ] = None,
    license_: Annotated[
        str | None,
        typer.Option("--license", metavar="NAME", help="Of it.", show_default="its card's"),
    ] = None,
) -> None:
    """Upload the bundle in DIR, or all that are in its folders, with a model card.

    Example: tinyaya-export push aya my-name/tiny-aya-global-int4 --private
    """
    from tinyaya.export.bundle.publish import PublishOptions, publish

    options = PublishOptions(private=private, base=base, license=license_)
    print(publish(folder, name, options))


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
