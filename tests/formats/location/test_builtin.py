"""The model that comes along is the one that was shipped. Oracle: digests written here by hand."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from bitloss.errors import CheckpointError
from bitloss.formats.location.builtin import builtin_model
from bitloss.formats.location.locate import locate
from bitloss.spec.model import BUILTIN_MODELS, parse_model
from bitloss.types import SilentProgress


@pytest.fixture
def package(tmp_path: Path) -> Path:
    folder = tmp_path / "models" / "small"
    folder.mkdir(parents=True)
    files = {"config.json": b"{}", "model.safetensors": b"weights"}
    for name, data in files.items():
        (folder / name).write_bytes(data)
    digests = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    (folder / "digests.json").write_text(json.dumps(digests))
    return tmp_path


def test_as_shipped(package: Path) -> None:
    assert builtin_model("small", package=package) == package / "models" / "small"


def test_one_bit_is_found(package: Path) -> None:
    (package / "models/small/model.safetensors").write_bytes(b"weighus")
    with pytest.raises(CheckpointError, match=r"damaged: expected model\.safetensors") as fault:
        builtin_model("small", package=package)
    assert "reinstall bitloss" in fault.value.hint


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "digests.json"])
def test_a_missing_file_is_named(package: Path, file: str) -> None:
    (package / "models" / "small" / file).unlink()
    with pytest.raises(CheckpointError, match=file):
        builtin_model("small", package=package)


def test_digests_that_are_no_json(package: Path) -> None:
    (package / "models/small/digests.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"digests\.json"):
        builtin_model("small", package=package)


@pytest.mark.parametrize("name", BUILTIN_MODELS)
def test_the_shipped_ones_are_whole(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a directory of the same name is in the way, as in this repository."""
    monkeypatch.chdir(Path(__file__).parents[3])
    found = locate(parse_model(name), progress=SilentProgress())
    assert (found / "model.safetensors").is_file()
