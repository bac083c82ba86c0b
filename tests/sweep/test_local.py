"""Tasks here: bounded by memory, apart by group, and killed without losing what was finished."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.sweep.driver import ALL
from tests.sweep.tasks import CHILD, make_task, read_diary, wait_for_children
from tinyaya.export.sweep.local import LocalLimits, run_locally
from tinyaya.export.sweep.run import run_sweep
from tinyaya.export.sweep.task import Sweep, Task
from tinyaya.runtime.errors import OptionError

pytestmark = pytest.mark.serial

ROOT = Path(__file__).parents[2]


def _names(out: Path, what: str) -> list[str]:
    return [row[1] for row in read_diary(out) if row[0] == what]


def _run(out: Path, tasks: list[Task], *, jobs: int = 4, memory_bytes: int = 100) -> dict[str, str]:
    said: dict[str, str] = {}
    run_locally(
        out,
        tasks,
        limits=LocalLimits(jobs=jobs, memory_bytes=memory_bytes),
        tell=lambda task, what: said.update({task.name: what}),
        child=CHILD,
    )
    return said


def _most_at_once(out: Path, weigh: Callable[[str], int]) -> int:
    now = most = 0
    for what, name, *_ in sorted(read_diary(out), key=lambda row: float(row[3])):
        now += weigh(name) if what == "begin" else -weigh(name)
        most = max(most, now)
    return most


def test_plans_of_those_at_once_fit_into_memory(tmp_path: Path) -> None:
    sizes = {"a": 60, "b": 50, "c": 40, "d": 30, "e": 10}
    tasks = [make_task(name, peak_bytes=size) for name, size in sizes.items()]
    _run(tmp_path, tasks, memory_bytes=100)
    assert 60 < _most_at_once(tmp_path, lambda name: sizes[name[0]]) <= 100
    assert sorted(_names(tmp_path, "end")) == sorted(task.name for task in tasks)


def test_no_more_run_at_once_than_jobs(tmp_path: Path) -> None:
    _run(tmp_path, [make_task(str(index)) for index in range(5)], jobs=2)
    assert _most_at_once(tmp_path, lambda name: 1) == 2


def test_backends_of_one_group_wait_for_each_other(tmp_path: Path) -> None:
    _run(tmp_path, [make_task(name, group="int4") for name in ("onnx", "executorch")])
    assert _most_at_once(tmp_path, lambda name: 1) == 1


def test_failures_are_told_and_keep_nobody_from_running(tmp_path: Path) -> None:
    tasks = [make_task(name) for name in ("fails", "dies", "works")]
    said: dict[str, str] = {}
    sweep = Sweep(out=tmp_path, tasks=tasks)
    for _ in range(2):
        result = run_sweep(
            sweep, ray=None, jobs=1, tell=lambda task, what: said.update({task.name: what}),
            child=CHILD,
        )  # fmt: skip
    assert said["fails-onnx"] == "the weights are not finite; export others"
    assert said["dies-onnx"].startswith("killed by signal 9")
    assert said["works-onnx"] == "finished" and len(_names(tmp_path, "end")) == 1
    assert result.failed.keys() == {"fails-onnx", "dies-onnx"}
    page = result.page.read_text(encoding="utf-8")
    assert "failed: the weights are not finite" in page and "1 of 3" in page


def test_another_key_is_done_again(tmp_path: Path) -> None:
    for key in ("one", "one", "two"):
        task = Task(**{**vars(make_task("t")), "key": key})
        sweep = Sweep(out=tmp_path, tasks=[task])
        run_sweep(sweep, ray=None, jobs=1, tell=lambda task, what: None, child=CHILD)
    assert len(_names(tmp_path, "end")) == 2


def test_task_larger_than_memory_is_refused_before_any_work(tmp_path: Path) -> None:
    tasks = [make_task("small"), make_task("large", peak_bytes=1 << 60)]
    with pytest.raises(OptionError, match="large-onnx is planned to need"):
        run_sweep(Sweep(out=tmp_path, tasks=tasks), ray=None, jobs=1, tell=lambda task, what: None)
    assert not read_diary(tmp_path)


def test_killed_at_every_place_no_finished_result_is_lost(tmp_path: Path) -> None:
    """By the second of two children, three times at each of its places."""
    seen: dict[str, int] = {}
    for place in ("begin", "bundle", "result") * 3:
        waiting = [name for name in ALL if name not in _finished(tmp_path)]
        driver = _start(tmp_path, KILL=f"{waiting[1]} {place}")
        assert driver.wait() == -signal.SIGKILL
        seen = _seen_after_kill(tmp_path, seen)
    _finish(tmp_path, seen)


@pytest.mark.thorough
def test_killed_at_random_no_finished_result_is_lost(tmp_path: Path) -> None:
    chance, seen = random.SystemRandom(), dict[str, int]()
    for _ in range(10):
        begun = len(read_diary(tmp_path))
        driver = _start(tmp_path)
        while driver.poll() is None and len(read_diary(tmp_path)) == begun:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.5))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
        seen = _seen_after_kill(tmp_path, seen)
    _finish(tmp_path, seen)


def _seen_after_kill(out: Path, seen: Mapping[str, int]) -> dict[str, int]:
    """Of finished tasks, how often they had begun when they were seen finished first."""
    wait_for_children(out)
    finished = _finished(out)
    assert finished >= seen.keys()
    return {name: _names(out, "begin").count(name) for name in finished} | seen


def _finish(out: Path, seen: Mapping[str, int]) -> None:
    """Run what is left; none that was finished is done again."""
    assert 0 < len(seen) < len(ALL), "the kills came too late or too early to show anything"
    assert _start(out).wait() == 0
    assert len(_finished(out)) == len(ALL)
    began = _names(out, "begin")
    assert {name: began.count(name) for name in seen} == seen


def _start(out: Path, **environment: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "tests.sweep.driver", out]
    return subprocess.Popen(command, cwd=ROOT, env=os.environ | environment)


def _finished(out: Path) -> set[str]:
    return {path.parent.name for path in out.glob(".sweep/*/result.json")}
