"""Folders as a Hub's repositories: their commits, their files and who may read them."""

import hashlib
import json
import shutil
from base64 import b64decode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

# Binary files, which the Hub keeps apart and hands out from another address.
_LARGE_SUFFIXES = (".safetensors", ".data", ".onnx", ".pte", ".npy")
README = "README.md"


def is_large(name: str) -> bool:
    return name.endswith(_LARGE_SUFFIXES)


@dataclass(frozen=True)
class StoredFile:
    """What the Hub says of a file; oid: SHA-256 of a large one, Git's hash of another."""

    path: Path
    name: str
    oid: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size

    def as_json(self) -> Mapping[str, Any]:
        large = {"lfs": {"oid": self.oid, "size": self.size, "pointerSize": 134}}
        row = {"type": "file", "path": self.name, "size": self.size, "oid": self.oid[:40]}
        return row | (large if is_large(self.name) else {})


@cache
def _oid(path: Path, size: int, modified_ns: int) -> str:
    """A hash of the content; read by blocks, and once for each state of the file."""
    if is_large(path.name):
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return hashlib.sha1(b"blob %d\0" % size + path.read_bytes()).hexdigest()


@dataclass
class Repositories:
    """`folder`/org/name is a model's branch main, `folder`/org/name@tag another revision of it.

    tokens: id -> what opens a model whose licence has to be accepted. private: those that strangers
    do not see.
    """

    folder: Path
    tokens: Mapping[str, str] = field(default_factory=dict)
    private: Iterable[str] = ()
    _commits: dict[tuple[str, str], Path] = field(default_factory=dict)

    def find(self, name: str, revision: str) -> tuple[str, Path] | None:
        """Commit and folder of a revision, which is a branch, a tag or a commit seen before."""
        if place := self._commits.get((name, revision)):
            return revision, place
        place = self.folder / (name if revision == "main" else f"{name}@{revision}")
        if not place.is_dir():
            return None
        files = [f"{file.name} {file.oid}" for file in self.files(place)]
        commit = hashlib.sha1("\n".join(files).encode()).hexdigest()
        self._commits[name, commit] = place
        return commit, place

    def files(self, place: Path) -> list[StoredFile]:
        return [
            StoredFile(path, path.relative_to(place).as_posix(), _oid(path, *_state(path)))
            for path in sorted(place.rglob("*"))
            if path.is_file()
        ]

    def info(self, name: str, revision: str) -> dict[str, Any] | None:
        if (found := self.find(name, revision)) is None:
            return None
        commit, place = found
        siblings = [{"rfilename": file.name} for file in self.files(place)]
        card = _front_matter(place / README)
        return {"id": name, "modelId": name, "sha": commit, "siblings": siblings, "cardData": card}

    def commit(self, name: str, lines: Iterable[bytes], uploads: Path) -> str:
        """Do what a commit says, whose large files were uploaded before."""
        place = self.folder / name
        for line in lines:
            row = json.loads(line)
            value = row["value"]
            if row["key"] not in ("file", "lfsFile"):
                continue
            path = place / value["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            if row["key"] == "lfsFile":
                shutil.copy(uploads / value["oid"], path)
            else:
                path.write_bytes(b64decode(value["content"]))
        found = self.find(name, "main")
        assert found is not None
        return found[0]


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


def _front_matter(readme: Path) -> Any:
    text = readme.read_text(encoding="utf-8") if readme.exists() else ""
    return yaml.safe_load(text.split("---")[1]) if text.startswith("---") else {}
