"""Single rows of tensors; oracle: the whole tensor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.errors import CheckpointError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import checkpoint_rows
from bitloss.formats.gguf.decoding import read_tensor
from bitloss.formats.gguf.header import StoredTensor
from peers.tiny_architectures import save_tiny


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_of_safetensors(tmp_path: Path, dtype: torch.dtype) -> None:
    save_tiny("mixtral", tmp_path)
    file = tmp_path / "model.safetensors"
    save_file({n: t.to(dtype) for n, t in load_file(file).items()}, file, {"format": "pt"})
    checkpoint = open_checkpoint(tmp_path)
    for name in checkpoint.names():
        rows = checkpoint_rows(checkpoint, name, torch.bfloat16)
        assert rows is not None
        whole = checkpoint.read(name)
        for start, stop in ((0, len(whole)), (1, 3), (len(whole) - 1, len(whole)), (2, 2)):
            found = rows(start, stop)
            assert found.dtype == dtype
            assert torch.equal(found, whole[start:stop])


def test_a_file_that_was_cut_is_named(tmp_path: Path) -> None:
    save_tiny("llama", tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    last = checkpoint.names()[-1]
    rows = checkpoint_rows(checkpoint, last, torch.float32)
    file = tmp_path / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-4])
    size = checkpoint.shape(last)[0]
    assert rows is not None
    with pytest.raises(CheckpointError, match=r"expected \d+ bytes, got"):
        rows(0, size)


@pytest.mark.parametrize("kind", ["F32", "F16", "Q8_0", "Q4_K"])
def test_rows_of_gguf(tmp_path: Path, kind: str) -> None:
    gguf = pytest.importorskip("gguf")
    blocks, nbytes = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[kind]]
    rng = np.random.default_rng(0)
    size = 40 * 512 // blocks * nbytes
    if kind in ("F32", "F16"):
        data = rng.normal(size=40 * 512).astype("<f4" if kind == "F32" else "<f2").tobytes()
    else:
        data = rng.integers(0, 60, size, dtype=np.uint8).tobytes()
    file = tmp_path / "data"
    file.write_bytes(b"before" + data)
    tensor = StoredTensor("t", kind, (40, 512), file, 6, len(data))
    whole = read_tensor(tensor, torch.float32)
    for start, stop in ((0, 40), (7, 9), (39, 40)):
        found = read_tensor(tensor, torch.float32, range(start, stop))
        assert torch.equal(found.nan_to_num(), whole[start:stop].nan_to_num())
