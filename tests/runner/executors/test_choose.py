"""What a cluster cannot do is said before anything is read; oracle: the words of the options."""

from __future__ import annotations

import socket
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import MissingDependency, UsageError
from bitloss.runner.executors import choose
from bitloss.runner.executors.choose import check_executor, connect_machines, parse_executor
from bitloss.spec.run import RunSpec


@pytest.fixture(autouse=True)
def ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Ray is installed."""
    monkeypatch.setattr(choose, "find_spec", lambda name: ModuleSpec(name, None))


def spec(executor: str, **more: Any) -> RunSpec:
    return RunSpec(reference="m", executor=executor, **more)


@pytest.mark.parametrize(
    ("text", "address"),
    [("local", None), ("ray", ""), ("ray://head:1", "head:1"), ("ray://head", "head:6379")],
)
def test_addresses(text: str, address: str | None) -> None:
    assert parse_executor(text) == address


@pytest.mark.parametrize("text", ["slurm", "ray:head", "ray://", "Ray", "", "ray://head:port"])
def test_what_is_no_executor(text: str) -> None:
    with pytest.raises(UsageError, match="--executor: expected") as found:
        parse_executor(text)
    assert found.value.hint.startswith(("use ray", "write ray://"))


def test_here_nothing_is_needed() -> None:
    check_executor(spec("local", speed=True))
    assert connect_machines(spec("local"), []) is None


def test_ray_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="--executor ray needs the package `ray`") as found:
        check_executor(spec("ray"))
    assert found.value.hint == 'pip install "bitloss[ray]"'


def test_nobody_answers() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(UsageError, match=f"no Ray cluster answers at 127.0.0.1:{port}") as found:
        check_executor(spec(f"ray://127.0.0.1:{port}"))
    assert found.value.hint.startswith("use the address that `ray start --head` printed")


def test_somebody_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as there:
        check_executor(spec(f"ray://127.0.0.1:{there.getsockname()[1]}"))


def test_what_needs_this_machine(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--speed times this machine"):
        check_executor(spec("ray", speed=True))
    with pytest.raises(UsageError, match="the address of a server"):
        check_executor(spec("ray", engine=("server=http://127.0.0.1:1",)))
    (tmp_path / "pack.json").write_text('{"schema": "bitloss pack"}')
    with pytest.raises(UsageError, match="a reference with weights"):
        check_executor(RunSpec(reference=str(tmp_path), executor="ray"))
