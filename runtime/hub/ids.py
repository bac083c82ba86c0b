"""Reads ids of models on the Hugging Face Hub, and the places in its cache that they lead to."""

import re
from dataclasses import dataclass
from pathlib import Path

_PART = r"[A-Za-z0-9_][\w.-]*"
_ID = re.compile(
    rf"(?P<name>{_PART}/{_PART})(?:@(?P<revision>[^@:\s]+))?(?::(?P<folder>{_PART}(?:/{_PART})*))?",
    re.ASCII,
)
_COMMIT = re.compile("[0-9a-f]{40}")


@dataclass(frozen=True, kw_only=True)
class HubId:
    """A model on the Hub; revision: branch, tag or commit; None: main. folder: a bundle's in it."""

    name: str
    revision: str | None = None
    folder: str | None = None

    def __str__(self) -> str:
        return self.name + (f"@{self.revision}" if self.revision else "")


def parse_id(text: str) -> HubId | None:
    """What `org/name[@revision][:folder]` means; None for another form."""
    match = _ID.fullmatch(text)
    return HubId(**match.groupdict()) if match else None


def read_id(source: Path | str) -> HubId | None:
    """An id; None for a `Path`, and for what lies here or beside something here."""
    if not isinstance(source, str) or Path(source).parent.is_dir():
        return None
    return parse_id(source)


def snapshot_of(folder: Path) -> Path | None:
    """The `snapshots/COMMIT` of a Hub's cache that `folder` lies in, or None."""
    for path in (folder.absolute(), *folder.absolute().parents):
        if path.parent.name == "snapshots" and _COMMIT.fullmatch(path.name):
            return path if path.parents[1].name.startswith("models--") else None
    return None


def kept_at(folder: Path) -> tuple[Path, ...]:
    """Where a Hub's cache keeps what the files of `folder` link to; nowhere for another folder."""
    if (snapshot := snapshot_of(folder)) is None:
        return ()
    model = snapshot.parents[1]
    return model / "blobs", model.parent / "blobs"  # its own, and what it shares with others


def origin(folder: Path) -> dict[str, str] | None:
    """Id and commit of what lies in a Hub's cache; None for another folder."""
    if (snapshot := snapshot_of(folder)) is None:
        return None
    name = snapshot.parents[1].name.removeprefix("models--").replace("--", "/")
    return {"id": name, "revision": snapshot.name}
