"""Every format gives float32, and rounds it once to the type that an engine asks for.

Oracle: the float32 weights, rounded by torch. The formats' own tests say that those are exact.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.formats import open_checkpoint
from bitloss.formats.base import Checkpoint
from bitloss.formats.storage import packing
from peers.bitsandbytes_files import four_bits, int8
from peers.checkpoints import write_model
from peers.hqq_files import layer as hqq_layer
from peers.marlin_files import marlin_parts
from peers.mlx_files import affine, write_mlx
from peers.packing import pack_columns, pack_rows
from peers.small_floats import pack_e2m1

ROWS, COLUMNS = 128, 256
MODULE = "model.layers.0.mlp.up_proj"
NORM = torch.linspace(0.5, 1.5, COLUMNS)  # no numbers of bfloat16
Stored = tuple[dict[str, torch.Tensor], dict[str, Any]]


def random(shape: tuple[int, ...], high: int) -> torch.Tensor:
    return torch.randint(0, high, shape, generator=torch.Generator().manual_seed(0))


def uniform(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) + 0.1


def named(parts: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {f"{MODULE}.{part}": value for part, value in parts.items()}


def gptq() -> Stored:
    codes, zeros = random((COLUMNS, ROWS), 16), random((4, ROWS), 15)
    parts = {
        "qweight": pack_columns(codes, 4), "qzeros": pack_rows(zeros.tolist(), 4),
        "scales": uniform(4, ROWS).half(),
    }  # fmt: skip
    return named(parts), {"quant_method": "gptq", "bits": 4, "group_size": 64, "sym": False}


def awq() -> Stored:
    parts = {
        "qweight": pack_rows(random((COLUMNS, ROWS), 16).tolist(), 4),
        "qzeros": pack_rows(random((4, ROWS), 16).tolist(), 4), "scales": uniform(4, ROWS).half(),
    }  # fmt: skip
    return named(parts), {"quant_method": "awq", "bits": 4, "group_size": 64, "version": "gemm"}


def gemv_fast() -> Stored:
    words = random((ROWS // 4, COLUMNS), 1 << 15).to(torch.int16)
    scales = uniform(8, ROWS).half()
    parts = {"qweight": words, "scales": scales, "qzeros": -8 * scales}
    config = {"quant_method": "awq", "bits": 4, "group_size": 128, "version": "gemv_fast"}
    return named(parts), config


def marlin() -> Stored:
    words, scales = marlin_parts(random((COLUMNS, ROWS), 16), uniform(4, ROWS).half())
    config = {"quant_method": "marlin", "bits": 4, "group_size": 64}
    return named({"B": words, "s": scales}), config


def compressed() -> Stored:
    parts = {"weight": random((ROWS, COLUMNS), 127).to(torch.int8), "weight_scale": uniform(1)}
    weights = {"num_bits": 8, "type": "int", "symmetric": True, "strategy": "tensor"}
    groups = {"one": {"targets": ["Linear"], "weights": weights}}
    config = {"quant_method": "compressed-tensors", "format": "int-quantized"}
    return named(parts), config | {"config_groups": groups}


def fp8() -> Stored:
    parts = {"weight": uniform(ROWS, COLUMNS).to(torch.float8_e4m3fn), "weight_scale": uniform(1)}
    return named(parts), {"quant_method": "fp8", "activation_scheme": "static"}


def modelopt() -> Stored:
    parts = {
        "weight": pack_e2m1(random((ROWS, COLUMNS), 16)),
        "weight_scale": uniform(ROWS, COLUMNS // 16).to(torch.float8_e4m3fn),
        "weight_scale_2": torch.tensor(0.0123), "pre_quant_scale": uniform(COLUMNS),
    }  # fmt: skip
    return named(parts), {"quant_method": "modelopt", "quant_algo": "NVFP4_AWQ", "group_size": 16}


def exl3() -> Stored:
    parts = {
        "trellis": random((COLUMNS // 16, ROWS // 16, 48), 1 << 15).to(torch.int16),
        "suh": uniform(COLUMNS).half(), "svh": uniform(ROWS).half(),
    }  # fmt: skip
    return named(parts), {"quant_method": "exl3", "bits": 3.0}


def torchao() -> Stored:
    parts = {
        "qdata": random((ROWS, COLUMNS), 127).to(torch.int8), "scale": uniform(ROWS, 4),
        "zero_point": random((ROWS, 4), 9).to(torch.int8),
    }  # fmt: skip
    stored = {f"model.layers.0.mlp.up_proj._weight_{part}": value for part, value in parts.items()}
    return stored, {"quant_method": "torchao"}


TORCHAO = {
    "_type": "Int8Tensor", "_tensor_data_names": ["qdata", "scale", "zero_point"],
    "_data": {"block_size": [1, 64], "dtype": {"_type": "torch.dtype", "_data": "bfloat16"}},
}  # fmt: skip
NAMES = {"tensor_names": json.dumps([f"{MODULE}.weight"]), f"{MODULE}.weight": json.dumps(TORCHAO)}
FORMATS: dict[str, Callable[[], Stored]] = {
    "gptq": gptq, "awq": awq, "awq gemv_fast": gemv_fast, "marlin": marlin,
    "compressed-tensors": compressed, "fp8": fp8, "modelopt": modelopt, "exl3": exl3,
    "torchao": torchao,
    "bitsandbytes": lambda: (
        four_bits(f"{MODULE}.weight", (ROWS, COLUMNS), nested=True)[0],
        {"quant_method": "bitsandbytes"},
    ),
    "bitsandbytes int8": lambda: (
        int8(MODULE, (ROWS, COLUMNS))[0], {"quant_method": "bitsandbytes"},
    ),
    "hqq": lambda: (hqq_layer(MODULE, (ROWS, COLUMNS))[0], {"quant_method": "hqq"}),
}  # fmt: skip


def opened(kind: str, path: Path) -> Checkpoint:
    if kind == "mlx":
        tensors, _ = affine((ROWS, COLUMNS), 4, 64, torch.bfloat16)
        norm = {"model.norm.weight": NORM}
        return open_checkpoint(
            write_mlx(path, named(tensors) | norm, {"group_size": 64, "bits": 4})
        )
    tensors, config = FORMATS[kind]()
    metadata = NAMES if kind == "torchao" else None
    return open_checkpoint(
        write_model(path, tensors | {"model.norm.weight": NORM}, config, metadata=metadata)
    )


@pytest.mark.parametrize("kind", [*FORMATS, "mlx"])
def test_weights_are_rounded_once(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 48 * COLUMNS)  # several blocks, the last one short
    checkpoint, name = opened(kind, tmp_path), f"{MODULE}.weight"
    exact = checkpoint.read(name)
    assert exact.dtype == torch.float32
    assert not torch.equal(exact.bfloat16().float(), exact)
    for dtype in (torch.bfloat16, torch.float16):
        rounded = checkpoint.read(name, dtype)
        assert rounded.dtype == dtype
        assert rounded.is_contiguous()
        assert torch.equal(rounded, exact.to(dtype))
    assert torch.equal(checkpoint.read("model.norm.weight", torch.bfloat16), NORM)  # as stored
