"""Runs `push`: uploads bundles to the Hugging Face Hub."""

from typing import Annotated

import typer

from tinyaya.export.cli.options import BundleFolder


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
