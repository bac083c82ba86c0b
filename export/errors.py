"""What can go wrong from a checkpoint to a bundle.

ExportError
├── CheckpointError       the folder is not a checkpoint that can be read
│   ├── ConfigError       its config means a computation that this decoder does not do
│   ├── TensorError       a tensor is missing, surplus, misshapen, not finite, or a non-zero bias
│   ├── TokenizerError    no tokenizer, or one that the stock clients get wrong
│   └── ChangedError      a file changed while it was read
├── OptionsError          limits or options that do not fit each other or the model
├── CalibrationError      texts, or what the model makes of them, that nothing can be fitted to
├── TargetError           the target exists, is read-only or has no room
├── OutOfMemoryError      memory ran out in the middle of the work
├── AdbError              adb, the phone or the app on it did not do what was asked
├── BenchError            a benchmark cannot be run, or a bundle did not run in it
│   └── HostError         the machine that ssh leads to did not do what was asked
├── MissingExtraError     a package of the extra `export` is not installed
└── ParityError           the program does not compute what the quantized model computes
"""


class ExportError(Exception):
    """Base of all errors of the export; the message says what was found and the way out."""


class CheckpointError(ExportError):
    """The folder is not a checkpoint that can be read."""


class ConfigError(CheckpointError):
    """The config means a computation that this decoder does not do."""


class TensorError(CheckpointError):
    """A tensor is missing, surplus, misshapen, not finite, or a non-zero bias."""


class TokenizerError(CheckpointError):
    """No tokenizer, or one that the stock clients get wrong."""


class ChangedError(CheckpointError):
    """A file changed while it was read."""


class OptionsError(ExportError):
    """Limits or options that do not fit each other or the model."""


class CalibrationError(ExportError):
    """Texts, or what the model makes of them, that nothing can be fitted to."""


class TargetError(ExportError):
    """The target exists, is read-only or has no room."""


class OutOfMemoryError(ExportError):
    """Memory ran out in the middle of the work."""


class AdbError(ExportError):
    """adb, the phone or the app on it did not do what was asked."""


class BenchError(ExportError):
    """A benchmark cannot be run, or a bundle did not run in it."""


class HostError(BenchError):
    """The machine that ssh leads to did not do what was asked."""


class MissingExtraError(ExportError):
    """A package of the extra `export` is not installed."""


class ParityError(ExportError):
    """The program does not compute what the quantized model computes."""
