"""Names what can go wrong; all errors of the project have one root.

TinyAyaError
├── OptionError           what a caller chose is out of its range, or does not fit the rest
│   └── SamplingError        ... or logits that cannot be sampled
├── RunError              from a bundle to tokens, as below
├── HubError              the Hub, or the way to it, does not give or take what was asked
├── BenchError            a benchmark cannot be run, or a bundle did not run in it
│   ├── AdbError             adb, the phone or the app on it did not do what was asked
│   └── HostError            the machine that ssh leads to did not do what was asked
├── ExportError           from a checkpoint to a bundle: `tinyaya.export.errors`
└── QuantizeError         from a model to a quantized one: `tinyaya.quantize.errors`

RunError
├── BundleError           the folder is not a bundle that can be run
│   ├── MissingFileError     a file is missing, or leads out of the folder
│   ├── ChangedFileError     a file is not, byte for byte, the one that was exported
│   ├── VersionError         the bundle is of a format version that this runtime does not read
│   ├── ManifestError        manifest.json is not JSON, or a key is missing or means nothing
│   ├── EngineMissingError   the package that runs this bundle is not installed
│   └── ProgramError         the engine does not load the program
├── PromptError           what was asked cannot be fed to the model
│   ├── EmptyPromptError     no text, or no tokens
│   ├── PromptTooLongError   more tokens than the context has left
│   ├── InvalidTextError     text that UTF-8 cannot write
│   └── ChatTemplateError    no chat template, or one that refuses the messages
├── ConstraintError       a form for the answer that cannot be used, or was not reached
├── RewindError           the caches no longer hold what the position needs
└── SessionFileError      a file is not a session of this bundle, or cannot be read or written
"""


class TinyAyaError(Exception):
    """Base of all errors of the project; the message says what was found and the way out."""


class OptionError(TinyAyaError):
    """What a caller chose is out of its range, or does not fit the rest."""


class RunError(TinyAyaError):
    """Base of what can go wrong from a bundle to tokens."""


class BundleError(RunError):
    """The folder is not a bundle that can be run."""


class MissingFileError(BundleError):
    """A file is missing, or leads out of the folder."""


class ChangedFileError(BundleError):
    """A file is not, byte for byte, the one that was exported."""


class VersionError(BundleError):
    """The bundle is of a format version that this runtime does not read."""


class ManifestError(BundleError):
    """manifest.json is not JSON, or a key is missing or means nothing."""


class EngineMissingError(BundleError):
    """The package that runs this bundle is not installed."""


class ProgramError(BundleError):
    """The engine does not load the program."""


class PromptError(RunError):
    """What was asked cannot be fed to the model."""


class EmptyPromptError(PromptError):
    """No text, or no tokens."""


class PromptTooLongError(PromptError):
    """More tokens than the context has left."""


class InvalidTextError(PromptError):
    """Text that UTF-8 cannot write."""


class ChatTemplateError(PromptError):
    """No chat template, or one that refuses the messages."""


class SamplingError(OptionError):
    """Sampling options out of range, or logits that cannot be sampled."""


class RewindError(RunError):
    """The caches no longer hold what the position needs."""


class ConstraintError(RunError):
    """A form for the answer that cannot be used, or was not reached."""


class SessionFileError(RunError):
    """A file is not a session of this bundle, or cannot be read or written."""


class HubError(TinyAyaError):
    """The Hub, or the way to it, does not give or take what was asked."""


class BenchError(TinyAyaError):
    """A benchmark cannot be run, or a bundle did not run in it."""


class HostError(BenchError):
    """The machine that ssh leads to did not do what was asked."""


class AdbError(BenchError):
    """adb, the phone or the app on it did not do what was asked."""
