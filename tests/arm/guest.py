"""Tasks in, one JSON line a result out: what a bundle does on this machine, emulated or not.

Usage: python guest.py JOB.json RESULTS.jsonl. A task that was begun has a line before its result's,
so that whoever reads them knows at which one the process died.
"""

import ctypes
import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tinyaya.export.proof.verify import verify_bundle
from tinyaya.runtime import Sampler, Session, complete, open_bundle

MARK = 0x54415941  # what count.c listens for
_LIBC = ctypes.CDLL(None)
_AT_HWCAP, _AT_HWCAP2 = 16, 26
_FEATURES = {  # name: word of the auxiliary vector, bit
    "fp16": (_AT_HWCAP, 10),
    "dotprod": (_AT_HWCAP, 20),
    "sve": (_AT_HWCAP, 22),
    "i8mm": (_AT_HWCAP2, 13),
}

Task = Mapping[str, Any]


def features(task: Task) -> dict[str, bool]:
    """What the processor says it has."""
    _LIBC.getauxval.restype = ctypes.c_ulong
    return {
        name: bool(_LIBC.getauxval(ctypes.c_ulong(word)) >> bit & 1)
        for name, (word, bit) in _FEATURES.items()
    }


def execute(task: Task) -> bool:
    """Run machine code, words of 32 bits in hex; it returns, or the process dies of it."""
    import mmap

    code = b"".join(int(word, 16).to_bytes(4, "little") for word in task["words"])
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(code)
    ctypes.CFUNCTYPE(None)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
    return True


def verify(task: Task) -> dict[str, Any]:
    """The checks of `tinyaya-export verify`."""
    checks = verify_bundle(Path(task["bundle"]), engine=task["engine"])
    return {check.name: {"ok": check.ok, "figure": check.figure} for check in checks}


def generate(task: Task) -> dict[str, Any]:
    """A few greedy tokens after a text."""
    answer = complete(_session(task), task["text"], max_tokens=task["tokens"], sampler=Sampler())
    return {"ids": list(answer.token_ids), "text": answer.text}


def greedy(task: Task) -> list[list[int]]:
    """The likeliest tokens after each prompt, whatever stop token comes."""
    session = _session(task)
    return [_greedy(session, prompt, task["tokens"]) for prompt in task["prompts"]]


def record(task: Task) -> int:
    """Logits of all texts into a file, to compare where that takes no time."""
    rows = np.concatenate(list(_logits(task)))
    np.save(task["file"], rows)
    return len(rows)


def sessions(task: Task) -> dict[str, bool]:
    """What sessions promise, past the window: equal logits, bit for bit."""
    session, ids = _session(task), task["ids"]
    session.prefill(ids)
    then = [session.step(token).copy() for token in ids[:5]]

    def same() -> bool:
        return all(
            np.array_equal(row, session.step(token))
            for row, token in zip(then, ids[:5], strict=True)
        )

    session.rewind(len(ids))
    rewound = same()
    session.rewind(len(ids))
    with TemporaryDirectory() as folder:
        session.save(Path(folder) / "saved")
        fork = session.fork()
        session.reset()
        session.load(Path(folder) / "saved")
        restored = same()
    session = fork
    forked = same()
    return {"rewound": rewound, "restored": restored, "forked": forked}


def save(task: Task) -> int:
    """A session's file, for another machine."""
    session = _session(task)
    session.prefill(task["ids"])
    session.save(Path(task["file"]))
    return session.position


def resume(task: Task) -> list[int]:
    """Greedy tokens after a session that another machine saved."""
    session = _session(task)
    session.load(Path(task["file"]))
    return _greedy(session, [task["next"]], task["tokens"], reset=False)


def count(task: Task) -> None:
    """A chunk, then single tokens; a mark after each, and one before that says where they begin."""
    session = _session(task)
    chunk = session.manifest.limits.chunk
    ids = (task["ids"] * chunk)[:chunk]
    gc.disable()  # Python's own, which comes when it likes
    for warm in (True, False):
        session.reset()
        _mark(0)
        session.prefill(ids)
        _mark(0 if warm else 1)
        for token in ids[: task["tokens"]]:
            session.step(token)
            _mark(0 if warm else 2)


def _mark(number: int) -> None:
    _LIBC.prctl(MARK, number, 0, 0, 0)


def _session(task: Task) -> Session:
    bundle = open_bundle(task["bundle"], engine=task.get("engine"))
    return bundle.session(threads=task.get("threads", 1))


def _greedy(session: Session, prompt: list[int], tokens: int, *, reset: bool = True) -> list[int]:
    if reset:
        session.reset()
    ids = [int(session.prefill(prompt).argmax())]
    while len(ids) < tokens:
        ids.append(int(session.step(ids[-1]).argmax()))
    return ids


def _logits(task: Task) -> Iterator[NDArray[np.float32]]:
    """Rows of each text after its first `fed` tokens: some as guesses are judged, then single."""
    session = _session(task)
    for ids in task["texts"]:
        session.reset()
        session.prefill(ids[: task["fed"]])
        several, singles = ids[task["fed"] : -task["singles"]], ids[-task["singles"] :]
        for first in range(0, len(several), session.guesses):
            rows = session.step_rows(several[first : first + session.guesses])
            yield np.stack(rows)
        for token in singles:
            yield session.step(token)[None].copy()


KINDS: Mapping[str, Callable[[Task], Any]] = {
    kind.__name__: kind
    for kind in (
        features,
        execute,
        verify,
        generate,
        greedy,
        record,
        sessions,
        save,
        resume,
        count,
    )
}


def main(job: Path, results: Path) -> None:
    """Do every task of the job, in order."""
    with results.open("a", encoding="utf-8") as file:
        for task in json.loads(job.read_text(encoding="utf-8")):
            began = time.process_time()
            print(json.dumps({"name": task["name"]}), file=file, flush=True)
            result = KINDS[task["kind"]](task)
            seconds = round(time.process_time() - began, 2)
            row = {"name": task["name"], "result": result, "cpu_s": seconds}
            print(json.dumps(row), file=file, flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
