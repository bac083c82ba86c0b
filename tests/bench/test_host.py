"""A board by ssh: a real sshd on loopback, real rsync, and kills at any moment."""

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from fcntl import LOCK_EX, flock
from pathlib import Path

import numpy as np
import pytest

from tests.bench.conftest import Sshd
from tests.cli.conftest import Command
from tests.runtime.tiny_bundle import manifest, write_manifest
from tinyaya.benchmarks.speed.contender import Case, Job
from tinyaya.benchmarks.speed.places import board
from tinyaya.benchmarks.speed.places.host import Host, HostOptions
from tinyaya.runtime import open_bundle
from tinyaya.runtime.errors import BenchError, HostError
from tinyaya.runtime.progress import Silent

ROOT = Path(__file__).parents[2]
KILLS, ROUNDS, FEW_ROUNDS = 10, 12, 5


def reached(sshd: Sshd, rsync: str = "rsync") -> Host:
    options = HostOptions(address=sshd.address, ssh=sshd.ssh, rsync=rsync, python=sys.executable)
    return Host(options, pause=lambda seconds: None)


def job(bundle: Path) -> Job:
    cases = (Case(n_prompt=8), Case(n_gen=4))
    return Job(kind="bundle", path=str(bundle), context=None, threads=1, seed=0, cases=cases)


def copied(sshd: Sshd, bundle: Path) -> Path:
    (found,) = (sshd.folder / "bundles").glob(f"*{bundle.name}-*")
    return found


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def left_over(sshd: Sshd) -> list[str]:
    """Commands of processes whose folder is that of the code on the board."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() == sshd.folder / "code":
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:
            continue
    return found


def test_it_measures_there_with_the_code_that_was_copied(sshd: Sshd, bundle: Path) -> None:
    host = reached(sshd)
    host.prepare([bundle], Silent())
    assert host.describe().versions["onnxruntime"]
    sample = host.run(job(bundle))
    assert sample.path == str(bundle)
    assert sample.rates.keys() == {"pp8", "tg4"}
    assert sample.conditions is not None
    assert list((sshd.folder / "code/tinyaya/benchmarks/speed/__pycache__").glob("contender.*"))
    assert host.bandwidths([1], ())[0].read_bytes_per_s > 1e8


def test_a_copy_that_rotted_is_found_and_mended(sshd: Sshd, bundle: Path) -> None:
    reached(sshd).prepare([bundle], Silent())
    there = copied(sshd, bundle) / "model.onnx.data"
    times = there.stat()
    raw = bytearray(there.read_bytes())
    raw[1000] ^= 1
    there.write_bytes(raw)
    os.utime(there, ns=(times.st_atime_ns, times.st_mtime_ns))  # so that rsync sees no difference
    reached(sshd).prepare([bundle], Silent())
    assert digest(there) == digest(bundle / "model.onnx.data")


def test_a_copy_that_was_killed_goes_on(sshd: Sshd, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.mkdir()
    weights = np.random.default_rng(0).bytes(32 << 20)
    for name in ("tokenizer.json", "tokenizer_config.json", "model.onnx"):
        (large / name).write_text("{}")
    (large / "weights.bin").write_bytes(weights)
    write_manifest(large, manifest())
    code = (
        "import sys; from pathlib import Path; from tinyaya.benchmarks.speed.places.host import *\n"
        "from tinyaya.runtime.progress import Silent\n"
        "options = HostOptions(address=sys.argv[1], ssh=sys.argv[2], python=sys.executable,"
        " rsync='rsync --bwlimit=4000')\n"
        "Host(options).prepare([Path(sys.argv[3])], Silent())"
    )
    words = [sys.executable, "-c", code, sshd.address, sshd.ssh, str(large)]
    with subprocess.Popen(words, start_new_session=True) as process:
        wait(lambda: partial_bytes(sshd, large) > 2 << 20)
        os.killpg(process.pid, signal.SIGKILL)
    wait(lambda: (copied(sshd, large) / ".partial" / "weights.bin").exists())
    log = tmp_path / "log"
    reached(sshd, f"rsync --log-file={log}").prepare([large], Silent())
    assert digest(copied(sshd, large) / "weights.bin") == hashlib.sha256(weights).hexdigest()
    last = log.read_text().splitlines()[-1]
    sent = int(last.split("sent ")[1].split(" ")[0].replace(",", ""))
    assert sent < len(weights) - (1 << 20)


def partial_bytes(sshd: Sshd, large: Path) -> int:
    """Of a file that is under way, whatever name it has."""
    found = (sshd.folder / "bundles").glob(f"*{large.name}-*/.*weights*")
    return sum(path.stat().st_size for path in found if path.is_file())


def wait(until: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def samples(out: Path) -> list[object]:
    return json.loads(out.read_text())["samples"] if out.exists() else []


def bench(
    sshd: Sshd, bundle: Path, out: Path, rounds: int, python: str = sys.executable
) -> list[str]:
    """A module and what it is called with; it goes on with what `out` holds."""
    words = ["tinyaya.export.cli.app", "bench", str(bundle), "--host", sshd.address]
    words += ["--ssh", sshd.ssh, "--python", python, "--prompts", "16", "--contexts", "0"]
    words += ["--tokens", "4", "--threads", "1", "--rounds", str(rounds), "--cooldown", "0"]
    return [*words, "--out", str(out), "--resume"]


def finish(words: list[str], out: Path, rounds: int, known: list[object]) -> None:
    """Run to the end; what was known stays."""
    done = subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert result["complete"] and len(result["samples"]) == rounds
    assert result["samples"][: len(known)] == known
    assert "pp16" in done.stdout


# Dies as it begins to measure, once: where the file {fails} is, which goes with it.
BOARD_PYTHON = """#!/bin/sh
[ "$1" = -m ] && [ -e {fails} ] || exec {python} "$@"
PYTHONPATH={root} {python} -m tests.failpoints subprocess.Popen contender "$2"
status=$?
[ $status = 137 ] || exit $status
rm {fails}
kill -9 $$
"""


def test_killed_at_every_place_no_finished_result_is_lost(
    sshd: Sshd, bundle: Path, tmp_path: Path
) -> None:
    """Before copies, before a result is kept and after that; the last time the board dies first."""
    out, python, fails = (tmp_path / name for name in ("board.json", "python", "fails"))
    python.write_text(BOARD_PYTHON.format(fails=fails, python=sys.executable, root=ROOT))
    python.chmod(0o755)
    words = bench(sshd, bundle, out, FEW_ROUNDS, str(python))
    kept = ("os.remove", ".board.json.partial")
    places = (("subprocess.Popen", "rsync"), ("os.rename", "board.json"), kept)
    for place, more in zip((*places, *places, kept), (0, 0, 1, 0, 0, 1, 1), strict=True):
        known = samples(out)
        if len(known) == 2:
            fails.touch()
        died = subprocess.run([sys.executable, "-m", "tests.failpoints", *place, *words], cwd=ROOT)
        assert died.returncode == -signal.SIGKILL
        found = samples(out)
        assert found[: len(known)] == known and len(found) == len(known) + more
        wait(lambda: not left_over(sshd))
    assert not fails.exists()  # it did die
    finish(words, out, FEW_ROUNDS, samples(out))


@pytest.mark.thorough
def test_ten_kills_at_random_lose_no_finished_result(
    sshd: Sshd, bundle: Path, tmp_path: Path
) -> None:
    """Kills of both ends in turns; each run goes on with the same file."""
    out, chance = tmp_path / "board.json", random.SystemRandom()
    words = bench(sshd, bundle, out, ROUNDS)
    known: list[object] = []
    for kill in range(KILLS):
        with (
            (tmp_path / "errors").open("w+") as log,
            subprocess.Popen(
                [sys.executable, "-m", *words], start_new_session=True, stdout=log, stderr=log
            ) as process,
        ):
            wanted = min(len(known) + chance.choice((0, 0, 1)), ROUNDS - 1)
            while len(samples(out)) < wanted:
                assert process.poll() is None, (tmp_path / "errors").read_text()
                time.sleep(0.05)
            time.sleep(chance.uniform(0, 3))
            if kill % 2:
                kill_board(sshd)
                time.sleep(chance.uniform(0, 3))
            os.killpg(process.pid, signal.SIGKILL)
        found = samples(out)
        assert found[: len(known)] == known
        known = found
        wait(lambda: not left_over(sshd))
    assert known, "the kills were to strike in the middle"
    finish(words, out, ROUNDS, known)


def kill_board(sshd: Sshd) -> None:
    """As if the power went; the run here tries again, then ends with an error."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cwd").readlink() == sshd.folder / "code":
                os.kill(int(folder.name), signal.SIGKILL)
        except OSError:
            continue


def test_a_board_that_nobody_waits_for_ends_its_work(bundle: Path, tmp_path: Path) -> None:
    place = tmp_path / "code"
    place.mkdir()
    cases = [{"n_prompt": 8, "n_gen": 0, "n_depth": 0}, {"n_prompt": 0, "n_gen": 900, "n_depth": 0}]
    raw = {"kind": "bundle", "path": str(bundle), "context": None, "threads": 1, "seed": 0}
    rests = {"states": None, "cpus": [], "cooldown_s": 60.0, "cool_celsius": None}
    request = json.dumps({"ask": "run", "job": {**raw, "cases": cases, **rests}}) + "\n"
    process = subprocess.Popen(
        [sys.executable, "-m", "tinyaya.benchmarks.speed.places.board"],
        cwd=place,
        stdin=-1,
        stdout=-1,
        text=True,
    )
    assert process.stdin and process.stdout
    process.stdin.write(request)
    process.stdin.flush()
    wait(lambda: (tmp_path / "lock").exists())
    assert process.poll() is None
    process.stdin.close()
    assert process.wait(timeout=60) == -signal.SIGKILL
    process.stdout.close()


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(board, "_LOCK_FILE", tmp_path / "lock")
    monkeypatch.setattr(board, "_LOCK_TIMEOUT_S", 0.3)
    with (tmp_path / "lock").open("w") as file:
        flock(file, LOCK_EX)
        yield tmp_path


@pytest.mark.usefixtures("held")
def test_two_benchmarks_do_not_run_at_once() -> None:
    with pytest.raises(BenchError, match="another benchmark runs"):
        board.answer({"ask": "bandwidths", "threads": [1], "cpus": []})


@pytest.mark.parametrize("address", ["-oProxyCommand=x", "", "a b", "pi:/x;rm", "pi:$(x)"])
def test_addresses_that_a_shell_would_read_are_refused(address: str) -> None:
    with pytest.raises(HostError, match="expected USER@HOST"):
        HostOptions(address=address)


def test_what_cannot_be_reached_is_one_line(sshd: Sshd, bundle: Path, command: Command) -> None:
    closed = "ssh -p 1 -F none -oStrictHostKeyChecking=no -oLogLevel=ERROR"
    quick = Host(HostOptions(address=sshd.address, ssh=closed), pause=lambda seconds: None)
    with pytest.raises(HostError, match=r"Connection refused.*--resume goes on"):
        quick.prepare([bundle], Silent())
    lacking = HostOptions(address=sshd.address, ssh=sshd.ssh, rsync="no-such-program")
    with pytest.raises(HostError, match="no-such-program is not installed here"):
        Host(lacking).prepare([bundle], Silent())
    bare = HostOptions(address=sshd.address, ssh=sshd.ssh, python="/bin/false")
    with pytest.raises(HostError, match=r"/bin/false is no Python from 3\.11"):
        Host(bare).prepare([bundle], Silent())
    found = command("bench", bundle, "--host", "a b")
    assert (found.code, len(found.err.splitlines())) == (2, 1)


def test_a_bundle_that_does_not_run_there_says_why(
    sshd: Sshd, bundle: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    (broken / "model.onnx").write_bytes(b"no program")
    raw = json.loads((broken / "manifest.json").read_text())
    write_manifest(broken, raw)
    assert open_bundle(broken)
    host = reached(sshd)
    host.prepare([broken], Silent())
    with pytest.raises(HostError, match=r"failed \(1\)"):
        host.run(job(broken))
