"""A model hub on loopback: what huggingface_hub asks of one, over folders of checkpoints; and faults on request."""

from __future__ import annotations

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
LARGE = (".safetensors",)
"""Files that a hub keeps in its large file storage, and whose SHA-256 it announces."""

ENTRY = """
[models.{name}]
title = "Small"
about = "random weights"
hub = "somebody/{name}"
revision = "main"
license = "cc0-1.0"
commercial = true
gated = false
parameters = 0.01
download = 0.01
memory = 0.01
serves = ["text_to_image"]
"""


def entry(name: str) -> str:
    """An entry of a catalogue, for a checkpoint of that name on the hub."""
    return ENTRY.format(name=name)


class Hub(ThreadingHTTPServer):
    """Checkpoints by id.

    Attributes:
        checkpoints: folders by id.
        requests: method, path and Range of every request so far.
        breaks: of a file's name, after how many bytes its connection is closed, once.
        failing: names of files whose requests fail.
        spoiled: names of files that are sent with a changed byte.
        gated: ids that ask for a token.
    """

    daemon_threads = True

    def __init__(self, checkpoints: dict[str, Path]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.checkpoints = checkpoints
        self.requests: list[tuple[str, str, str]] = []
        self.breaks: dict[str, int] = {}
        self.failing: set[str] = set()
        self.spoiled: set[str] = set()
        self.gated: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        """Nothing: requests are in the hub's list."""

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range", "")))
        found = re.fullmatch(r"(/api/models)?/([^/]+/[^/]+)/(revision|tree|resolve)/([^/]+)(?:/(.*))?", path)
        folder = self.server.checkpoints.get(found[2]) if found else None
        if found is None or folder is None:
            self._refuse(404, "RepoNotFound", "Repository Not Found")
        elif found[2] in self.server.gated:
            self._refuse(403, "GatedRepo", "Access to this model is restricted")
        elif found[4] not in ("main", COMMIT):
            self._refuse(404, "RevisionNotFound", "Invalid rev id")
        elif found[3] == "revision":
            self._json({"id": found[2], "sha": COMMIT, "siblings": []})
        elif found[3] == "tree":
            self._json([described(folder, file) for file in files(folder)])
        else:
            self._file(folder, found[5])

    def _file(self, folder: Path, name: str) -> None:
        if name in self.server.failing:
            self._refuse(500, "", "out of order")
            return
        if not (folder / name).is_file():
            self._refuse(404, "EntryNotFound", "Entry not found")
            return
        data = (folder / name).read_bytes()
        entry = described(folder, folder / name)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        if name in self.server.spoiled:
            data = data[:-1] + bytes([data[-1] ^ 1])
        first = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").partition("-")[0])
        self.send_response(206 if first else 200)
        headers = {"Content-Length": len(data) - first, "ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
        if "lfs" in entry:
            headers |= {"X-Linked-Etag": f'"{etag}"', "X-Linked-Size": len(data)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
        for key, value in headers.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command == "HEAD":
            return
        if name in self.server.breaks:
            self.wfile.write(data[first : self.server.breaks.pop(name)])
            self.close_connection = True
            return
        self.wfile.write(data[first:])

    def _json(self, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _refuse(self, status: int, code: str, message: str) -> None:
        data = json.dumps({"error": message}).encode()
        self.send_response(status)
        for key, value in {"X-Error-Code": code, "X-Error-Message": message, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def files(folder: Path) -> list[Path]:
    """Every file of a checkpoint."""
    return sorted(path for path in folder.rglob("*") if path.is_file())


def described(folder: Path, path: Path) -> dict[str, Any]:
    """A file as a hub's tree has it."""
    data = path.read_bytes()
    entry: dict[str, Any] = {
        "type": "file",
        "path": path.relative_to(folder).as_posix(),
        "size": len(data),
        "oid": hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest(),  # as git names it
    }
    if path.suffix in LARGE:
        entry["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 130}
    return entry
