"""The client against a server that misbehaves. Oracles: RFC 9110 for what a status means, and
counts of what the server was asked.
"""

from __future__ import annotations

import logging
import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from bitloss.engines.server.address import Address, parse_address
from bitloss.engines.server.client import Client, Patience
from bitloss.environment import api_key
from bitloss.errors import ServerError, UsageError
from peers.model_server import Answer, ModelServer, serve

KEY = "sk-very-secret-0123456789"


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with serve(ModelServer({"/v1/x": lambda body: {"got": body}})) as running:
        yield running


class Waits(list[float]):
    """A clock that only notes how long it was to wait."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def client(server: ModelServer, waits: Waits | None = None, **patience: Any) -> Client:
    given = Patience(**{"attempts": 4, "seconds": 2.0, **patience})
    sleep = Waits() if waits is None else waits
    return Client(server.url, KEY, given, sleep=sleep, jitter=lambda: 1.0)


FAULTS = {
    "429": Answer({"error": "slow down"}, 429),
    "500": Answer(b"oops", 500),
    "503": Answer({}, 503),
    "closes": None,
    "cut": Answer({"choices": ["a long text"]}, cut=9),
    "wrong JSON": Answer(b"<html>gateway</html>"),
    "half JSON": Answer(b'{"choices": [{"te'),
    "a list": Answer([1, 2]),
    "an error with status 200": Answer({"error": {"message": "busy"}}),
    "slow": Answer({"a": 1}, slow=0.1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_passes_costs_a_request(server: ModelServer, name: str) -> None:
    server.faults += [FAULTS[name]] * 2
    seconds = 0.3 if name == "slow" else 2.0
    assert client(server, seconds=seconds).post("/v1/x", {"n": 1}) == {"got": {"n": 1}}
    assert len(server.requests) == 3


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_that_stays_is_an_error_in_a_line(server: ModelServer, name: str) -> None:
    server.faults += [FAULTS[name]] * 9
    seconds = 0.2 if name == "slow" else 2.0
    with pytest.raises(ServerError, match=r"^server http://127\.0\.0\.1") as error:
        client(server, seconds=seconds).post("/v1/x", {})
    assert "\n" not in error.value.message
    assert "(4 attempts)" in error.value.message
    assert error.value.hint[0].islower()
    assert len(server.requests) == 4


def test_waits_double_and_are_shortened_by_chance(server: ModelServer) -> None:
    server.faults += [Answer({}, 503)] * 9
    waits = Waits()
    with pytest.raises(ServerError):
        client(server, waits, first_wait=1.0, attempts=8, longest_wait=20.0).get("/v1/x")
    assert waits == [1, 2, 4, 8, 16, 20, 20]
    for part in (0.0, 0.25):
        waits = Waits()
        server.faults[:] = [Answer({}, 503)] * 2
        other = Client(server.url, sleep=waits, jitter=lambda part=part: part)
        other.get("/v1/x")
        assert waits == [part, 2 * part]


def test_a_server_says_when_to_ask_again(server: ModelServer) -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    for value in ("7", moment, "nonsense"):
        server.faults.append(Answer({}, 429, {"retry-after": value}))
    waits = Waits()
    client(server, waits).get("/v1/x")
    assert waits[0] == 7
    assert 27 < waits[1] <= 30
    assert waits[2] == 4
    server.faults.append(Answer({}, 429, {"retry-after": "3600"}))
    with pytest.raises(ServerError, match="wants a pause of 3600 s") as error:
        client(server).get("/v1/x")
    assert error.value.hint == "rerun the same command later to resume"


@pytest.mark.parametrize(
    ("answer", "message", "hint"),
    [
        (Answer({"error": f"key {KEY} is wrong"}, 401), "expected an API key that it", "BITLOSS_A"),
        (Answer({}, 403), "got one that it refuses", "BITLOSS_API_KEY"),
        (Answer({"detail": "Not Found"}, 404), "refuses /v1/x .status 404.: Not Found", "correct"),
        (Answer({"message": "model `m` does not exist"}, 404), "`m` does not exist", "serves"),
        (Answer({"error": {"message": "bad logprobs"}}, 400), "400.: bad logprobs", "check"),
        (Answer({"object": "error", "message": "This model's maximum context length is 8"}, 400),
         "fits the served model's context, got a longer one: This", "a longer context"),
        (Answer({"error": {"message": "Requested tokens (9) exceed context window of 8"}}, 500),
         "fits the served model's context", "a longer context"),
        (Answer(b"", 307, {"location": "http://127.0.0.1:9/"}), "got a redirect", "give --engine"),
    ],
)  # fmt: skip
def test_a_refusal_is_not_tried_again(
    server: ModelServer, answer: Answer, message: str, hint: str
) -> None:
    server.faults += [answer] * 3
    with pytest.raises(ServerError, match=message) as error:
        client(server).get("/v1/x")
    assert hint in error.value.hint
    assert KEY not in str(error.value)
    assert len(server.requests) == 1


def test_nobody_is_there() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        lost = Client(url, KEY, Patience(attempts=2), sleep=Waits())
        with pytest.raises(ServerError, match="cannot be reached") as error:
            lost.get("/v1/models")
    assert "start the server" in error.value.hint


def test_requests_are_answered_as_they_come_and_never_too_many(server: ModelServer) -> None:
    def slow_for_odd(body: Any) -> Any:
        time.sleep(0.05 * (body["n"] % 2))
        return body

    server.routes["/v1/x"] = slow_for_odd
    server.faults += [Answer({}, 429), Answer({}, 500), None]
    bodies = [{"n": n} for n in range(20)]
    found = list(client(server, together=3).post_all("/v1/x", bodies))
    assert dict(found) == dict(enumerate(bodies))
    assert [n for n, _ in found] != list(range(20))
    assert server.most_together <= 3
    assert list(client(server).post_all("/v1/x", [])) == []


def test_one_refusal_ends_all_and_nothing_more_is_sent(server: ModelServer) -> None:
    server.routes["/v1/x"] = lambda body: Answer({"detail": "no"}, 400) if body["n"] == 2 else body
    with pytest.raises(ServerError, match="refuses"):
        dict(client(server, together=1).post_all("/v1/x", [{"n": n} for n in range(50)]))
    assert len(server.requests) < 6


def test_whoever_stops_reading_stops_the_requests(server: ModelServer) -> None:
    answers = client(server, together=2).post_all("/v1/x", [{"n": n} for n in range(100)])
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(server.requests) < 8


def test_the_key_is_sent_and_is_nowhere_else(
    server: ModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.key = KEY
    caplog.set_level(logging.DEBUG)
    with_key = client(server)
    assert with_key.get("/v1/x") == {"got": None}
    with pytest.raises(ServerError, match="got none") as error:
        Client(server.url).get("/v1/x")
    server.faults.append(Answer({"error": f"about {KEY}"}, 400))
    with pytest.raises(ServerError, match=r"about \*\*\*") as other:
        with_key.get("/v1/x")
    server.faults.append(Answer(KEY.encode(), 200))
    server.faults.append(Answer(KEY.encode(), 200))
    with pytest.raises(ServerError, match=r"got `\*\*\*`") as third:
        with_key.get("/v1/x", attempts=1)
    everything = [repr(with_key), caplog.text, *map(str, (error.value, other.value, third.value))]
    assert KEY not in "".join(everything)
    with pytest.raises(ServerError, match="plain characters") as wrong:
        Client(server.url, "sk-\n-ключ")
    assert "ключ" not in str(wrong.value)


def test_where_the_key_comes_from(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BITLOSS_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert api_key() == ""
    monkeypatch.setenv("OPENAI_API_KEY", "theirs\n")
    assert api_key() == "theirs"
    monkeypatch.setenv("BITLOSS_API_KEY", "ours")
    assert api_key() == "ours"


def test_addresses() -> None:
    for text in ("http://h:80", "http://h:80/", "http://h:80/v1", "http://h:80/v1/"):
        assert parse_address(text) == Address("http://h:80")
    assert parse_address("https://h/api/v1#org/m") == Address("https://h/api", "org/m")
    for text in ("", "h:80", "ftp://h", "http://", "http://h:0", "http://h:99999", "http://h/?a=1"):
        with pytest.raises(UsageError, match=r"^server: expected"):
            parse_address(text)
    with pytest.raises(UsageError, match="without a user name") as error:
        parse_address(f"http://me:{KEY}@h")
    assert KEY not in str(error.value)
