"""Opens the folder of a bundle, after checking that every file is the one that was exported."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tinyaya.runtime.constraint import Grammars
from tinyaya.runtime.engines import ENGINES, load_engine
from tinyaya.runtime.errors import (
    BundleError,
    ChangedFileError,
    ChatTemplateError,
    ManifestError,
    MissingFileError,
)
from tinyaya.runtime.hub.ids import kept_at
from tinyaya.runtime.manifest import (
    CHAT_TEMPLATE_FILE,
    MANIFEST_FILE,
    TOKENIZER_CONFIG_FILE,
    TOKENIZER_FILE,
    Manifest,
    read_manifest,
)
from tinyaya.runtime.session import Session
from tinyaya.runtime.template import ChatTemplate, Message, encode_chat
from tinyaya.runtime.tokenizer import Tokenizer
from tinyaya.runtime.whole_file import file_sha256


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """An opened bundle; its tokenizer, template and program are loaded when first asked for.

    engine: what runs the program where `session` names none.
    """

    folder: Path
    manifest: Manifest
    engine: str | None = None

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer; raises BundleError if its file cannot be read."""
        return Tokenizer(self.folder / TOKENIZER_FILE, self.manifest.tokens.bos)

    @cached_property
    def template(self) -> ChatTemplate:
        """The chat template; raises ChatTemplateError if the bundle has none."""
        if CHAT_TEMPLATE_FILE not in self.manifest.files:
            raise ChatTemplateError(
                f"{self.folder} has no chat template: its model is not tuned for chat; "
                "give a text to complete instead"
            )
        try:
            source = (self.folder / CHAT_TEMPLATE_FILE).read_text(encoding="utf-8")
            config = json.loads((self.folder / TOKENIZER_CONFIG_FILE).read_bytes())
        except ValueError as error:
            raise BundleError(
                f"{CHAT_TEMPLATE_FILE} or {TOKENIZER_CONFIG_FILE} in {self.folder} cannot be read: "
                f"{error}; export the bundle again"
            ) from error
        return ChatTemplate(source, config)

    @cached_property
    def grammars(self) -> Grammars:
        """What answers can be held to; raises EngineMissingError without llguidance."""
        manifest = self.manifest
        file, stop = self.folder / TOKENIZER_FILE, manifest.tokens.stop
        return Grammars(file, manifest.model.vocab_size, stop)

    def encode_chat(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a conversation in the bundle's template, with one BOS; the answer comes next.

        Special tokens in a message's content are read as plain text.
        Raises ChatTemplateError or InvalidTextError.
        """
        return encode_chat(self.template, self.tokenizer, messages)

    def session(self, *, threads: int | None = None, engine: str | None = None) -> Session:
        """Load the program into a new session at position 0, with its own caches.

        threads: for arithmetic; None leaves the choice to the engine (one a physical core).
        engine: what runs a `.pte`: "torch", the official binding, or "native", which needs no
        torch; None: as the bundle was opened, and else torch. Raises EngineMissingError,
        ProgramError or OptionError.
        """
        load = load_engine(self.manifest.engine, engine or self.engine)
        program = load(self.folder, self.manifest, threads)
        return Session(program, self.tokenizer, self.manifest)


def open_bundle(
    path: Path | str, *, check_hashes: bool = True, engine: str | None = None
) -> Bundle:
    """Open the bundle in the folder `path`; nothing is loaded yet.

    check_hashes: read every file once and compare its SHA-256; sizes are always compared.
    engine: as of `Bundle.session`, for all sessions that name none.
    Raises BundleError (see `errors`) with what is wrong with the folder.
    """
    folder = Path(path)
    _locate(folder, MANIFEST_FILE)
    manifest = read_manifest(folder)
    if manifest.engine not in ENGINES:
        raise ManifestError(
            f"{folder} is for the engine {manifest.engine!r}; known: {', '.join(ENGINES)}"
        )
    for name, entry in manifest.files.items():
        file = _locate(folder, name)
        size_bytes = file.stat().st_size
        if size_bytes != entry.bytes:
            raise ChangedFileError(
                f"{file} has {size_bytes} bytes, its manifest says {entry.bytes}; "
                "copy the bundle again"
            )
        if check_hashes and file_sha256(file) != entry.sha256:
            raise ChangedFileError(
                f"{file} has another SHA-256 than its manifest says; copy the bundle again"
            )
    return Bundle(folder=folder, manifest=manifest, engine=engine)


def _locate(folder: Path, name: str) -> Path:
    """Find the regular file of that name; a link that leads out of the folder is refused.

    But in a Hub's cache, where every file is a link to what it keeps.
    """
    path = folder / name
    if not path.is_file():
        raise MissingFileError(f"{path} is missing or not a file; expected a complete bundle")
    if not any(path.resolve().is_relative_to(p.resolve()) for p in (folder, *kept_at(folder))):
        raise MissingFileError(
            f"{path} is a link to {path.resolve()}, outside the bundle; copy the file itself"
        )
    return path
