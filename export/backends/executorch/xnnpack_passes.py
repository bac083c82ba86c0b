"""Keeps XNNPACK from passes for operators that no decoder has; each retraces every delegate."""

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

from executorch.backends.xnnpack import _passes as passes
from executorch.backends.xnnpack import xnnpack_preprocess

# Of seventeen; the others are about convolutions, pooling, batch norms, attention and so on.
NEEDED = (
    passes.XNNPACKRemoveCloneOpsTransform,
    passes.ConvertToLinearPass,
    passes.ConstPropPass,
    passes.ChannelsLastTaggedReshapePass,
    passes.RemoveRedundantCopyPass,
)


def needed_passes() -> AbstractContextManager[object]:
    """The same program, a seventh sooner."""

    def manager(exported: Any, passes: Any = None) -> Any:
        return plain(exported, passes or list(NEEDED))

    plain = xnnpack_preprocess.XNNPACKPassManager
    return patch.object(xnnpack_preprocess, "XNNPACKPassManager", manager)
