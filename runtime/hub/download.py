"""Finds what ids on the Hugging Face Hub mean: an id in, a folder of its cache out.

`huggingface_hub` asks, keeps and resumes; it is imported when something is asked of the Hub.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import Any

from tinyaya.runtime.errors import BundleError, HubError
from tinyaya.runtime.hub.ids import HubId, read_id
from tinyaya.runtime.manifest import MANIFEST_FILE, read_manifest
from tinyaya.runtime.progress import Advance, Progress, Silent

# Nothing is told but what is asked for; it is read when huggingface_hub is imported.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")

_ATTEMPTS = 3  # of the client's own, which goes on five times where a connection was cut


def find_bundle(source: Path | str, progress: Progress | None = None) -> Path:
    """The folder of a bundle, which is downloaded where `source` is an id; raises HubError.

    For a folder of bundles, here or there: the one that runs fastest here (see `preferred`).
    """
    progress = progress or Silent()
    if (id_ := read_id(source)) is None:
        folder = Path(source)
        below = sorted(path.parent for path in folder.glob(f"*/{MANIFEST_FILE}"))
        if (folder / MANIFEST_FILE).exists() or not below:
            return folder
        return preferred(f"{source}/", below, progress)
    found = download(id_, [MANIFEST_FILE, f"*/{MANIFEST_FILE}"], Silent())
    folders = sorted(path.parent for path in found.rglob(MANIFEST_FILE))
    if id_.folder:
        chosen = found / id_.folder
        if chosen not in folders:
            names = ", ".join(path.relative_to(found).as_posix() for path in folders)
            raise HubError(f"{source} holds no bundle; {id_} has {names or 'none'}")
    elif folders:
        chosen = preferred(f"{source}:", folders, progress)
    else:
        raise HubError(f"{id_} holds no bundle; expected one, as at {id_}:onnx")
    files = [MANIFEST_FILE, *read_manifest(chosen).files]
    wanted = [(chosen / file).relative_to(found).as_posix() for file in files]
    download(replace(id_, revision=found.name), wanted, progress)
    return chosen


def preferred(prefix: str, folders: Sequence[Path], progress: Progress) -> Path:
    """Of several bundles that of the engine that is fastest here; says which one it is.

    ExecuTorch's with the native engine, then ONNX Runtime's. prefix: what comes before a bundle's
    name where it is named. Raises BundleError where two are of that engine.
    """
    if len(folders) == 1:
        return folders[0]
    engines = {path: read_manifest(path).engine for path in folders}
    order = ["executorch", "onnx"] if find_spec("tinyaya_native") else ["onnx", "executorch"]
    names = ", ".join(path.name for path in folders)
    for engine in order:
        chosen = [path for path, name in engines.items() if name == engine]
        if len(chosen) == 1:
            progress.note(f"{prefix[:-1]} holds {names}; {prefix}{chosen[0].name} is taken")
            return chosen[0]
        if chosen:
            break
    raise BundleError(
        f"{prefix[:-1]} holds the bundles {names}; name one, such as {prefix}{folders[0].name}"
    )


def download(id_: HubId, patterns: Sequence[str], progress: Progress) -> Path:
    """The folder that has the files of these patterns; raises HubError.

    What the cache has is not asked for again. Without a connection, the cache has to do.
    """
    with explained(id_):
        for _ in range(_ATTEMPTS - 1):
            try:
                return _snapshot(id_, patterns, progress)
            except Exception as error:
                if not _is_lost(error):
                    raise
                progress.note(f"the connection was lost; the download of {id_} goes on")
        return _snapshot(id_, patterns, progress)


@contextmanager
def explained(id_: HubId) -> Iterator[None]:
    """Turn what the client raises into a HubError of one line."""
    try:
        yield
    except Exception as error:
        if told := _told(error, id_):
            raise HubError(told) from error
        raise


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the client from drawing bars of its own."""
    from huggingface_hub.utils.tqdm import disable_progress_bars, enable_progress_bars

    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()


def _snapshot(id_: HubId, patterns: Sequence[str], progress: Progress) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import DryRunError

    def call(**options: Any) -> Any:
        return snapshot_download(
            id_.name, revision=id_.revision, allow_patterns=list(patterns), **options
        )

    try:
        missing = [row for row in call(dry_run=True, tqdm_class=_bar()) if row.will_download]
    except DryRunError:  # without a connection, or as HF_HUB_OFFLINE wants it
        return Path(call(tqdm_class=_bar()))
    needed = sum(row.file_size or 0 for row in missing)
    _check_disk(id_, needed)
    if not needed:
        return Path(call(tqdm_class=_bar()))
    return Path(call(tqdm_class=_bar(progress.stage(f"download {id_.name}", needed, unit="B"))))


def _check_disk(id_: HubId, needed_bytes: int) -> None:
    from huggingface_hub.constants import HF_HUB_CACHE

    place = Path(HF_HUB_CACHE)
    there = next(path for path in (place, *place.parents) if path.exists())
    free_bytes = shutil.disk_usage(there).free
    if needed_bytes > free_bytes:
        raise HubError(
            f"{id_} needs {needed_bytes / 1e9:.2f} GB more in {place}, which has "
            f"{free_bytes / 1e9:.2f} GB left; make room, or set HF_HUB_CACHE to a folder elsewhere"
        )


def _bar(advance: Advance | None = None) -> type:
    """The client's bar, which passes on how many bytes have come.

    The client counts what it received and what it wrote; the larger is the nearer one.
    """
    from tqdm import tqdm

    counts: dict[int, int] = {}
    lock = Lock()

    class Bar(tqdm):  # type: ignore[misc]
        def __init__(self, *given: Any, unit: str = "it", **options: Any) -> None:
            super().__init__(*given, **options | {"disable": True})
            self.counts_bytes = unit == "B"

        def update(self, n: float | None = 1) -> None:
            if advance is None or not self.counts_bytes:
                return
            with lock:
                before = max(counts.values(), default=0)
                counts[id(self)] = counts.get(id(self), 0) + int(n or 0)
                if more := max(counts.values()) - before:
                    advance(more)

    return Bar


def _is_lost(error: BaseException) -> bool:
    """Whether a connection ended, or a file came in part; the client has no error for that."""
    cut = isinstance(error, OSError) and "Consistency check failed" in str(error)
    return cut or type(error).__module__.startswith("httpx")


def _told(error: Exception, id_: HubId) -> str | None:
    """One line on what went wrong with the Hub; None for what is no matter of it."""
    from huggingface_hub import constants, errors

    server, login = constants.ENDPOINT, "`hf auth login`, or set HF_TOKEN"
    cause = error.__cause__ if isinstance(error, errors.LocalEntryNotFoundError) else error
    cases: list[tuple[type | Callable[[Any], bool], str]] = [
        (errors.GatedRepoError, f"{id_.name} asks for its licence: accept it at {server}/{id_.name}"
         f", then {login}"),
        (errors.RepositoryNotFoundError, f"{id_.name} is neither a folder here nor a model at "
         f"{server}; check its name; where it is private: {login}"),
        (errors.RevisionNotFoundError, f"{id_.name} has no revision {id_.revision!r}; expected a "
         f"branch, tag or commit of {server}/{id_.name}/commits"),
        (errors.OfflineModeIsEnabled, f"{id_} is not whole in {constants.HF_HUB_CACHE}, and "
         "HF_HUB_OFFLINE forbids to ask for it; unset it and download once"),
        (_is_lost, f"{id_}: no connection to {server}, or it was lost; what came whole is kept: "
         "give the same command again"),
    ]  # fmt: skip
    for kind, text in cases:
        if isinstance(cause, kind) if isinstance(kind, type) else kind(cause):
            return text
    status = cause.response.status_code if isinstance(cause, errors.HfHubHTTPError) else 0
    if status in (401, 403):
        return f"{server} does not let this token do that with {id_.name}; {login}"
    if type(error).__module__.startswith(errors.__package__ or "") or isinstance(error, OSError):
        return f"{id_}: {' '.join(str(cause or error).split())[:300]}"
    return None
