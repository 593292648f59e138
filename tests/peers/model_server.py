"""A model server in miniature, on loopback, that can misbehave in every way we know of."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["Answer", "ModelServer", "serve"]


@dataclass(frozen=True)
class Answer:
    """What is sent back.

    Attributes:
        value: JSON, or bytes as they are.
        status: of HTTP.
        headers: besides the length.
        cut: bytes of the content that are sent before the connection closes.
        slow: seconds before every byte.
    """

    value: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    slow: float = 0.0


@dataclass
class ModelServer:
    """Answers by path; what `faults` holds is answered first, one after the other.

    Attributes:
        routes: path to a function from the body (None for GET) to an `Answer` or a JSON value.
        faults: answers that come first, to any path; None closes the connection without any.
        key: refuses requests without it.
        requests: (path, body) of everything asked.
        most_together: requests that were open at a time.
    """

    routes: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    faults: list[Answer | None] = field(default_factory=list)
    key: str = ""
    requests: list[tuple[str, Any]] = field(default_factory=list)
    most_together: int = 0
    url: str = ""
    together: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, path: str, body: Any, key: str) -> Answer | None:
        with self.lock:
            self.requests.append((path, body))
            if self.faults:
                return self.faults.pop(0)
        if self.key and key != f"Bearer {self.key}":
            return Answer({"error": {"message": f"Incorrect API key provided: {key}"}}, 401)
        if path not in self.routes:
            return Answer({"detail": "Not Found"}, 404)
        value = self.routes[path](body)
        return value if isinstance(value, Answer) or value is None else Answer(value)


@contextmanager
def serve(server: ModelServer) -> Iterator[ModelServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *args: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(None)

        def do_POST(self) -> None:
            length = int(self.headers.get("content-length", 0))
            self._answer(json.loads(self.rfile.read(length)))

        def _answer(self, body: Any) -> None:
            with server.lock:
                server.together += 1
                server.most_together = max(server.most_together, server.together)
            try:
                answer = server.answer(self.path, body, self.headers.get("authorization", ""))
                if answer is None:
                    self.close_connection = True
                    return
                self._send(answer)
            except OSError:
                self.close_connection = True
            finally:
                with server.lock:
                    server.together -= 1

        def _send(self, answer: Answer) -> None:
            value = answer.value
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(answer.status)
            for name, text in answer.headers.items():
                self.send_header(name, text)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            sent = content if answer.cut is None else content[: answer.cut]
            if answer.slow:
                for n in range(len(sent)):
                    time.sleep(answer.slow)
                    self.wfile.write(sent[n : n + 1])
            else:
                self.wfile.write(sent)
            if answer.cut is not None:
                self.close_connection = True

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads = True
    http.block_on_close = False
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
