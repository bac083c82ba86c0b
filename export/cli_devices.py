"""What `plan` says of a bundle and of a device; see `cli`."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from export.cli_quality import print_json

if TYPE_CHECKING:
    from export.devices import Needs

DeviceName = Annotated[
    str | None,
    typer.Option("--device", metavar="NAME|FILE", help="pi5 ..., or what bench wrote: predict."),
]


def plan_bundle(bundle: Path, device: str | None, *, as_json: bool) -> None:
    """Print what a written bundle takes, and on a device."""
    from export.devices import bundle_needs
    from runtime import read_manifest

    manifest = read_manifest(bundle)
    needs = bundle_needs(manifest)
    files_bytes = sum(entry.bytes for entry in manifest.files.values())
    sizes = {"bundle_bytes": files_bytes, "device_peak_bytes": needs.memory_bytes}
    if as_json:
        print_json(sizes | prediction_json(device, needs))
        return
    print(f"{manifest.engine}, {manifest.recipe['name']}, context {manifest.limits.context}:")
    print_sizes(sizes)
    print_prediction(device, needs)


def print_sizes(sizes: Mapping[str, int]) -> None:
    """Print bytes by name, in MB."""
    for key, count in sizes.items():
        print(f"  {key.removesuffix('_bytes').replace('_', ' '):<14} {count / 1e6:>10.1f} MB")


def prediction_json(device: str | None, needs: "Needs") -> dict[str, Any]:
    """As JSON has it; nothing where no device was asked for."""
    from export.devices import find_device, predict

    return {"prediction": asdict(predict(find_device(device), needs))} if device else {}


def print_prediction(device: str | None, needs: "Needs") -> None:
    """Print what is predicted; nothing where no device was asked for."""
    from export.devices import describe, find_device, predict

    if device:
        found = find_device(device)
        print(*describe(predict(found, needs), found), sep="\n")
