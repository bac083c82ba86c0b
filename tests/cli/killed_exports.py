"""Exports that kill themselves, each at another place, over copies of one bundle.

Usage: python -m tests.cli.killed_exports CHECKPOINT BUNDLE FOLDER
"""

import shutil
import sys
from pathlib import Path

from tests.failpoints import Place, fork_that_dies_at

# In order. Until the last but one, the old bundle is at its place.
BEFORE = (
    Place("stage", "fp32 reference"),
    Place("stage", "quantize"),
    Place("os.mkdir", ".partial-"),
    Place("stage", "onnx: trace"),
    Place("stage", "onnx: lower"),
    Place("stage", "onnx: write"),
    Place("open", "model.onnx.data"),
    Place("open", "manifest.json"),
    Place("stage", "onnx: verify"),
    Place("open", "probe.json"),
    Place("os.rename", ".old-"),
)
BETWEEN = Place("os.rename", ".partial-")  # the old one is aside, the new one not there
AFTER = Place("shutil.rmtree", ".old-")
PLACES = (*BEFORE, BETWEEN, AFTER)


def out_folder(folder: Path, place: Place) -> Path:
    """The target of the export that dies at that place."""
    return folder / str(PLACES.index(place)) / "out"


def main(checkpoint: Path, bundle: Path, folder: Path) -> None:
    """Import once what all exports need, then fork."""
    from tinyaya.export.backends import find_backend
    from tinyaya.export.options import ExportOptions
    from tinyaya.export.pipeline import export_bundle

    find_backend("onnx")
    options = ExportOptions(recipe="int8", chunk=4, force=True)
    for place in PLACES:
        out = out_folder(folder, place)
        shutil.copytree(bundle, out)
        if not fork_that_dies_at(place, lambda out=out: export_bundle(checkpoint, out, options)):
            sys.exit(f"the export did not come to {place}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
