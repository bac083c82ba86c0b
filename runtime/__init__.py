"""bundle -> tokens: open a bundle, feed a session, generate; engines load when first needed."""

from runtime.bundle import Bundle, open_bundle
from runtime.engines import ENGINES, Engine
from runtime.errors import (
    BundleError,
    ChangedFileError,
    ChatTemplateError,
    EmptyPromptError,
    EngineMissingError,
    InvalidTextError,
    ManifestError,
    MissingFileError,
    OptionError,
    ProgramError,
    PromptError,
    PromptTooLongError,
    RewindError,
    RunError,
    SamplingError,
    VersionError,
)
from runtime.generate import Generation, StopReason, Token, complete, generate
from runtime.manifest import Manifest, read_manifest
from runtime.sampling import Logits, Sampler
from runtime.session import Session
from runtime.template import ChatTemplate, Message
from runtime.tokenizer import TextStream, Tokenizer

__all__ = [
    "ENGINES",
    "Bundle",
    "BundleError",
    "ChangedFileError",
    "ChatTemplate",
    "ChatTemplateError",
    "EmptyPromptError",
    "Engine",
    "EngineMissingError",
    "Generation",
    "InvalidTextError",
    "Logits",
    "Manifest",
    "ManifestError",
    "Message",
    "MissingFileError",
    "OptionError",
    "ProgramError",
    "PromptError",
    "PromptTooLongError",
    "RewindError",
    "RunError",
    "Sampler",
    "SamplingError",
    "Session",
    "StopReason",
    "TextStream",
    "Token",
    "Tokenizer",
    "VersionError",
    "complete",
    "generate",
    "open_bundle",
    "read_manifest",
]
