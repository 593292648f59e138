"""A pack on a hub, which is a stand-in on loopback that the real client asks."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bitloss
from bitloss.errors import UnsupportedModel
from bitloss.formats.location.hub_files import choose_files, choose_pack
from bitloss.results import Comparison
from bitloss.spec.model import is_hub_pack, names_pack, parse_model
from peers.hub import Hub, serve


@pytest.fixture
def hub(made: Path) -> Iterator[Hub]:
    root = made / "ref.pack"
    files = {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file()
    }
    own = {".gitattributes": b"", "README.md": b"a card"}
    with serve(Hub({"org/ref.pack": {"main": {**files, **own}}})) as running:
        yield running


def test_it_gives_the_figures_of_the_weights(
    hub: Hub, inside: Path, tmp_path: Path, equal_but_for_source: Callable[..., None]
) -> None:
    environment = {
        **os.environ, "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0",
    }  # fmt: skip
    command = ["compare", "org/ref.pack", "./noisy", "--out", str(tmp_path / "run"), "-q"]
    done = subprocess.run(
        [sys.executable, "-m", "bitloss", *command],
        env=environment, capture_output=True, text=True, cwd=inside,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = Comparison.load(tmp_path / "run")
    equal_but_for_source(bitloss.load("weights"), found)
    assert found.reference.name == "org/ref.pack"
    fetched = [one.rpartition("/")[2] for one in hub.requests if one.startswith("GET /org")]
    assert "pack.json" in fetched
    assert not {".gitattributes", "README.md"} & set(fetched)


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for text in ("org/ref.pack", "org/ref.pack@v1"):
        assert is_hub_pack(text)
        assert names_pack(text)
        assert parse_model(text).repo == "org/ref.pack"
    for text in ("ref.pack", "./org/ref.pack", "a/b/ref.pack", "org/packed", "org/ref.pack:Q4_0"):
        assert not names_pack(text), text
    (tmp_path / "org" / "ref.pack").mkdir(parents=True)
    assert not is_hub_pack("org/ref.pack")
    assert names_pack("org/ref.pack")


def test_what_is_fetched() -> None:
    listing = [".gitattributes", "README.md", "pack.json", "states/a.safetensors"]
    assert choose_pack("org/ref.pack", listing) == ("pack.json", "states/a.safetensors")
    assert choose_pack("org/ref.pack", listing, whole=False) == ("pack.json",)
    with pytest.raises(UnsupportedModel, match=r"expected pack\.json in it, found 1 other files"):
        choose_pack("org/ref.pack", ["config.json"])
    with pytest.raises(UnsupportedModel, match=r"its name does not end in `\.pack`") as caught:
        choose_files("org/ref", listing[:3])
    assert caught.value.hint.startswith("download it (hf download org/ref --local-dir ref.pack)")
