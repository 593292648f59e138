"""Downloads from a stand-in hub on loopback (tests/peers/hub.py); its bytes are the oracle."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bitloss.errors import (
    CheckpointError,
    HubError,
    StorageError,
    UnsupportedModel,
    UsageError,
)
from bitloss.formats.location.locate import locate
from bitloss.spec.model import parse_model
from bitloss.types import SilentProgress
from peers.hub import Hub, serve

WEIGHTS = bytes(range(256)) * 40
MODEL = {"config.json": b"{}", "model.safetensors": WEIGHTS, "tokenizer.json": b"[]"}
GGUF = {"tiny-Q4_K_M.gguf": b"four", "tiny-Q8_0.gguf": b"eight", "sub/tiny-BF16.gguf": b"sixteen"}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    repos = {
        "org/tiny": {"main": MODEL, "v1": {**MODEL, "model.safetensors": b"older"}},
        "org/tiny-GGUF": {"main": GGUF},
        "org/pickled": {"main": {"config.json": b"{}", "pytorch_model.bin": b"\x80"}},
    }
    with serve(Hub(repos)) as running:
        yield running


@pytest.fixture
def fetch(hub: Hub, tmp_path: Path) -> Callable[[str], Path]:
    def call(text: str) -> Path:
        return locate(
            parse_model(text), progress=SilentProgress(), endpoint=hub.url, cache=tmp_path / "hub"
        )

    return call


def files_asked(hub: Hub) -> set[str]:
    return {line.rpartition("/")[2] for line in hub.requests if line.startswith("GET /org")}


def test_model_is_downloaded_whole(fetch: Callable[[str], Path], hub: Hub) -> None:
    folder = fetch("org/tiny")
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == MODEL
    assert files_asked(hub) == set(MODEL)


def test_second_call_downloads_nothing(fetch: Callable[[str], Path], hub: Hub) -> None:
    folder = fetch("org/tiny")
    hub.requests.clear()
    assert fetch("org/tiny") == folder
    assert files_asked(hub) == set()


def test_model_once_fetched_is_found_without_the_hub(
    fetch: Callable[[str], Path], hub: Hub, tmp_path: Path
) -> None:
    folder = fetch("org/tiny")
    unreachable = f"http://127.0.0.1:{_closed_port()}"
    ref = parse_model("org/tiny")
    again = locate(ref, progress=SilentProgress(), endpoint=unreachable, cache=tmp_path / "hub")
    assert again == folder


@pytest.mark.parametrize("by_commit", [False, True])
def test_revision(fetch: Callable[[str], Path], hub: Hub, by_commit: bool) -> None:
    revision = hub.commit("org/tiny", "v1") if by_commit else "v1"
    assert (fetch(f"org/tiny@{revision}") / "model.safetensors").read_bytes() == b"older"


@pytest.mark.parametrize(
    ("text", "contents"),
    [("org/tiny-GGUF:Q4_K_M", b"four"), ("org/tiny-GGUF:bf16", b"sixteen")],
)
def test_gguf_of_the_type_alone_is_downloaded(
    fetch: Callable[[str], Path], hub: Hub, text: str, contents: bytes
) -> None:
    path = fetch(text)
    assert path.read_bytes() == contents
    assert files_asked(hub) == {path.name}


def test_download_reports_every_byte_once(hub: Hub, tmp_path: Path) -> None:
    class Recorder:
        opened: list[tuple[str, int | None, str]] = []  # noqa: RUF012
        done = 0

        @contextmanager
        def task(
            self, label: str, total: int | None, unit: str = "tokens"
        ) -> Iterator[Callable[[int], None]]:
            self.opened.append((label, total, unit))
            yield self.advance

        def advance(self, n: int) -> None:
            self.done += n

    recorder = Recorder()
    locate(parse_model("org/tiny"), progress=recorder, endpoint=hub.url, cache=tmp_path)
    total = sum(map(len, MODEL.values()))
    assert recorder.opened == [("downloading org/tiny", total, "bytes")]
    assert recorder.done == total


def test_pickled_weights_are_refused_before_anything_arrives(
    fetch: Callable[[str], Path], hub: Hub
) -> None:
    with pytest.raises(UnsupportedModel, match="only pickled weights"):
        fetch("org/pickled")
    assert files_asked(hub) == set()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((403, "GatedRepo"), "is gated"),
        ((401, "RepoNotFound"), "has no model `org/tiny`, or it is private"),
        ((404, "RepoNotFound"), "has no model `org/tiny`, or it is private"),
        ((403, ""), "answered 403"),
        ((418, ""), "answered 418"),
    ],
)
def test_refusals_say_what_to_do(
    fetch: Callable[[str], Path], hub: Hub, answer: tuple[int, str], message: str
) -> None:
    hub.refused["org/tiny"] = answer
    with pytest.raises(HubError, match=message) as caught:
        fetch("org/tiny")
    assert caught.value.hint


def test_missing_revision(fetch: Callable[[str], Path]) -> None:
    with pytest.raises(HubError, match="no revision `v9`"):
        fetch("org/tiny@v9")


def test_unknown_gguf_type(fetch: Callable[[str], Path]) -> None:
    with pytest.raises(HubError, match="no GGUF file of type `Q3_K_M`"):
        fetch("org/tiny-GGUF:Q3_K_M")


def test_unreachable_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    endpoint = f"http://127.0.0.1:{_closed_port()}"
    with pytest.raises(HubError, match=r"cannot reach the hub .* not in the cache"):
        locate(parse_model("org/x"), progress=SilentProgress(), endpoint=endpoint, cache=tmp_path)


def test_offline_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="not in the cache"):
        locate(parse_model("org/x"), progress=SilentProgress(), cache=tmp_path)


def test_no_room(fetch: Callable[[str], Path], hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(StorageError, match=r"needs 0.0 GB"):
        fetch("org/tiny")
    assert files_asked(hub) == set()


def test_full_disk(fetch: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(StorageError, match="disk is full"):
        fetch("org/tiny")


def test_environment_names_the_hub(hub: Hub, tmp_path: Path) -> None:
    program = (
        "from bitloss.formats.location.locate import locate\n"
        "from bitloss.spec.model import parse_model\n"
        "from bitloss.types import SilentProgress\n"
        "print(locate(parse_model('org/tiny'), progress=SilentProgress()))\n"
    )
    environment = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert (Path(done.stdout.strip()) / "model.safetensors").read_bytes() == WEIGHTS
    assert done.stderr == ""


def test_path_stays_as_it_is(tmp_path: Path) -> None:
    assert locate(parse_model(str(tmp_path)), progress=SilentProgress()) == tmp_path


def test_path_that_vanished(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    ref = parse_model(str(tmp_path / "model"))
    (tmp_path / "model").rmdir()
    with pytest.raises(CheckpointError, match="no model at"):
        locate(ref, progress=SilentProgress())


def test_recipe_is_not_a_place() -> None:
    with pytest.raises(UsageError, match="is a recipe"):
        locate(parse_model("gptq-4", allow_recipe=True), progress=SilentProgress())


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
