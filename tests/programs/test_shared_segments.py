"""A table that lies in a .pte twice is cut out once: every segment says the same as before."""

import shutil
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np
import pytest

from tests.programs.conftest import MakeBundle, fed
from tinyaya.export.backends.executorch import shared_segments
from tinyaya.export.backends.executorch.decoder import PROGRAM_FILE
from tinyaya.export.source.checkpoint import Checkpoint
from tinyaya.runtime import open_bundle


def segments(path: Path) -> list[bytes]:
    with path.open("rb") as file, mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        return [data[s.start : s.start + s.size] for s in shared_segments._segments(data)]


def test_segments_and_logits_stay(
    shallow: Checkpoint, own_bundle: MakeBundle, ids: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = open_bundle(own_bundle(shallow, "executorch", "int8"), check_hashes=False)
    path, config = bundle.folder / PROGRAM_FILE, shallow.config
    before, size = segments(path), path.stat().st_size
    logits = fed(bundle.session(), ids, [4] * 5)
    monkeypatch.setattr(shared_segments, "_SMALLEST_BYTES", 1 << 16)
    shared_segments.share_segments(path)
    assert size - path.stat().st_size == config.vocab_size * config.width // 4096 * 4096
    assert segments(path) == before
    again = fed(bundle.session(), ids, [4] * 5)
    assert all(np.array_equal(again[position], logits[position]) for position in logits)
    shared_segments.share_segments(path)  # nothing is left to share
    assert segments(path) == before


def test_another_table_stays(
    shallow: Checkpoint, make_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte differs from the constant: both are kept."""
    path = tmp_path / "other.pte"
    shutil.copy(make_bundle(shallow, "executorch", "int8") / PROGRAM_FILE, path)
    monkeypatch.setattr(shared_segments, "_SMALLEST_BYTES", 1 << 16)
    with path.open("r+b") as file, mmap(file.fileno(), 0) as data:
        shared = [segment for segment, _ in shared_segments._shared(data)]
        data[shared[0].start + shared[0].size - 1] ^= 1
    size = path.stat().st_size
    shared_segments.share_segments(path)
    assert path.stat().st_size == size
