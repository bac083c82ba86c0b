"""Turns a bundle into tokens: open it, feed a session, generate. Engines load when first needed."""

import os

# onnxruntime's Linux builds write a device id and send events; they ask this when they are loaded.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

from tinyaya.runtime.bundle import Bundle, open_bundle
from tinyaya.runtime.chat import Chat
from tinyaya.runtime.constraint import CONSTRAINT_KINDS, Constraint, Grammars
from tinyaya.runtime.engines import ENGINES
from tinyaya.runtime.engines.base import Engine
from tinyaya.runtime.errors import (
    BundleError,
    ChangedFileError,
    ChatTemplateError,
    ConstraintError,
    EmptyPromptError,
    EngineMissingError,
    HubError,
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
    SessionFileError,
    VersionError,
)
from tinyaya.runtime.generate import (
    AnswerOptions,
    Generation,
    StopReason,
    Token,
    complete,
    drain,
    generate,
    require_complete,
)
from tinyaya.runtime.hub.download import find_bundle
from tinyaya.runtime.manifest import Manifest, read_manifest
from tinyaya.runtime.sampling import Alternative, Logits, Penalties, Sampler
from tinyaya.runtime.session import Session
from tinyaya.runtime.template import ChatTemplate, Message
from tinyaya.runtime.tokenizer import TextStream, Tokenizer

__all__ = [
    "CONSTRAINT_KINDS",
    "ENGINES",
    "Alternative",
    "AnswerOptions",
    "Bundle",
    "BundleError",
    "ChangedFileError",
    "Chat",
    "ChatTemplate",
    "ChatTemplateError",
    "Constraint",
    "ConstraintError",
    "EmptyPromptError",
    "Engine",
    "EngineMissingError",
    "Generation",
    "Grammars",
    "HubError",
    "InvalidTextError",
    "Logits",
    "Manifest",
    "ManifestError",
    "Message",
    "MissingFileError",
    "OptionError",
    "Penalties",
    "ProgramError",
    "PromptError",
    "PromptTooLongError",
    "RewindError",
    "RunError",
    "Sampler",
    "SamplingError",
    "Session",
    "SessionFileError",
    "StopReason",
    "TextStream",
    "Token",
    "Tokenizer",
    "VersionError",
    "complete",
    "drain",
    "find_bundle",
    "generate",
    "open_bundle",
    "read_manifest",
    "require_complete",
]
