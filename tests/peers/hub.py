"""A model hub in miniature: the part of the Hugging Face Hub's HTTP interface that we use.

Serves, from memory and on loopback, what `huggingface_hub` asks when it downloads a snapshot
(its hf_api.py and file_download.py):

    GET  /api/models/{repo}[/revision/{rev}]         the commit a revision stands for
    GET  /api/models/{repo}/tree/{rev}?recursive=... the listing
    HEAD, GET /{repo}/resolve/{rev}/{file}           X-Repo-Commit, ETag, then the bytes
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

__all__ = ["Hub", "serve"]

_API = re.compile(r"^/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?$")
_FILE = re.compile(r"^/([^/]+/[^/]+)/resolve/([^/]+)/(.+)$")


@dataclass
class Hub:
    """What the hub holds, and what it was asked.

    Attributes:
        repos: repository -> branch or tag -> path -> contents.
        refused: repository -> (status, X-Error-Code) answered instead.
        requests: ``"METHOD path"`` of everything asked, in order.
        url: set while it is served.
    """

    repos: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    url: str = ""

    def commit(self, repo: str, revision: str) -> str:
        """The 40 hex digits that stand for a revision's contents."""
        files = self.repos[repo][revision]
        listing = [(path, hashlib.sha1(data).hexdigest()) for path, data in sorted(files.items())]
        return hashlib.sha1(json.dumps([repo, listing]).encode()).hexdigest()

    def resolve(self, repo: str, revision: str) -> tuple[str, dict[str, bytes]] | None:
        """Commit and files of a branch, tag or commit."""
        for name, files in self.repos[repo].items():
            commit = self.commit(repo, name)
            if revision in (name, commit):
                return commit, files
        return None


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Serve the hub on a free loopback port; its `url` is the endpoint."""

    class Handler(_Handler):
        pass

    Handler.hub = hub
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        match = _API.match(path) or _FILE.match(path)
        repo = match[1] if match else ""
        if repo in self.hub.refused:
            return self._error(*self.hub.refused[repo])
        if match is None or repo not in self.hub.repos:
            return self._error(401, "RepoNotFound")
        if path.startswith("/api/"):
            return self._api(repo, match[2], match[3] or "main")
        return self._file(repo, match[2], match[3])

    def _api(self, repo: str, what: str | None, revision: str) -> None:
        found = self.hub.resolve(repo, revision)
        if found is None:
            return self._error(404, "RevisionNotFound")
        commit, files = found
        if what == "tree":
            return self._json(
                [
                    {"type": "file", "path": path, "size": len(data),
                     "oid": hashlib.sha1(data).hexdigest()}
                    for path, data in files.items()
                ]
            )  # fmt: skip
        return self._json({"id": repo, "sha": commit, "siblings": []})

    def _file(self, repo: str, revision: str, path: str) -> None:
        found = self.hub.resolve(repo, revision)
        if found is None:
            return self._error(404, "RevisionNotFound")
        commit, files = found
        if path not in files:
            return self._error(404, "EntryNotFound")
        etag = hashlib.sha256(files[path]).hexdigest()
        return self._send(200, files[path], {"X-Repo-Commit": commit, "ETag": f'"{etag}"'})

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _error(self, status: int, code: str) -> None:
        self._send(status, b"", {"X-Error-Code": code} if code else {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
