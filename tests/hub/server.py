"""Serves folders as the Hugging Face Hub does, on loopback, as far as its client asks.

Usage: python -m tests.hub.server FOLDER [--port N] [--cut-after BYTES ...]
FOLDER/org/name is a model. After so many bytes of files in all, a connection is cut.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Lock, Thread
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.hub.repositories import Repositories, StoredFile, is_large

_BLOCK_BYTES = 1 << 20
_MODEL = r"(?P<name>[^/]+/[^/]+)"


@dataclass
class Hub:
    """A server's state; cuts: bytes of files in all after which a connection is cut.

    stalls: paths whose next request is never answered. requests: what was asked, in order. sent:
    bytes of files. elsewhere: another name of the server, for what the Hub has on a CDN.
    """

    repositories: Repositories
    cuts: list[int] = field(default_factory=list)
    stalls: list[str] = field(default_factory=list)
    requests: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    sent: int = 0
    address: str = ""
    elsewhere: str = ""
    uploads: Path = Path()
    writers: Sequence[str] = ("writer",)
    lock: Lock = field(default_factory=Lock)

    def asked(self, method: str, part: str) -> list[str]:
        """Paths that were asked for."""
        return [path for verb, path, _ in self.requests if verb == method and part in path]

    def allowance(self, size: int) -> int:
        """How many of the next `size` bytes are sent before the connection is cut, if at all."""
        with self.lock:
            least = min((cut for cut in self.cuts if cut < self.sent + size), default=None)
            allowed = size if least is None else max(least - self.sent, 0)
            if least is not None:
                self.cuts.remove(least)
            self.sent += allowed
            return allowed


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, format: str, *args: object) -> None: ...

    def _serve(self) -> None:
        self.path = unquote(urlsplit(self.path).path)
        headers = {key.lower(): text for key, text in self.headers.items()}
        self.hub.requests.append((self.command, self.path, headers))
        if self.path in self.hub.stalls:
            self.hub.stalls.remove(self.path)
            self.rfile.read(1)  # until the client leaves
            self.close_connection = True
            return
        for methods, pattern, answer in _ROUTES:
            if self.command in methods and (match := re.fullmatch(pattern, self.path)):
                answer(self, **match.groupdict())
                break
        else:
            self._say(404, {"error": "no such address"})

    do_GET = do_HEAD = do_POST = do_PUT = _serve

    # Answers

    def _say(self, status: int, value: Any = None, **headers: str) -> None:
        body = json.dumps(value).encode() if value is not None else b""
        self._begin(status, len(body), **{"Content-Type": "application/json", **headers})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _begin(self, status: int, length: int, **headers: str) -> None:
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key.replace("_", "-"), text)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def _refuse(self, status: int, code: str, message: str) -> None:
        self._say(status, {"error": message}, X_Error_Code=code, X_Error_Message=message)

    def _token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    def _may_read(self, name: str) -> bool:
        """Whether the asker may; answers, if not."""
        repositories, token = self.hub.repositories, self._token()
        if name in repositories.private and token not in self.hub.writers:
            self._refuse(401, "RepoNotFound", "Repository not found")
        elif token == "expired":
            self._say(401, {}, X_Error_Message="Invalid credentials in Authorization header")
        elif name in repositories.tokens and token != repositories.tokens[name]:
            self._refuse(403 if token else 401, "GatedRepo", f"Access to model {name} is gated")
        else:
            return True
        return False

    def _found(self, name: str, revision: str) -> tuple[str, Path] | None:
        """Commit and folder; answers, if there is none."""
        if found := self.hub.repositories.find(name, revision):
            return found
        if self.hub.repositories.find(name, "main"):
            self._refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        else:
            self._refuse(401, "RepoNotFound", "Repository not found")
        return None

    def info(self, name: str, revision: str | None) -> None:
        """Also of a model whose licence is not accepted."""
        if name in self.hub.repositories.private and not self._may_read(name):
            return
        if self._found(name, revision or "main"):
            self._say(200, self.hub.repositories.info(name, revision or "main"))

    def tree(self, name: str, revision: str) -> None:
        if self._may_read(name) and (found := self._found(name, revision)):
            files = self.hub.repositories.files(found[1])
            self._say(200, [file.as_json() for file in files])

    def resolve(self, name: str, revision: str, file: str) -> None:
        if not self._may_read(name) or not (found := self._found(name, revision)):
            return
        commit, place = found
        files = {row.name: row for row in self.hub.repositories.files(place)}
        if file not in files:
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        row, seen = files[file], {"X_Repo_Commit": commit}
        if not is_large(file):
            self._send(row, ETag=f'"{row.oid}"', **seen)
            return
        linked = {"X_Linked_Size": str(row.size), "X_Linked_ETag": f'"{row.oid}"'}
        location = f"{self.hub.elsewhere}/cdn/{name}/{commit}/{file}"
        self._begin(302, 0, Location=location, **seen, **linked)

    def cdn(self, name: str, commit: str, file: str) -> None:
        found = self.hub.repositories.find(name, commit)
        assert found is not None
        self._send(next(row for row in self.hub.repositories.files(found[1]) if row.name == file))

    def _send(self, file: StoredFile, **headers: str) -> None:
        """The file, or the range of it that is asked for; cut where it is time for that."""
        first, last = 0, file.size - 1
        if asked := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", "")):
            first, last = int(asked[1]), min(int(asked[2] or last), last)
            headers["Content_Range"] = f"bytes {first}-{last}/{file.size}"
        self._begin(206 if asked else 200, last + 1 - first, Accept_Ranges="bytes", **headers)
        if self.command == "HEAD":
            return
        with file.path.open("rb") as content:
            content.seek(first)
            left = last + 1 - first
            while left:
                block = content.read(min(left, _BLOCK_BYTES))
                allowed = self.hub.allowance(len(block))
                self.wfile.write(block[:allowed])
                if allowed < len(block):
                    self.close_connection = True  # before all was sent
                    return
                left -= allowed

    # What a client uploads

    def _body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _may_write(self) -> bool:
        if self._token() in self.hub.writers:
            return True
        self._refuse(401 if not self._token() else 403, "", "you need the right to write")
        return False

    def create(self) -> None:
        asked = json.loads(self._body())
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if not self._may_write():
            return
        folder = self.hub.repositories.folder / name
        there = folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        if asked.get("private") or asked.get("visibility") == "private":
            self.hub.repositories.private = {*self.hub.repositories.private, name}
        address = {"url": f"{self.hub.address}/{name}", "name": name, "id": name}
        self._say(409 if there else 200, address)

    def check_card(self) -> None:
        self._body()
        self._say(200, {"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        rows = json.loads(self._body())["files"]
        if self._may_write():
            modes = {True: "lfs", False: "regular"}
            files = [
                {"path": r["path"], "uploadMode": modes[is_large(r["path"])], "shouldIgnore": False}
                for r in rows
            ]
            self._say(200, {"files": files})

    def batch(self, name: str) -> None:
        objects = [
            {**row, "actions": {"upload": {"href": f"{self.hub.address}/upload/{row['oid']}"}}}
            for row in json.loads(self._body())["objects"]
        ]
        self._say(200, {"transfer": "basic", "objects": objects})

    def upload(self, oid: str) -> None:
        left = int(self.headers["Content-Length"])
        with (self.hub.uploads / oid).open("wb") as file:
            while left:
                left -= file.write(self.rfile.read(min(left, _BLOCK_BYTES)))
        self._say(200)

    def commit(self, name: str, revision: str) -> None:
        lines = self._body().splitlines()
        if self._may_write():
            oid = self.hub.repositories.commit(name, lines, self.hub.uploads)
            address = f"{self.hub.address}/{name}/commit/{oid}"
            self._say(200, {"success": True, "commitOid": oid, "commitUrl": address})


_ROUTES = (
    (("GET",), rf"/api/models/{_MODEL}(?:/revision/(?P<revision>.+))?", _Answer.info),
    (("GET",), rf"/api/models/{_MODEL}/tree/(?P<revision>[^/]+)", _Answer.tree),
    (("GET", "HEAD"), rf"/{_MODEL}/resolve/(?P<revision>[^/]+)/(?P<file>.+)", _Answer.resolve),
    (("GET", "HEAD"), rf"/cdn/{_MODEL}/(?P<commit>[^/]+)/(?P<file>.+)", _Answer.cdn),
    (("POST",), "/api/repos/create", _Answer.create),
    (("POST",), "/api/validate-yaml", _Answer.check_card),
    (("POST",), rf"/api/models/{_MODEL}/preupload/(?P<revision>[^/]+)", _Answer.preupload),
    (("POST",), rf"/{_MODEL}\.git/info/lfs/objects/batch", _Answer.batch),
    (("PUT",), r"/upload/(?P<oid>\w+)", _Answer.upload),
    (("POST",), rf"/api/models/{_MODEL}/commit/(?P<revision>[^/]+)", _Answer.commit),
)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may leave in the middle of an answer."""


@contextmanager
def started(hub: Hub, port: int = 0) -> Iterator[ThreadingHTTPServer]:
    """Serve in threads until the block ends; the hub knows its address from then on."""
    answer = type("Answer", (_Answer,), {"hub": hub})
    with _Server(("127.0.0.1", port), answer) as server, TemporaryDirectory() as place:
        hub.address, hub.elsewhere = (
            f"http://{host}:{server.server_port}" for host in ("127.0.0.1", "localhost")
        )
        hub.uploads = Path(place)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--cut-after", type=int, action="append", default=[], metavar="BYTES")
    chosen = parser.parse_args(arguments)
    hub = Hub(Repositories(chosen.folder), cuts=chosen.cut_after)
    for place in chosen.folder.glob("*/*"):  # large files are hashed before anybody waits
        hub.repositories.files(place)
    with started(hub, chosen.port), suppress(KeyboardInterrupt):
        sys.stdout.write(f"HF_ENDPOINT={hub.address}\n")
        sys.stdout.flush()
        Event().wait()
    sys.stdout.write(f"{hub.sent} bytes of files sent, {len(hub.requests)} requests\n")


if __name__ == "__main__":
    main(sys.argv[1:])
