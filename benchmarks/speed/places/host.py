"""Measures jobs on a machine that ssh leads to, as if it were here.

Nothing is kept there but copies: which rounds are done is known here alone, so that neither end can
lose what the other has. Bundles are copied with rsync, which goes on where it stopped, and checked
against their hashes.
"""

import json
import re
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tinyaya.benchmarks.speed.conditions.machine import Bandwidth, Machine, parse_machine
from tinyaya.benchmarks.speed.contender import Job, Sample, parse_sample
from tinyaya.benchmarks.speed.places.adb import plain_name
from tinyaya.runtime import read_manifest
from tinyaya.runtime.errors import HostError
from tinyaya.runtime.progress import Progress
from tinyaya.runtime.whole_file import file_sha256

_DEFAULT_FOLDER = ".cache/tinyaya-bench"  # below the home there
_COPIED_CODE = ("runtime", "benchmarks/__init__.py", "benchmarks/speed")
_PACKAGES = ("numpy", "onnxruntime", "tokenizers", "jinja2")
_PYTHON_CHECK = "import sys, {}; sys.exit(sys.version_info < (3, 11) and 'needs Python 3.11')"
_MADE_PYTHON = "../venv/bin/python"  # seen from the code
_SSH_FAILED_STATUS = 255
_SSH_TRIES, _RETRY_PAUSE_S = 3, 5.0
_SSH_OPTIONS = {"BatchMode": "yes", "ConnectTimeout": "20", "ServerAliveInterval": "15"}


@dataclass(frozen=True, kw_only=True)
class HostOptions:
    """Which machine, and how to reach it; address: as rsync has it, USER@HOST or USER@HOST:FOLDER.

    ssh, rsync: the programs, with options of theirs. python: there; None: one that has the
    packages, or a new environment. engine: that must be installed there.
    """

    address: str
    ssh: str = "ssh"
    rsync: str = "rsync"
    python: str | None = None
    engine: str | None = None

    def __post_init__(self) -> None:
        """Refuse what ssh would take for an option."""
        if not re.fullmatch(r"[A-Za-z0-9_][\w.@%-]*(:[\w./~-]*)?", self.address):
            raise HostError(f"host is {self.address!r}; expected USER@HOST or USER@HOST:FOLDER")

    @property
    def name(self) -> str:
        """What ssh is given."""
        return self.address.partition(":")[0]

    @property
    def imports(self) -> tuple[str, ...]:
        """Packages that a Python there must have."""
        return (*_PACKAGES, "tinyaya_native") if self.engine == "native" else _PACKAGES

    @property
    def folder(self) -> str:
        """Where copies go, from the home there or absolute."""
        return self.address.partition(":")[2].removeprefix("~/") or _DEFAULT_FOLDER


class Host:
    """The machine; see `Place`. To be prepared once, before jobs."""

    def __init__(self, options: HostOptions, pause: Callable[[float], None] = time.sleep) -> None:
        self._options, self._pause = options, pause
        self._python = "python3"
        self._places: dict[str, str] = {}

    def prepare(self, bundles: Sequence[Path], progress: Progress) -> None:
        """Copy code and bundles there, find or make a Python; raises HostError."""
        folder = self._options.folder
        progress.stage(f"{self._options.name}: code")
        self._shell(f"mkdir -p {folder}/bundles {folder}/code/tinyaya")
        self._copy_code()
        self._python = self._find_python(progress)
        for bundle in bundles:
            progress.stage(f"{self._options.name}: {bundle.name}")
            self._places[str(bundle)] = self._copy_bundle(bundle)

    def describe(self) -> Machine:
        """As `Place.describe`."""
        machine = parse_machine(self._ask({"ask": "describe"}))
        return replace(machine, versions={**machine.versions, **_own_version()})

    def bandwidths(self, threads: Sequence[int], cpus: Sequence[int]) -> tuple[Bandwidth, ...]:
        """As `Place.bandwidths`."""
        request = {"ask": "bandwidths", "threads": list(threads), "cpus": list(cpus)}
        return tuple(Bandwidth(**row) for row in self._ask(request))

    def run(self, job: Job) -> Sample:
        """As `Place.run`; a connection that is lost is tried again."""
        there = replace(job, path=self._places[job.path], states=None)
        sample = parse_sample(self._ask({"ask": "run", "job": asdict(there)}))
        return replace(sample, path=job.path)

    def _ask(self, request: Mapping[str, Any]) -> Any:
        command = f"exec {shlex.quote(self._python)} -m tinyaya.benchmarks.speed.places.board"
        out = self._shell(self._in_code(command), json.dumps(request) + "\n").strip()
        try:
            found = json.loads(out.splitlines()[-1])
        except (ValueError, IndexError) as error:
            raise HostError(f"{self._options.name} answered {out[-80:]!r}; see its log") from error
        if "error" in found:
            raise HostError(f"{self._options.name}: {found['error']}")
        return found["answer"]

    def _shell(self, command: str, text: str = "") -> str:
        """Run a command there; what it prints. Raises HostError."""
        for tries_left in reversed(range(_SSH_TRIES)):
            code, out, errors = _talk([*self._ssh(), self._options.name, command], text)
            if code == 0:
                return out
            if code != _SSH_FAILED_STATUS or not tries_left:
                break
            self._pause(_RETRY_PAUSE_S)
        last = (errors.strip().splitlines() or ["no message"])[-1]
        way_out = "; --resume goes on when it can be reached" if code == _SSH_FAILED_STATUS else ""
        raise HostError(f"{self._options.name}: {last} ({code}){way_out}")

    def _in_code(self, command: str) -> str:
        return f"cd {self._options.folder}/code && {command}"

    def _ssh(self) -> list[str]:
        words = [f"-o{name}={value}" for name, value in _SSH_OPTIONS.items()]
        return [*shlex.split(self._options.ssh), *words]

    def _copy_code(self) -> None:
        place = Path(__file__).parents[3]
        choice = ["--archive", "--relative", "--checksum", "--delete"]
        without = ["--exclude=__pycache__", "--exclude=/runtime/native"]
        self._rsync(
            [*choice, *without, *(f"{place}/./{name}" for name in _COPIED_CODE)], "code/tinyaya/"
        )

    def _copy_bundle(self, bundle: Path) -> str:
        """Copy what its manifest lists; its folder there, seen from the code."""
        manifest = read_manifest(bundle)
        digest = file_sha256(bundle / "manifest.json")
        place = f"bundles/{plain_name(bundle)}-{digest[:12]}"
        request = {"ask": "check", "bundle": f"../{place}", "manifest_sha256": digest}
        choice = ["--times", "--copy-links", "--partial-dir=.partial", "--files-from=-"]
        names = "\n".join([*manifest.files, "manifest.json"])
        self._rsync([*choice, f"{bundle}/"], f"{place}/", names)
        try:
            self._ask(request)
        except HostError:  # a file with the right size and time, but not the right bytes
            self._rsync([*choice, "--checksum", f"{bundle}/"], f"{place}/", names)
            self._ask(request)
        return f"../{place}"

    def _rsync(self, arguments: Sequence[str], target: str, text: str = "") -> None:
        place = f"{self._options.name}:{self._options.folder}/{target}"
        shell = f"--rsh={shlex.join(self._ssh())}"
        command = [*shlex.split(self._options.rsync), shell, *arguments, place]
        code, _, errors = _talk(command, text)
        if code:
            last = (errors.strip().splitlines() or ["no message"])[-1]
            raise HostError(
                f"copying to {self._options.name} failed: {last}; rsync must be installed at both "
                "ends, and there must be room; the same command goes on where this one stopped"
            )

    def _find_python(self, progress: Progress) -> str:
        """A Python there that has the packages, seen from the code."""
        given = self._options.python
        imports = ", ".join(self._options.imports)
        check = shlex.quote(_PYTHON_CHECK.format(imports))
        for python in [given] if given else [_MADE_PYTHON, "python3"]:
            command = f"{shlex.quote(python)} -c {check} 2>/dev/null && echo yes || echo no"
            if self._shell(self._in_code(command)).strip().endswith("yes"):
                return python
        if given:
            raise HostError(
                f"{self._options.name}: {given} is no Python from 3.11 on with {imports}; "
                "leave out --python to have an environment made there"
            )
        if self._options.engine == "native":
            raise HostError(
                f"{self._options.name}: no Python there has {imports}; install the wheel of "
                "tinyaya-native there (docs/run.md) and name that Python with --python"
            )
        progress.stage(f"{self._options.name}: packages")
        wanted = " ".join(f"{name}=={version(name)}" for name in _PACKAGES)
        make = (
            f"python3 -c {shlex.quote(_PYTHON_CHECK.format('venv'))}",
            "python3 -m venv ../venv",
            f"{_MADE_PYTHON} -m pip install --quiet --disable-pip-version-check {wanted}",
        )
        self._shell(self._in_code(" && ".join(make)))
        return _MADE_PYTHON


def _talk(command: Sequence[str], text: str) -> tuple[int, str, str]:
    """Run `command`, give it `text`; its stdin stays open, as its sign that somebody waits."""
    with tempfile.TemporaryFile("w+") as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )
        except FileNotFoundError as error:
            raise HostError(f"{command[0]} is not installed here; install it") from error
        with process:
            assert process.stdin and process.stdout
            try:
                process.stdin.write(text)
                process.stdin.flush()
                if "--files-from=-" in command:
                    process.stdin.close()
            except BrokenPipeError:
                pass
            out = process.stdout.read()
        errors.seek(0)
        return process.returncode, out, errors.read()


def _own_version() -> dict[str, str]:
    try:
        return {"tinyaya-export": version("tinyaya-export")}
    except PackageNotFoundError:
        return {}
