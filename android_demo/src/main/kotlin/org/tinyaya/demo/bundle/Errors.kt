package org.tinyaya.demo.bundle

/** What can go wrong from a bundle to tokens; the names are those of the Python runtime's `errors.py`. */
open class RunError(message: String, cause: Throwable? = null) : Exception(message, cause)

/** The folder is not a bundle that can be run. */
open class BundleError(message: String, cause: Throwable? = null) : RunError(message, cause)

/** A file is missing, or leads out of the folder. */
class MissingFileError(message: String, cause: Throwable? = null) : BundleError(message, cause)

/** A file is not, byte for byte, the one that was exported. */
class ChangedFileError(message: String) : BundleError(message)

/** The bundle is of a format version that this app does not read. */
class VersionError(message: String) : BundleError(message)

/** manifest.json is not JSON, or a key is missing or means nothing. */
class ManifestError(message: String, cause: Throwable? = null) : BundleError(message, cause)

/** tokenizer.json is not a tokenizer that this app reads exactly. */
class TokenizerError(message: String, cause: Throwable? = null) : BundleError(message, cause)

/** The engine does not load or run the program. */
class ProgramError(message: String, cause: Throwable? = null) : BundleError(message, cause)

/** The device has not enough memory or space for the bundle. */
class TooLargeError(message: String, val neededBytes: Long, val availableBytes: Long) : BundleError(message)

/** What was asked cannot be fed to the model. */
open class PromptError(message: String, cause: Throwable? = null) : RunError(message, cause)

/** No text, or no tokens. */
class EmptyPromptError(message: String) : PromptError(message)

/** More tokens than the context has left. */
class PromptTooLongError(message: String) : PromptError(message)

/** Text that UTF-8 cannot write. */
class InvalidTextError(message: String) : PromptError(message)

/** No chat template, or one that refuses the messages. */
class ChatTemplateError(message: String, cause: Throwable? = null) : PromptError(message, cause)

/** A number that a caller chose is out of its range. */
open class OptionError(message: String) : RunError(message)

/** Sampling options out of range, or logits that cannot be sampled. */
class SamplingError(message: String) : OptionError(message)

/** The caches no longer hold what the position needs. */
class RewindError(message: String) : RunError(message)
