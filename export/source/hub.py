"""Finds the folder of a checkpoint, here or on the Hub; only what is read is downloaded."""

import fnmatch
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tinyaya.export.errors import CheckpointError
from tinyaya.export.source.tokenizer import (
    ADDED_TOKENS_FILE,
    TEMPLATE_FILES,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
)
from tinyaya.runtime.hub.download import download, explained, quiet
from tinyaya.runtime.hub.ids import HubId, read_id
from tinyaya.runtime.manifest import MANIFEST_FILE
from tinyaya.runtime.progress import Progress, Silent

INDEX_FILE, WEIGHTS_FILE = "model.safetensors.index.json", "model.safetensors"
SIDE_FILES = (
    "config.json", "generation_config.json", TOKENIZER_FILE, TOKENIZER_CONFIG_FILE,
    ADDED_TOKENS_FILE, *TEMPLATE_FILES, INDEX_FILE,
)  # fmt: skip
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
_WEIGHTS = "model*.safetensors"


def find_checkpoint(source: Path | str, progress: Progress | None = None) -> Path:
    """The folder `source`, or that of an id, whose files are downloaded where they are missing.

    Raises CheckpointError for what is neither, and HubError.
    """
    if id_ := read_id(source):
        return download(id_, [*SIDE_FILES, _WEIGHTS], progress or Silent())
    if Path(source).is_dir():
        return Path(source)
    raise CheckpointError(
        f"{source} is not a folder; expected a Hugging Face checkpoint, or its id on the Hub, such "
        "as CohereLabs/tiny-aya-global"
    )


def find_adapter(source: Path | str, progress: Progress | None = None) -> Path:
    """The folder of an adapter of peft, as `find_checkpoint` finds one of a checkpoint."""
    if id_ := read_id(source):
        return download(id_, ADAPTER_FILES, progress or Silent())
    return Path(source)


@contextmanager
def sizes_alone(source: Path | str, progress: Progress) -> Iterator[Path]:
    """The folder `source`, or one like that of an id, which may be a bundle's with its manifest.

    Weights that were not downloaded before have holes, read as zeros, where their values are.
    """
    id_ = read_id(source)
    if id_ is None:
        yield Path(source)
        return
    progress.stage("read sizes from the Hub")
    below = f"{id_.folder}/" if id_.folder else ""
    found = download(id_, [*SIDE_FILES, below + MANIFEST_FILE], Silent())
    if below or _is_whole(found):
        yield found / below
        return
    with TemporaryDirectory(prefix="tinyaya-sizes-") as place:
        folder = Path(place) / id_.name.replace("/", "--")
        shutil.copytree(
            found.resolve(),
            folder,
            ignore=lambda _, names: fnmatch.filter(names, _WEIGHTS),
            copy_function=os.symlink,  # a tokenizer has no room in many a TMPDIR
        )
        _write_headers(id_, found.name, folder)
        yield folder


def _is_whole(folder: Path) -> bool:
    """Whether nothing is missing: a bundle's manifest, or all weights, were downloaded before."""
    if (folder / MANIFEST_FILE).exists():
        return True
    if (folder / INDEX_FILE).exists():
        try:
            names = json.loads((folder / INDEX_FILE).read_bytes())["weight_map"].values()
            return all((folder / name).exists() for name in names)
        except (ValueError, KeyError, AttributeError, TypeError):
            return True  # who opens it says what is wrong
    return (folder / WEIGHTS_FILE).exists()


def _write_headers(id_: HubId, commit: str, folder: Path) -> None:
    """Write files that have the headers and sizes of the weights."""
    with explained(id_), quiet():
        from huggingface_hub import get_safetensors_metadata

        files = get_safetensors_metadata(id_.name, revision=commit).files_metadata
    for name, metadata in files.items():
        if Path(name).name != name:  # what an index says of a place elsewhere
            continue
        tensors = metadata.tensors.items()
        keys = ("dtype", "shape", "data_offsets")
        rows = {tensor: {key: getattr(row, key) for key in keys} for tensor, row in tensors}
        header = json.dumps(rows).encode()
        with (folder / name).open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            ends = [row.data_offsets[1] for _, row in tensors]
            file.truncate(file.tell() + max(ends, default=0))
