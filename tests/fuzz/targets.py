"""What is fuzzed: a name, and what to do for one seed; see `fuzz`."""

import hashlib
import json
import random
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tests.fuzz.mutate import mutated_bytes, mutated_json, survives
from tinyaya.runtime import Bundle, Sampler, Session, generate, open_bundle
from tinyaya.runtime.server.app import ServeOptions
from tinyaya.runtime.server.requests import RequestReader

_MOST_BODY_BYTES = ServeOptions().body_bytes
Target = Callable[[random.Random], bool]
_CHAT: dict[str, Any] = {
    "model": "b", "messages": [{"role": "system", "content": "Be brief."},
                               {"role": "user", "content": [{"type": "text", "text": "Hello"}]}],
    "max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "top_k": 5, "min_p": 0.1, "n": 1,
    "stop": ["a", "b"], "stream": True, "stream_options": {"include_usage": True}, "seed": 3,
    "frequency_penalty": 0.1, "presence_penalty": 0.1, "repetition_penalty": 1.1,
    "logit_bias": {"17": -5}, "logprobs": True, "top_logprobs": 3, "user": "me",
    "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {
        "type": "object", "properties": {"a": {"type": "string", "pattern": "[a-z]+"}},
        "required": ["a"]}}},
}  # fmt: skip
_TEXT: dict[str, Any] = {"prompt": "Hello", "max_tokens": 3, "logprobs": 2, "regex": "[a-z]+"}


class Fuzzer:
    """A bundle's copy that is broken again and again; every file outside is watched."""

    def __init__(self, bundle: Path, work: Path, engine: str | None = None) -> None:
        self._work, self._folder, self._engine = work, work / "b", engine
        shutil.copytree(bundle, self._folder)
        self._bundle: Bundle = open_bundle(self._folder, engine=self._engine)
        self._session: Session = self._bundle.session(threads=1)
        self._session.prefill([2, 300, 301, 302, 303])
        self._saved = work / "saved"
        self._session.save(self._saved, note="{}")
        self._whole = {path.name: path.read_bytes() for path in self._folder.iterdir()}
        self._reader = RequestReader(self._bundle, "b", 4)
        ours = (work, sys.prefix, sys.base_prefix, Path(__file__).parents[2])
        system = ("/usr", "/proc", "/dev", "/sys", "/etc/localtime")
        self._allowed = (*(str(Path(place).resolve()) for place in ours), *system)
        self._watching = False
        sys.addaudithook(self._watch)

    def targets(self) -> Mapping[str, Target]:
        """Name -> what to do for one seed."""
        files = [name for name in self._whole if name != "manifest.json" and self._small(name)]
        return {
            "manifest": self._manifest,
            "bundle": lambda chance: self._file(chance.choice(sorted(self._whole)), chance),
            "files": lambda chance: self._listed(chance.choice(sorted(files)), chance),
            "session": self._session_file,
            "chat request": lambda chance: self._request(_CHAT, chance),
            "text request": lambda chance: self._request(_TEXT, chance),
        }

    def _small(self, name: str) -> bool:
        """ONNX Runtime itself is not fuzzed: it reads programs whose hashes are right."""
        return not name.startswith("model.")

    def _watch(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self._watching and event == "open" and isinstance(arguments[0], str):
            path = str(Path(arguments[0]).resolve())
            assert path.startswith(self._allowed), f"{path} was opened"

    def _tried(self, action: Callable[[], object]) -> bool:
        self._watching = True
        try:
            return survives(action)
        finally:
            self._watching = False

    def _manifest(self, chance: random.Random) -> bool:
        path = self._folder / "manifest.json"
        whole = self._whole["manifest.json"]
        if chance.random() < 0.7:
            changed = mutated_json(json.loads(whole), chance)
            path.write_text(json.dumps(changed), encoding="utf-8")
        else:
            path.write_bytes(mutated_bytes(whole, chance))
        try:
            return self._tried(self._use)
        finally:
            path.write_bytes(whole)

    def _file(self, name: str, chance: random.Random) -> bool:
        """A file that is not the one the manifest lists: found out by its hash."""
        path = self._folder / name
        path.write_bytes(mutated_bytes(self._whole[name], chance))
        try:
            return self._tried(lambda: open_bundle(self._folder, engine=self._engine))
        finally:
            path.write_bytes(self._whole[name])

    def _listed(self, name: str, chance: random.Random) -> bool:
        """A broken file with the right hash, as an attacker would write it."""
        changed = mutated_bytes(self._whole[name], chance)
        manifest = json.loads(self._whole["manifest.json"])
        digest = hashlib.sha256(changed).hexdigest()
        manifest["files"][name] = {"bytes": len(changed), "sha256": digest}
        (self._folder / name).write_bytes(changed)
        (self._folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        try:
            return self._tried(self._use)
        finally:
            for restored in (name, "manifest.json"):
                (self._folder / restored).write_bytes(self._whole[restored])

    def _use(self) -> None:
        """Open it, render and encode a chat, answer with two tokens."""
        bundle = open_bundle(self._folder, engine=self._engine)
        ids = bundle.encode_chat([{"role": "user", "content": "Hello"}])
        tokens = generate(bundle.session(threads=1), ids, max_tokens=2, sampler=Sampler())
        for _ in tokens:
            pass

    def _session_file(self, chance: random.Random) -> bool:
        path = self._work / "broken"
        whole = self._saved.read_bytes()
        changed = _other_header(whole, chance) if chance.random() < 0.5 else None
        path.write_bytes(changed or mutated_bytes(whole, chance))

        def use() -> None:
            self._session.load(path)
            self._session.step(300)

        return self._tried(use)

    def _request(self, whole: dict[str, Any], chance: random.Random) -> bool:
        if chance.random() < 0.7:
            body = json.dumps(mutated_json(whole, chance)).encode()
        else:
            body = mutated_bytes(json.dumps(whole).encode(), chance)
        body = body[:_MOST_BODY_BYTES]  # more is refused before it is read
        read = self._reader.chat if whole is _CHAT else self._reader.text

        def use() -> None:
            request = read(body)
            if request.form:
                self._bundle.grammars.constraint(*request.form)

        return self._tried(use)


def _other_header(whole: bytes, chance: random.Random) -> bytes:
    """A session file with other values in a header that is well-formed."""
    start = whole.index(b"\n") + 9
    length = int.from_bytes(whole[start - 8 : start], "little")
    header = json.loads(whole[start : start + length])
    encoded = json.dumps(mutated_json(header, chance)).encode()
    body = whole[start + length :]
    return whole[: start - 8] + len(encoded).to_bytes(8, "little") + encoded + body
