"""Small wheels made by the tests, and an index on loopback that has them."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import threading
import zipfile
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    files: Mapping[str, bytes | str] | None = None,
    extras: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> str:
    """Writes a wheel with one module, which has a ``VERSION``, and with ``files``; returns its line of a lock."""
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    about = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    about += [f"Provides-Extra: {extra}" for extra in extras] + [f"Requires-Dist: {line}" for line in requires]
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        for path, content in (files or {}).items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/METADATA", "\n".join(about) + "\n")
        archive.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        archive.writestr(f"{info}/RECORD", "")
    return f"{name}=={version} \\\n    --hash=sha256:{sha256(wheel)}\n"


def packed_again(installed: Path, name: str, folder: Path) -> None:
    """Makes the wheel that an installed package came from, out of the files that its record names."""
    (info,) = installed.glob(f"{name}-*.dist-info")
    tags = [tag.split("-") for tag in re.findall(r"^Tag: (\S+)", (info / "WHEEL").read_text(), re.MULTILINE)]
    parts = [".".join(dict.fromkeys(part)) for part in zip(*tags, strict=True)]
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / f"{info.name.removesuffix('.dist-info')}-{'-'.join(parts)}.whl", "w") as archive:
        for path, *_ in csv.reader((info / "RECORD").read_text().splitlines()):
            if not path.startswith("..") and (installed / path).is_file() and Path(path).name != "RECORD":
                archive.write(installed / path, path)
        archive.writestr(f"{info.name}/RECORD", "")


def sha256(path: Path) -> str:
    """Returns the digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Index:
    """A package index that serves a folder of wheels, as a context: ``url`` is its address.

    ``status`` makes it answer everything with an error, ``password`` makes it ask for ``user:password``, ``uploaded``
    says when a file came (by name), ``asked`` is what it was asked for and ``given`` what
    it gave. While ``gate`` is closed it gives no files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.status = 200
        self.password = ""
        self.uploaded: dict[str, str] = {}
        self.asked: list[str] = []
        self.given: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        index = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                index.answer(self)

            do_HEAD = do_GET

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/simple"

    def __enter__(self) -> Index:
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.gate.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        """Answers with a package's page, or with a file."""
        self.asked.append(request.path)
        expected = "Basic " + base64.b64encode(f"user:{self.password}".encode()).decode()
        file = self.folder / request.path.rpartition("/")[2]
        if self.status != 200 or (self.password and request.headers.get("Authorization") != expected):
            self._send(request, self.status if self.status != 200 else 401, b"no")
        elif request.path.startswith("/simple/"):
            self._page(request, request.path.split("/")[2])
        elif file.is_file():
            self.gate.wait(60)
            self._send(request, 200, file.read_bytes())
        else:
            self._send(request, 404, b"no")

    def _page(self, request: BaseHTTPRequestHandler, name: str) -> None:
        files = [
            {
                "filename": path.name,
                "url": f"/files/{path.name}",
                "hashes": {"sha256": sha256(path)},
                "upload-time": self.uploaded.get(path.name, "2020-01-01T00:00:00Z"),
            }
            for path in sorted(self.folder.iterdir())
            if re.sub(r"[-_.]+", "-", path.name.partition("-")[0]).lower() == name
        ]
        page = json.dumps({"meta": {"api-version": "1.1"}, "name": name, "versions": [], "files": files})
        self._send(request, 200 if files else 404, page.encode(), "application/vnd.pypi.simple.v1+json")

    def _send(self, request: BaseHTTPRequestHandler, status: int, body: bytes, kind: str = "text/plain") -> None:
        if request.command == "GET":
            self.given.append(request.path)
        request.send_response(status)
        request.send_header("Content-Type", kind)
        request.send_header("Content-Length", str(len(body)))
        if status == 401:
            request.send_header("WWW-Authenticate", 'Basic realm="packages"')
        request.end_headers()
        if request.command != "HEAD":
            request.wfile.write(body)
