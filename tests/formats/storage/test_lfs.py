"""Oracle: the pointer of git-lfs' own specification (docs/spec.md)."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bitloss.errors import CheckpointError
from bitloss.formats import open_checkpoint
from peers.checkpoints import write_model

POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"
)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json"])
def test_a_pointer_is_named_with_its_cure(file: str, tmp_path: Path) -> None:
    path = write_model(tmp_path, {"model.norm.weight": torch.ones(4)})
    (path / file).write_text(POINTER)
    with pytest.raises(CheckpointError, match=f"a Git LFS pointer in .*{file}") as caught:
        open_checkpoint(path)
    assert caught.value.hint.startswith("run `git lfs pull`")


@pytest.mark.parametrize(("kind", "got"), [(None, "got none"), (3, "got 3"), ("", "got ''")])
def test_a_config_without_a_model_type_is_named(kind: object, got: str, tmp_path: Path) -> None:
    path = write_model(tmp_path, {"model.norm.weight": torch.ones(4)}, model_type=kind)
    with pytest.raises(CheckpointError, match=f"`model_type`.*{got}") as caught:
        open_checkpoint(path)
    assert caught.value.hint.startswith("add it")
