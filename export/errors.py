"""Names what can go wrong from a checkpoint to a bundle.

ExportError
├── CheckpointError       the folder is not a checkpoint that can be read
│   ├── ConfigError       its config means a computation that this decoder does not do
│   ├── TensorError       a tensor is missing, surplus, misshapen, not finite, or a non-zero bias
│   ├── TokenizerError    no tokenizer, or one that the stock clients get wrong
│   ├── AdapterError      an adapter that cannot be merged into the checkpoint
│   └── ChangedError      a file changed while it was read
├── MergeError            checkpoints that cannot be merged, or not as was asked
├── CalibrationError      texts, or what the model makes of them, that nothing can be fitted to
├── TargetError           the target exists, is read-only or has no room
├── OutOfMemoryError      memory ran out in the middle of the work
├── MissingExtraError     a package of the extra `export` is not installed
└── ParityError           the program does not compute what the quantized model computes
"""

from tinyaya.runtime.errors import TinyAyaError


class ExportError(TinyAyaError):
    """Base of what can go wrong from a checkpoint to a bundle."""


class CheckpointError(ExportError):
    """The folder is not a checkpoint that can be read."""


class ConfigError(CheckpointError):
    """The config means a computation that this decoder does not do."""


class TensorError(CheckpointError):
    """A tensor is missing, surplus, misshapen, not finite, or a non-zero bias."""


class TokenizerError(CheckpointError):
    """No tokenizer, or one that the stock clients get wrong."""


class AdapterError(CheckpointError):
    """An adapter that cannot be merged into the checkpoint."""


class ChangedError(CheckpointError):
    """A file changed while it was read."""


class MergeError(ExportError):
    """Checkpoints that cannot be merged, or not as was asked."""


class CalibrationError(ExportError):
    """Texts, or what the model makes of them, that nothing can be fitted to."""


class TargetError(ExportError):
    """The target exists, is read-only or has no room."""


class OutOfMemoryError(ExportError):
    """Memory ran out in the middle of the work."""


class MissingExtraError(ExportError):
    """A package of the extra `export` is not installed."""


class ParityError(ExportError):
    """The program does not compute what the quantized model computes."""
