"""Requests to a server: bounded concurrency, retries, and errors in a line.

A request ends in a JSON object or in a `ServerError`. There is nothing between the two that could
be taken for an answer of the model. The key is sent in a header and is in no message, name or
`repr`; redirects are not followed, as they would carry it elsewhere.
"""

from __future__ import annotations

import json
import random
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any, TypeVar

import httpx2

from bitloss.errors import ServerError

__all__ = ["Client", "Patience", "Post"]

_T = TypeVar("_T")

Post = Callable[[str, Mapping[str, Any]], dict[str, Any]]
"""Posts an object to a path, and gives the answer."""

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504, 529})
_MOST_BYTES = 256 << 20
_QUOTED = 160
_CONTEXT = ("context length", "context window", "context size", "maximum context", "n_ctx")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client tries.

    Attributes:
        attempts: requests at most, the first included.
        seconds: for one answer to be complete.
        connect: seconds to be connected.
        first_wait: seconds before the second request, at most; doubled before each further one.
        longest_wait: of such waits, and of those that a server may ask for.
        together: requests at a time.
    """

    attempts: int = 6
    seconds: float = 600.0
    connect: float = 10.0
    first_wait: float = 1.0
    longest_wait: float = 60.0
    together: int = 8


class _Failed(Exception):  # noqa: N818 - never leaves this module
    """A request that may succeed if it is sent again."""

    def __init__(self, message: str, hint: str, retry_after: float | None = None) -> None:
        self.message, self.hint, self.retry_after = message, hint, retry_after
        super().__init__(message)


@dataclass(eq=False)
class Client:
    """Speaks with one server.

    Args:
        root: its URL, without ``/v1``.
        key: sent as a bearer token; empty sends none.
        patience: timeouts, retries and concurrency.
        transport: in place of the network.
        sleep: waits between two requests, seconds in; by default as long, or until nobody wants the
            answer any more.
        jitter: uniform in [0, 1): which part of the longest wait is waited, so that requests that
            failed together are not sent again together.
    """

    root: str
    key: str = field(default="", repr=False)
    patience: Patience = Patience()
    transport: httpx2.BaseTransport | None = field(default=None, repr=False)
    sleep: Callable[[float], None] | None = field(default=None, repr=False)
    jitter: Callable[[], float] = field(default_factory=lambda: random.Random().random, repr=False)

    def __post_init__(self) -> None:
        limits = httpx2.Limits(max_connections=self.patience.together)
        patience = httpx2.Timeout(self.patience.seconds, connect=self.patience.connect)
        try:
            self.key.encode("ascii")
            headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
            self._http = httpx2.Client(
                headers=headers, timeout=patience, limits=limits, transport=self.transport
            )
        except (UnicodeEncodeError, ValueError):
            raise ServerError(
                "expected an API key of plain characters, got one with others",
                hint="set BITLOSS_API_KEY again, without quotes or line ends in it",
            ) from None
        weakref.finalize(self, self._http.close)

    def get(self, path: str, *, attempts: int | None = None) -> dict[str, Any]:
        """Get an object.

        Raises:
            ServerError: there is none.
        """
        return self._ask("GET", path, None, attempts)

    def post(
        self, path: str, body: Mapping[str, Any], *, attempts: int | None = None
    ) -> dict[str, Any]:
        """Post an object, and get one.

        Args:
            path: below the root, ``/v1/completions``.
            body: plain values.
            attempts: in place of the client's own.

        Raises:
            ServerError: there is no answer, or a refusal.
        """
        return self._ask("POST", path, body, attempts)

    def post_all(
        self, path: str, bodies: Sequence[Mapping[str, Any]]
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        """Post many objects, some at a time; each answer is given as soon as it is there.

        Yields:
            The object's index, and the answer.

        Raises:
            ServerError: one of them has no answer. The others are not sent any more.
        """
        return self.each([partial(_post_one, path, body) for body in bodies])

    def each(
        self, calls: Sequence[Callable[[Post], _T]], together: int | None = None
    ) -> Iterator[tuple[int, _T]]:
        """Carry out many calls, some at a time; each result is given as soon as it is there.

        Args:
            calls: each is given a function that posts an object to a path, and may use it often.
            together: calls at a time, no more than the client's own number.

        Yields:
            The call's index, and its result.

        Raises:
            ServerError: one of them has no answer. The others are not begun any more.
        """
        left = deque(enumerate(calls))
        stop = threading.Event()
        size = min(self.patience.together, together or self.patience.together)

        def post(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
            if stop.is_set():
                raise ServerError(f"server {self.root}: the answer is no longer needed", hint="")
            return self._ask("POST", path, body, None, stop)

        with ThreadPoolExecutor(size, thread_name_prefix="server") as pool:
            running: dict[Future[_T], int] = {}
            try:
                while left or running:
                    while left and len(running) < size:
                        index, call = left.popleft()
                        running[pool.submit(call, post)] = index
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        yield running.pop(done), done.result()
            finally:
                stop.set()
                for future in running:
                    future.cancel()

    def _ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        attempts: int | None,
        stop: threading.Event | None = None,
    ) -> dict[str, Any]:
        most = self.patience.attempts if attempts is None else attempts
        stop = stop or threading.Event()
        for attempt in range(1, most + 1):
            try:
                return self._once(method, path, body)
            except _Failed as failed:
                if attempt == most or stop.is_set():
                    tries = f" ({most} attempts)" if most > 1 else ""
                    raise ServerError(f"{failed.message}{tries}", hint=failed.hint) from None
                pause = stop.wait if self.sleep is None else self.sleep
                pause(self._wait(attempt, failed))
        raise AssertionError("a request is sent at least once")

    def _wait(self, attempt: int, failed: _Failed) -> float:
        """Seconds before the next request: what the server asks for, or exponential backoff with
        full jitter (Brooker, "Exponential Backoff And Jitter", 2015).
        """
        longest = self.patience.longest_wait
        if failed.retry_after is not None:
            if failed.retry_after > longest:
                raise ServerError(
                    f"{failed.message}, and wants a pause of {failed.retry_after:.0f} s",
                    hint="rerun the same command later to resume",
                ) from None
            return failed.retry_after
        return min(longest, self.patience.first_wait * 2.0 ** (attempt - 1)) * self.jitter()

    def _once(self, method: str, path: str, body: Mapping[str, Any] | None) -> dict[str, Any]:
        where = f"server {self.root}"
        try:
            status, headers, content = self._exchange(method, path, body)
        except httpx2.TimeoutException as error:
            connecting = isinstance(error, httpx2.ConnectTimeout)
            seconds = self.patience.connect if connecting else self.patience.seconds
            raise _Failed(
                f"{where}: expected {'a connection' if connecting else 'an answer'} within "
                f"{seconds:g} s, got none",
                "check that the server is not overloaded, and rerun the same command to resume",
            ) from None
        except httpx2.ConnectError as error:
            raise _Failed(
                f"{where}: cannot be reached: {self._clean(str(error))}",
                "start the server, or correct the URL of --engine server=URL",
            ) from None
        except httpx2.TransportError as error:
            raise _Failed(
                f"{where}: expected a complete answer, the connection broke: "
                f"{self._clean(str(error)) or type(error).__name__}",
                "check the server's log, and rerun the same command to resume",
            ) from None
        except (httpx2.InvalidURL, httpx2.HTTPError, UnicodeError) as error:
            raise ServerError(
                f"{where}: no answer to {path}: {self._clean(str(error))}",
                hint="correct the URL of --engine server=URL",
            ) from None
        if status != 200:
            self._refuse(where, path, status, headers, content)
        return self._parsed(where, path, content)

    def _exchange(
        self, method: str, path: str, body: Mapping[str, Any] | None
    ) -> tuple[int, httpx2.Headers, bytes]:
        """Status, headers and content, complete within the time: a timeout of httpx2's own is for
        each part of an answer, of which a slow server may send any number.
        """
        end = time.monotonic() + self.patience.seconds
        parts: list[bytes] = []
        size = 0
        with self._http.stream(method, f"{self.root}{path}", json=body) as response:
            for part in response.iter_bytes():
                parts.append(part)
                size += len(part)
                if time.monotonic() > end:
                    raise httpx2.ReadTimeout("the answer is not complete")
                if size > _MOST_BYTES:
                    raise ServerError(
                        f"server {self.root}: expected an answer of at most {_MOST_BYTES >> 20} "
                        f"MiB to {path}, got more",
                        hint="use a smaller --max-length",
                    )
            return response.status_code, response.headers, b"".join(parts)

    def _refuse(
        self, where: str, path: str, status: int, headers: httpx2.Headers, content: bytes
    ) -> None:
        said = self._reason(content)
        more = f": {said}" if said else ""
        if status in (401, 403):  # what is said may have part of the key in it
            got = "one that it refuses" if self.key else "none"
            raise ServerError(
                f"{where}: expected an API key that it accepts, got {got} (status {status})",
                hint="set the environment variable BITLOSS_API_KEY to the server's key",
            )
        if 300 <= status < 400:
            raise ServerError(
                f"{where}: expected an answer to {path}, got a redirect (status {status})",
                hint="give --engine server=URL the address that it redirects to",
            )
        # Some servers have no status of their own for it and send 500.
        if any(word in said.lower() for word in _CONTEXT):
            raise ServerError(
                f"{where}: expected a prompt that fits the served model's context, got a longer "
                f"one{more}",
                hint="serve the model with a longer context, or use a smaller --max-length",
            )
        if status in _BUSY:
            raise _Failed(
                f"{where}: expected an answer to {path}, got status {status}{more}",
                "check the server's log, and rerun the same command to resume",
                _retry_after(headers.get("retry-after")),
            )
        if status in (404, 405):
            hint = "correct the URL of --engine server=URL, or name a model that it serves"
        else:
            hint = "check the server's log and the version of its OpenAI interface"
        raise ServerError(f"{where}: refuses {path} (status {status}){more}", hint=hint)

    def _parsed(self, where: str, path: str, content: bytes) -> dict[str, Any]:
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            value = None
        if isinstance(value, dict):
            if value.get("error"):
                raise _Failed(
                    f"{where}: expected an answer to {path}, got an error: {self._reason(content)}",
                    "check the server's log, and rerun the same command to resume",
                )
            return value
        text = self._clean(content[:_QUOTED].decode("utf-8", "replace"))
        raise _Failed(
            f"{where}: expected a JSON object from {path}, got `{text}`"
            if text
            else f"{where}: expected a JSON object from {path}, got nothing",
            "correct the URL of --engine server=URL, or check the server's log",
        )

    def _reason(self, content: bytes) -> str:
        """What a refusal says, in a line."""
        try:
            value = json.loads(content)
        except (ValueError, RecursionError):
            return self._clean(content[: 4 * _QUOTED].decode("utf-8", "replace"))
        for key in ("error", "message", "detail"):
            while isinstance(value, dict) and value.get(key):
                value = value[key]
        return self._clean(value if isinstance(value, str) else json.dumps(value))

    def _clean(self, text: str) -> str:
        """A text of the server's in a line, without the key."""
        if self.key:
            text = text.replace(self.key, "***")
        line = " ".join(text.split())
        return line if len(line) <= _QUOTED else f"{line[:_QUOTED]} ..."


def _post_one(path: str, body: Mapping[str, Any], post: Post) -> dict[str, Any]:
    return post(path, body)


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks to wait: a number or a date (RFC 9110, section 10.2.3)."""
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
