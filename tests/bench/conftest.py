"""An sshd of the tests' own on loopback, without privileges: another port, a key for once."""

import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.cli.conftest import command

__all__ = ["command"]

SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/sbin")
CONFIG = """
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host
AuthorizedKeysFile {folder}/user.pub
PidFile {folder}/pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin yes
"""


@dataclass(frozen=True, kw_only=True)
class Sshd:
    """How to reach it, and where it may write."""

    address: str
    ssh: str
    folder: Path


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Skips, and says why, where sshd, ssh or rsync is missing."""
    programs = {"openssh-server": SSHD, "openssh-client": shutil.which("ssh-keygen")}
    for package, found in {**programs, "rsync": shutil.which("rsync")}.items():
        if not found:
            pytest.skip(f"{package} is not installed; apt-get install {package}")
    folder = tmp_path_factory.mktemp("sshd")
    for name in ("host", "user"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
        subprocess.run(make, check=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "config").write_text(CONFIG.format(port=port, folder=folder))
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    command = [str(SSHD), "-D", "-e", "-f", str(folder / "config")]
    with (folder / "log").open("w") as log, subprocess.Popen(command, stderr=log) as process:
        words = ["ssh", "-p", str(port), "-i", str(folder / "user"), "-F", "none"]
        words += ["-oStrictHostKeyChecking=no", f"-oUserKnownHostsFile={folder}/known"]
        words += ["-oLogLevel=ERROR"]
        try:
            _wait_until_open(port, process, folder / "log")
            user = pwd.getpwuid(os.getuid()).pw_name
            there = folder / "board"
            yield Sshd(address=f"{user}@127.0.0.1:{there}", ssh=" ".join(words), folder=there)
        finally:
            process.terminate()


def _wait_until_open(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(100):
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {log.read_text()[-200:]}")
        with socket.socket() as attempt:
            if attempt.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    pytest.skip("sshd does not listen after 10 s")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small model as an ONNX bundle, rounded and not verified: what it says does not matter."""
    from tinyaya.export.options import ExportOptions
    from tinyaya.export.pipeline import export_bundle

    target = tmp_path_factory.mktemp("bench") / "nano"
    options = ExportOptions(recipe="int4", chunk=64, calibrate=False, verify=False)
    export_bundle(Path(__file__).parents[1] / "assets" / "nano", target, options)
    return target
