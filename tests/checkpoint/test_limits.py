"""Limits that fit neither each other nor the checkpoint are refused, with the way out."""

import pytest

from tinyaya.export.options import DEFAULT_CONTEXT, ExportOptions, Limits
from tinyaya.runtime.errors import OptionError


@pytest.mark.parametrize(("context", "chunk"), [(8, 0), (8, -1)])
def test_chunk_below_one(context: int, chunk: int) -> None:
    with pytest.raises(OptionError, match=rf"chunk is {chunk}; expected at least 1"):
        Limits(context=context, chunk=chunk)


def test_context_below_chunk() -> None:
    with pytest.raises(OptionError, match="context 100 is below the chunk 128; raise --context"):
        ExportOptions(context=100).limits(1024)


def test_context_above_the_checkpoint() -> None:
    with pytest.raises(OptionError, match=r"2048 is above .* 1024; use --context 1024 or less"):
        ExportOptions(context=2048).limits(1024)


def test_context_is_chosen_by_the_checkpoint() -> None:
    assert ExportOptions().limits(1024) == Limits(context=1024, chunk=128)
    assert ExportOptions().limits(500_000) == Limits(context=DEFAULT_CONTEXT, chunk=128)
    assert ExportOptions(context=500_000).limits(500_000).context == 500_000
    assert ExportOptions().limits(64) == Limits(context=64, chunk=64)
