"""Trims a checkpoint to the rows of some ids.

What comes out is a checkpoint like any other, so nothing after it knows of the trim: its config and
tokenizer are of the new ids, its tables are rows of those on disk.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tinyaya.export.decoder.model import EMBEDDING, HEAD, tensor_shapes
from tinyaya.export.source.adapter import with_adapters
from tinyaya.export.source.checkpoint import Checkpoint, Trim, open_checkpoint
from tinyaya.export.source.weights import StoredTensor
from tinyaya.export.vocabulary.bpe import BytePairs
from tinyaya.runtime import Bundle
from tinyaya.runtime.errors import OptionError
from tinyaya.runtime.progress import Progress

# Kernels take outputs in groups of up to 64; a row in a smaller last group has other last bits.
ROW_MULTIPLE = 64
_MAX_SPAN_ROWS = 4096  # of the stored table that are in memory at a time
_MAX_GAP_ROWS = 64  # of rows nobody wants, which are cheaper read than skipped


@dataclass(frozen=True, kw_only=True)
class KeptRows(StoredTensor):
    """Some rows of a stored table; kept: their places there, ascending."""

    stored: StoredTensor
    kept: Sequence[int]

    @classmethod
    def of(cls, stored: StoredTensor, kept: Sequence[int]) -> "KeptRows":
        """Rows `kept` of a table."""
        shape = (len(kept), *stored.shape[1:])
        return cls(**{**stored.place(), "shape": shape}, stored=stored, kept=kept)

    def read(self, rows: range | None = None) -> Tensor:
        """See `StoredTensor`."""
        wanted = self.kept if rows is None else self.kept[rows.start : rows.stop]
        result, end = torch.empty(len(wanted), *self.shape[1:]), 0
        for span in _spans(wanted):
            block = self.stored.read(range(span[0], span[-1] + 1))
            start, end = end, end + len(span)
            torch.index_select(block, 0, torch.tensor(span) - span[0], out=result[start:end])
        return result


def trim_checkpoint(
    whole: Checkpoint, kept: Sequence[int], languages: Sequence[str], keep: str
) -> Checkpoint:
    """`whole` with the ids `kept` alone, ascending; raises TokenizerError.

    languages, keep: what they were chosen for, and how; bundles say so.
    """
    new = {old: row for row, old in enumerate(kept)}
    rows = [*kept, *[kept[-1]] * (-len(kept) % ROW_MULTIPLE)]
    original = BytePairs.of(whole.tokenizer.original).trimmed(kept)
    config = replace(whole.config, vocab_size=len(rows))
    tables = {f"{EMBEDDING}.weight", f"{HEAD}.weight"} & whole.tensors.keys()
    return replace(
        whole,
        config=config,
        tokenizer=whole.tokenizer.trimmed(original, new, len(rows)),
        tensors={
            **whole.tensors,
            **{name: KeptRows.of(whole.tensors[name], rows) for name in tables},
        },
        shapes=tensor_shapes(config),
        trim=Trim(whole=whole, kept=tuple(kept), languages=tuple(languages), keep=keep),
    )


def trim_as(whole: Checkpoint, vocabulary: Mapping[str, Any] | None) -> Checkpoint:
    """`whole`, trimmed as the manifest of a bundle says; raises OptionError for another model."""
    if vocabulary is None:
        return whole
    try:
        kept = [id_ for low, high in vocabulary["kept"] for id_ in range(low, high)]
        if vocabulary["rows"] != whole.config.vocab_size or kept[-1] >= whole.config.vocab_size:
            raise ValueError
        return trim_checkpoint(whole, kept, vocabulary["languages"], vocabulary["keep"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise OptionError(
            f"{whole.folder} is another model than the one that the bundle was trimmed from"
        ) from error


def open_as(
    source: Path | str,
    bundle: Bundle,
    adapters: Sequence[Path | str] = (),
    progress: Progress | None = None,
) -> Checkpoint:
    """Open the checkpoint `source`, merge adapters into it and trim it as the bundle was.

    Raises CheckpointError, and OptionError for another model than the bundle's.
    """
    whole = with_adapters(open_checkpoint(source, progress), adapters, progress)
    _check_adapters(bundle, whole)
    checkpoint = trim_as(whole, bundle.manifest.vocabulary)
    config, model = checkpoint.config, bundle.manifest.model
    heads = {(layer.heads, layer.kv_heads, layer.head_dim) for layer in config.layers}
    found = (config.vocab_size, len(config.layers), config.width, config.window, heads)
    model_heads = {(model.heads, model.kv_heads, model.head_dim)}
    if found != (model.vocab_size, model.layers, model.width, model.window, model_heads):
        raise OptionError(f"{source} is another model than the one in {bundle.folder}")
    return checkpoint


def _check_adapters(bundle: Bundle, whole: Checkpoint) -> None:
    """Folders may have other names than at the export, what they hold may not change."""
    made, found = (
        [(row.config_sha256, row.weights_sha256) for row in rows]
        for rows in (bundle.manifest.adapters, whole.adapters)
    )
    if made != found:
        names = ", ".join(row.name for row in bundle.manifest.adapters) or "none"
        raise OptionError(
            f"{bundle.folder} was made with these adapters, in this order: {names}; name the same "
            "with --adapter"
        )


def ranges_of(ids: Sequence[int]) -> list[list[int]]:
    """Half-open ranges that hold ascending ids and no other."""
    edges = [0, *(i for i in range(1, len(ids)) if ids[i] != ids[i - 1] + 1), len(ids)]
    return [[ids[start], ids[end - 1] + 1] for start, end in pairwise(edges)]


def _spans(rows: Sequence[int]) -> Iterable[list[int]]:
    """Rows in runs that are read at once."""
    span: list[int] = []
    for row in rows:
        if span and (row - span[-1] > _MAX_GAP_ROWS or row - span[0] >= _MAX_SPAN_ROWS):
            yield span
            span = []
        span.append(row)
    if span:
        yield span
