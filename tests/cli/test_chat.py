"""The chat at a real terminal, and piped."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pexpect
import pytest

from tinyaya.export.cli.conversation import parse_note, printable
from tinyaya.runtime import SessionFileError

pytestmark = pytest.mark.serial

ROOT = Path(__file__).parents[2]
MODULE = "tinyaya.export.cli.app"
CHAT = [sys.executable, "-m", MODULE, "chat"]
PROMPT = "\r\n> "


@pytest.fixture
def terminal(bundles: Mapping[str, Path]) -> Iterator[pexpect.spawn]:
    """The chat in a pseudo-terminal, at its first prompt."""
    arguments = [*CHAT[1:], str(bundles["onnx"]), "--max-tokens", "30", "--threads", "1"]
    environment = os.environ | {"TERM": "xterm", "INPUTRC": "/dev/null"}
    child = pexpect.spawn(
        CHAT[0], arguments, encoding="utf-8", timeout=60, env=environment, cwd=str(ROOT),
        dimensions=(40, 200),
    )  # fmt: skip
    child.expect("/help lists the commands")
    child.expect("> ")
    yield child
    child.close(force=True)


def piped(
    bundle: Path, lines: str, *options: str, dies_at: tuple[str, ...] = ()
) -> subprocess.CompletedProcess:
    module = ["tests.failpoints", *dies_at, MODULE] if dies_at else [MODULE]
    command = [sys.executable, "-m", *module, "chat", str(bundle)]
    command += ["--max-tokens", "20", "--temperature", "0", *options]
    return subprocess.run(
        command, input=lines.encode(), capture_output=True, check=False, cwd=ROOT, timeout=120
    )


def test_a_conversation(terminal: pexpect.spawn, tmp_path: Path) -> None:
    terminal.sendline("Habari ya asubuhi?")
    terminal.expect(PROMPT)
    terminal.sendline("/stats")
    terminal.expect(r"(\d+) tokens held, room for \d+")
    held = terminal.match[1]
    terminal.expect("ended by")
    terminal.sendline(f"/save {tmp_path / 'talk'}")
    terminal.expect(f"saved {held} tokens")
    terminal.sendline("/reset")
    terminal.expect("new conversation")
    terminal.sendline("/stats")
    terminal.expect("0 tokens held")
    terminal.sendline(f"/load {tmp_path / 'talk'}")
    terminal.expect(f"2 messages, {held} tokens")
    terminal.sendline("/system Answer in Swahili.")
    terminal.expect("told so")
    terminal.sendline("/nonsense")
    terminal.expect("is no command; known: /reset")
    terminal.sendline("/exit")
    terminal.expect(pexpect.EOF)
    terminal.wait()
    assert terminal.exitstatus == 0


def test_arrow_up_brings_the_last_line_back(terminal: pexpect.spawn) -> None:
    terminal.sendline("/stats")
    terminal.expect("tokens held")
    terminal.expect("> ")
    terminal.send("\x1b[A")
    terminal.expect("/stats")
    terminal.sendline("")
    terminal.expect("tokens held")


def talkative(bundle: Path, folder: Path) -> Path:
    """The bundle, with answers that only the context ends."""
    shutil.copytree(bundle, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    manifest["tokens"]["stop"] = [manifest["tokens"]["pad"]]
    path.write_text(json.dumps(manifest), encoding="utf-8")
    return folder


def stopped(child: pexpect.spawn) -> bool:
    """Whether Ctrl-C came before the answer's end, which is a second away, and ended it."""
    child.sendline("/reset")
    child.expect(r"/reset\r\n.*> ")
    child.sendline("Tell me a long story about a king.")
    child.expect(r"king\.\r\n.{20}")  # the echo, and some of the answer
    found = interrupted(child, r"\(stopped\)", "Ctrl-D leaves")
    child.expect("> ")
    return found == 0


def interrupted(child: pexpect.spawn, *answers: str) -> int:
    """Which answer Ctrl-C has; pressed again, as one between prompt and reading waits for a key."""
    for _ in range(5):
        child.sendintr()
        found: int = child.expect([*answers, pexpect.TIMEOUT], timeout=10)
        if found < len(answers):
            return found
    pytest.fail("Ctrl-C does nothing")


def test_ctrl_c_stops_the_answer_and_not_the_program(
    bundles: Mapping[str, Path], tmp_path: Path
) -> None:
    bundle = talkative(bundles["onnx"], tmp_path / "bundle")
    arguments = [*CHAT[1:], str(bundle), "--max-tokens", "900", "--threads", "1"]
    child = pexpect.spawn(CHAT[0], arguments, encoding="utf-8", timeout=60, cwd=str(ROOT))
    child.expect("/help")
    child.expect("> ")
    assert any(stopped(child) for _ in range(5))
    interrupted(child, "Ctrl-D leaves")
    child.sendline("/stats")
    child.expect("tokens held")
    child.expect("> ")
    child.sendeof()
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_piped_answers_alone_are_on_stdout(bundles: Mapping[str, Path], tmp_path: Path) -> None:
    talk = tmp_path / "talk"
    first = piped(bundles["onnx"], f"Hello\n/save {talk}\n/stats\n")
    assert first.returncode == 0, first.stderr
    assert b"saved" in first.stderr and b"tokens held" in first.stderr
    assert b"saved" not in first.stdout and first.stdout.strip()
    again = piped(bundles["onnx"], "Hello\n")
    assert again.stdout == first.stdout
    gone_on = piped(bundles["onnx"], f"/load {talk}\nMore\n/stats\n")
    assert b"2 messages" in gone_on.stderr and b" 0 tokens reused" not in gone_on.stderr


def test_bytes_that_are_no_text(bundles: Mapping[str, Path]) -> None:
    command = [*CHAT, str(bundles["onnx"]), "--max-tokens", "5"]
    found = subprocess.run(
        command, input=b"\xff\xfe\nhi\n", capture_output=True, check=False, cwd=ROOT, timeout=120
    )
    assert found.returncode == 0
    assert b"lone surrogate" in found.stderr
    assert found.stdout.strip()


def test_a_reader_that_leaves_is_no_error(bundles: Mapping[str, Path]) -> None:
    command = f"{' '.join(CHAT)} {bundles['onnx']} --max-tokens 400 | head -c 5"
    found = subprocess.run(
        command, shell=True, input=b"hi\nho\n", capture_output=True, check=False, cwd=ROOT,
        timeout=120,
    )  # fmt: skip
    assert b"Traceback" not in found.stderr, found.stderr


@pytest.mark.parametrize("event", ["open", "os.rename", "os.remove"])
def test_a_chat_killed_while_saving_leaves_the_old_file_or_the_new_one(
    bundles: Mapping[str, Path], tmp_path: Path, event: str
) -> None:
    """Before it writes, before the new file takes the old one's place, and after that."""
    talk, bundle = tmp_path / "talk", bundles["onnx"]
    piped(bundle, f"Hello\n/save {talk}\n")
    old = talk.read_bytes()
    lines = f"Hello\nMore\n/save {talk}\n"
    assert piped(bundle, lines, dies_at=(event, ".talk.partial-")).returncode == -signal.SIGKILL
    assert (talk.read_bytes() == old) is (event != "os.remove")
    found = piped(bundle, f"/load {talk}\n")
    assert f"{4 if event == 'os.remove' else 2} messages".encode() in found.stderr


@pytest.mark.parametrize(
    "note",
    ["", "[]", "{}", '{"system": 1, "messages": [{"role": 1, "content": "x"}]}',
     '{"system": null, "messages": [1]}', "[" * 100000],
)  # fmt: skip
def test_notes_of_other_sessions(note: str) -> None:
    with pytest.raises(SessionFileError, match="no saved chat"):
        parse_note(note, "talk")


def test_answers_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\x07\r\x9b\n\tc") == "a[2Jb\n\tc"
    joined = "नमस्ते 👩\u200d👧 می\u200cروم"
    assert printable(joined) == joined
