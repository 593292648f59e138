"""Oracle: GPTQModel packs and dequantizes the same layers (tests/peers/gptqmodel_kernels.py).

Weights are codes times scales in float64, rounded to float32, bit for bit; rounded to float16 they
are the weights of GPTQModel's kernel.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import checkpoint_notes
from bitloss.formats.safetensors import gptq
from bitloss.formats.storage import packing
from peers.checkpoints import write_model
from peers.gptqmodel_kernels import gptq_layer
from peers.marlin_files import marlin_parts
from peers.packing import pack_columns, pack_rows

INPUTS, OUTPUTS = 256, 96
CONFIG: dict[str, Any] = {
    "quant_method": "gptq", "bits": 4, "group_size": 64, "desc_act": True, "sym": True,
    "checkpoint_format": "gptq", "pack_dtype": "int32", "meta": {"quantizer": ["gptqmodel:7.6"]},
}  # fmt: skip
NAME = "model.layers.0.self_attn.q_proj"


def grouped(inputs: int, group_size: int, *, act_order: bool = False) -> torch.Tensor:
    groups = torch.arange(inputs) // (inputs if group_size == -1 else group_size)
    order = torch.randperm(inputs, generator=torch.Generator().manual_seed(1))
    return groups[order] if act_order else groups


def linear(inputs: int = INPUTS, outputs: int = OUTPUTS) -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(inputs, outputs, bias=False)


def stored(tensors: dict[str, torch.Tensor], module: str = NAME) -> dict[str, torch.Tensor]:
    return {f"{module}.{key}": value for key, value in tensors.items()}


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("v1", [True, False])
@pytest.mark.parametrize(("group_size", "act_order"), [(-1, False), (32, False), (64, True)])
@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_bit_exact_with_gptqmodel(
    bits: int,
    group_size: int,
    act_order: bool,
    v1: bool,
    symmetric: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 40 * INPUTS)  # three blocks, the last one short
    groups = grouped(INPUTS, group_size, act_order=act_order)
    tensors, dense = gptq_layer(
        linear(), groups, bits=bits, group_size=group_size, symmetric=symmetric, v1=v1
    )
    config = CONFIG | {"bits": bits, "group_size": group_size, "desc_act": act_order}
    config |= {"checkpoint_format": "gptq" if v1 else "gptq_v2", "sym": symmetric}
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), config))
    weight = checkpoint.read(f"{NAME}.weight")
    assert checkpoint.names() == (f"{NAME}.weight",)
    assert checkpoint.shape(f"{NAME}.weight") == (OUTPUTS, INPUTS) == weight.shape
    assert weight.dtype == torch.float32
    assert weight.is_contiguous()
    assert torch.equal(weight, dense.t())


@pytest.mark.parametrize(("group_size", "act_order"), [(-1, False), (64, True)])
@pytest.mark.parametrize("bits", [2, 3, 4, 5, 6, 7, 8])
def test_planes_are_bit_exact_with_gptqmodel(
    bits: int, group_size: int, act_order: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "_BLOCK", 40 * INPUTS)
    groups = grouped(INPUTS, group_size, act_order=act_order)
    tensors, dense = gptq_layer(
        linear(), groups, bits=bits, group_size=group_size, symmetric=False, v1=False, planar=True
    )
    config = CONFIG | {"bits": bits, "group_size": group_size, "desc_act": act_order}
    config |= {"checkpoint_format": "gptq_p", "sym": False}
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), config))
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense.t())


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_rows_that_groups_and_words_do_not_divide(bits: int, tmp_path: Path) -> None:
    tensors, dense = gptq_layer(linear(172), grouped(172, 64), bits=bits, group_size=64)
    config = CONFIG | {"bits": bits, "desc_act": False}
    weight = open_checkpoint(write_model(tmp_path, stored(tensors), config)).read(f"{NAME}.weight")
    assert torch.equal(weight, dense.t())


def test_conv1d_keeps_inputs_first(tmp_path: Path) -> None:
    from transformers.pytorch_utils import Conv1D

    torch.manual_seed(0)
    tensors, dense = gptq_layer(Conv1D(OUTPUTS, INPUTS), grouped(INPUTS, 64), bits=4, group_size=64)
    name = "transformer.h.0.attn.c_attn"
    path = write_model(tmp_path, stored(tensors, name), CONFIG, model_type="gpt2")
    checkpoint = open_checkpoint(path)
    assert checkpoint.shape(f"{name}.weight") == (INPUTS, OUTPUTS)
    assert torch.equal(checkpoint.read(f"{name}.weight"), dense)


def test_embedding_keeps_tokens_first(tmp_path: Path) -> None:
    """A vocabulary that the words do not divide; each token is an input of the kernel."""
    torch.manual_seed(0)
    tokens = torch.nn.Embedding(250, OUTPUTS)
    tensors, dense = gptq_layer(tokens, grouped(250, 64), bits=4, group_size=64)
    name = "model.embed_tokens"
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors, name), CONFIG))
    assert checkpoint.shape(f"{name}.weight") == (250, OUTPUTS)
    assert torch.equal(checkpoint.read(f"{name}.weight"), dense)


@settings(max_examples=25, deadline=None)
@given(
    bits=st.sampled_from([2, 3, 4, 8]), groups=st.integers(1, 3), words=st.integers(1, 2),
    seed=st.integers(0, 999),
)  # fmt: skip
def test_v1_zero_points_are_stored_less_one(bits: int, groups: int, words: int, seed: int) -> None:
    """Own packer: a zero point z is written as z - 1; z from 1 on, so that nothing wraps."""
    inputs, outputs, size = 32 * groups, 32 * words, 32
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 2**bits, (inputs, outputs), generator=generator)
    zeros = torch.randint(1, 2**bits, (groups, outputs), generator=generator)
    scales = torch.rand((groups, outputs), generator=generator).to(torch.bfloat16)
    layer = gptq.Layer(bits, size, inputs, outputs, v1=True)
    qzeros = pack_rows((zeros - 1).tolist(), bits)
    weight = gptq.decode(layer, pack_columns(codes, bits), qzeros, scales, None)
    spread = [table.repeat_interleave(size, 0) for table in (zeros, scales.double())]
    exact = (codes - spread[0]).double() * spread[1]
    assert torch.equal(weight, exact.float().t())


def test_mixed_settings_dense_neighbours_and_info(tmp_path: Path) -> None:
    head, head_dense = gptq_layer(linear(), grouped(INPUTS, 32), bits=8, group_size=32)
    body, body_dense = gptq_layer(linear(), grouped(INPUTS, 64), bits=4, group_size=64)
    norm = torch.randn(INPUTS).to(torch.bfloat16)
    tensors = stored(body) | stored(head, "lm_head") | {"model.norm.weight": norm}
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(8)
    dynamic = {"-:model\\.layers\\.9\\.": {}, "+:lm_h": {"bits": 8, "group_size": 32}}
    path = write_model(tmp_path, tensors, CONFIG | {"dynamic": dynamic, "dataset": "c4"})
    checkpoint = open_checkpoint(path, name="mine")
    assert set(checkpoint.names()) == {"lm_head.weight", f"{NAME}.weight", "model.norm.weight"}
    assert torch.equal(checkpoint.read("lm_head.weight"), head_dense.t())
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), body_dense.t())
    assert torch.equal(checkpoint.read("model.norm.weight"), norm)
    info = checkpoint.info
    parameters = 2 * INPUTS * OUTPUTS + INPUTS
    stored_bytes = sum(t.nbytes for t in tensors.values()) - 32
    assert (info.name, info.format, info.bits, info.group_size) == ("mine", "gptq", 4, 64)
    assert (info.desc_act, info.calibration, info.parameters) == (True, "c4", parameters)
    assert info.bits_per_weight == pytest.approx(8 * stored_bytes / parameters, rel=1e-12)
    assert info.file_bytes == (path / "model.safetensors").stat().st_size
    assert "quantization_config" not in checkpoint.config


def test_digest_covers_the_config_but_not_the_quantizers_notes(tmp_path: Path) -> None:
    tensors, _ = gptq_layer(linear(), grouped(INPUTS, 64), bits=4, group_size=64)
    variants = ({}, {"meta": {"offload_to_disk_path": "elsewhere"}}, {"desc_act": False})
    digests = [
        open_checkpoint(write_model(tmp_path / str(n), stored(tensors), CONFIG | extra)).info.digest
        for n, extra in enumerate(variants)
    ]
    assert digests[0] == digests[1] != digests[2]


def test_config_in_a_file_of_its_own(tmp_path: Path) -> None:
    tensors, dense = gptq_layer(linear(), grouped(INPUTS, 64), bits=4, group_size=64)
    path = write_model(tmp_path, stored(tensors))
    (path / "model.safetensors").rename(path / "gptq_model-4bit-64g.safetensors")
    (path / "quantize_config.json").write_text('{"bits": 4, "group_size": 64, "desc_act": false}')
    checkpoint = open_checkpoint(path)
    assert checkpoint.info.format == "gptq"
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense.t())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"group_size": 128}, CheckpointError, "qzeros`: expected shape [2, 12]"),
        ({"bits": 8}, CheckpointError, "qweight`: expected shape [64, 96]"),
        ({"bits": "four"}, CheckpointError, "whole number for `bits`, got 'four'"),
        ({"group_size": 0}, CheckpointError, "expected -1 or a positive number, got 0"),
        ({"bits": 5}, CheckpointError, "qweight`: expected shape [40, 96]"),
        ({"bits": 9}, UnsupportedModel, "GPTQ with 9 bits"),
        ({"checkpoint_format": "bitblas"}, UnsupportedModel, "depends on the machine"),
        ({"checkpoint_format": "marlin_24"}, UnsupportedModel, "two of four"),
        ({"checkpoint_format": "gptq_v2", "format": "gptq"}, UnsupportedModel, "`gptq, gptq_v2`"),
        ({"pack_dtype": "int16"}, UnsupportedModel, "in int16"),
        ({"rotation": "hadamard"}, UnsupportedModel, "rotated"),
        ({"quant_method": "new"}, UnsupportedModel, "method `new` is not supported"),
    ],
)
def test_config_that_contradicts_the_weights(
    change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    tensors, _ = gptq_layer(linear(), grouped(INPUTS, 64), bits=4, group_size=64)
    path = write_model(tmp_path, stored(tensors), CONFIG | change)
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)
    assert "hint: " in str(caught.value)


def test_damaged_group_index_and_missing_part(tmp_path: Path) -> None:
    tensors, _ = gptq_layer(linear(), grouped(INPUTS, 64), bits=4, group_size=64)
    tensors["g_idx"][3] = 4
    checkpoint = open_checkpoint(write_model(tmp_path / "a", stored(tensors), CONFIG))
    with pytest.raises(CheckpointError, match="from 0 to 3, got 0 to 4"):
        checkpoint.read(f"{NAME}.weight")
    del tensors["scales"]
    with pytest.raises(CheckpointError, match=r"scales`: expected .* got no such tensor"):
        open_checkpoint(write_model(tmp_path / "b", stored(tensors), CONFIG))


@pytest.mark.parametrize(("group_size", "act_order"), [(64, False), (-1, False), (-1, True)])
@pytest.mark.parametrize("named", ["checkpoint_format", "is_marlin_format", "quant_method"])
def test_marlin_tiles(
    named: str,
    group_size: int,
    act_order: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Oracle: the definition; the packer is held against AutoGPTQ's in `benchmarks`."""
    monkeypatch.setattr(packing, "_BLOCK", 64 * 128)
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 16, (128, 192), generator=generator)
    size = 128 if group_size == -1 else group_size
    scales = torch.rand((128 // size, 192), generator=generator).half()
    words, moved = marlin_parts(codes, scales)
    tensors = stored({"B": words, "s": moved, "workspace": torch.zeros(24, dtype=torch.int32)})
    config = CONFIG | {"group_size": group_size, "desc_act": act_order, "checkpoint_format": None}
    config |= {named: {"is_marlin_format": True}.get(named, "marlin")}
    checkpoint = open_checkpoint(write_model(tmp_path, tensors, config))
    exact = (codes - 8).double() * scales.double().repeat_interleave(size, 0)
    assert checkpoint.names() == (f"{NAME}.weight",)
    assert checkpoint.info.format == "gptq"
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), exact.float().t())


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"bits": 8}, UnsupportedModel, "with 8 bits"),
        ({"desc_act": True}, UnsupportedModel, "act-order"),
        ({"sym": False}, UnsupportedModel, "asymmetric"),
        ({"group_size": 32}, CheckpointError, "s`: expected shape [4, 64]"),
        ({"group_size": 48}, CheckpointError, "expected groups of 48"),
    ],
)
def test_marlin_tiles_that_contradict_the_config(
    change: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    codes, scales = torch.zeros((128, 64), dtype=torch.int64), torch.ones((2, 64)).half()
    packed, moved = marlin_parts(codes, scales)
    config = CONFIG | {"desc_act": False, "checkpoint_format": "marlin"} | change
    path = write_model(tmp_path, stored({"B": packed, "s": moved}), config)
    with pytest.raises(error) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)


def test_marlin_by_name_in_the_plain_layout(tmp_path: Path) -> None:
    """GPTQModel keeps v1's layout under this name: its kernel makes the tiles in memory."""
    tensors, dense = gptq_layer(linear(), grouped(INPUTS, 64), bits=4, group_size=64)
    config = CONFIG | {"checkpoint_format": "marlin", "desc_act": False}
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), config))
    assert torch.equal(checkpoint.read(f"{NAME}.weight"), dense.t())


def parts(*, v1: bool = True, bits: int = 4, **options: Any) -> dict[str, torch.Tensor]:
    tensors, _ = gptq_layer(
        linear(), grouped(INPUTS, 64), bits=bits, group_size=64, v1=v1, **options
    )
    return tensors


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
@pytest.mark.parametrize(("v1", "label"), [(True, "gptq_v2"), (False, "gptq")])
def test_zero_points_of_the_other_version(bits: int, v1: bool, label: str, tmp_path: Path) -> None:
    """Read as labeled, every weight would be off by a scale."""
    config = CONFIG | {"bits": bits, "desc_act": False, "checkpoint_format": label}
    tensors = stored(parts(v1=v1, bits=bits))
    wrong = open_checkpoint(write_model(tmp_path / "a", tensors, config))
    with pytest.raises(CheckpointError, match=r"expected zero points of \d+ for symmetric"):
        wrong.read(f"{NAME}.weight")
    asymmetric = open_checkpoint(write_model(tmp_path / "b", tensors, config | {"sym": False}))
    asymmetric.read(f"{NAME}.weight")  # nothing shows that it is wrong


def test_five_bits_without_a_known_order(tmp_path: Path) -> None:
    tensors = stored(parts(bits=5, v1=False, planar=True))
    with pytest.raises(UnsupportedModel, match="writers differ"):
        open_checkpoint(write_model(tmp_path, tensors, CONFIG | {"bits": 5, "desc_act": False}))


def test_group_index_of_zeros_is_noted_where_act_order_is_off(tmp_path: Path) -> None:
    """Kernels ignore it then (vLLM, exllama), so the order is that of the columns."""
    tensors, dense = gptq_layer(linear(), grouped(INPUTS, 64), bits=4, group_size=64)
    tensors["g_idx"].zero_()
    config = CONFIG | {"desc_act": False}
    empty = open_checkpoint(write_model(tmp_path / "a", stored(tensors), config))
    assert torch.equal(empty.read(f"{NAME}.weight"), dense.t())
    assert checkpoint_notes(empty) == (gptq.ZEROS_IN_ORDER,)
    moved = open_checkpoint(write_model(tmp_path / "b", stored(tensors), CONFIG))
    assert checkpoint_notes(moved) == ()
    with pytest.raises(CheckpointError, match="says `desc_act`"):
        moved.read(f"{NAME}.weight")
    ordered = stored(parts()) | stored(tensors, "model.layers.1.self_attn.q_proj")
    mixed = open_checkpoint(write_model(tmp_path / "c", ordered, config))
    with pytest.raises(CheckpointError, match="0 throughout"):
        mixed.read("model.layers.1.self_attn.q_proj.weight")


def test_group_index_that_fills_groups_unevenly(tmp_path: Path) -> None:
    tensors = parts()
    tensors["g_idx"][0] = 3
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), CONFIG))
    with pytest.raises(CheckpointError, match=r"64 columns of each of 4 .* 63 to 65 of a group"):
        checkpoint.read(f"{NAME}.weight")


def _drop(part: str) -> Any:
    return lambda tensors: tensors.pop(f"{NAME}.{part}")


def _put(part: str, value: torch.Tensor) -> Any:
    return lambda tensors: tensors.update({f"{NAME}.{part}": value})


@pytest.mark.parametrize(
    ("damage", "change", "words"),
    [
        (_drop("g_idx"), {}, "says `desc_act`, and there is no"),
        (_drop("qweight"), {}, "got no tensor `*.qweight`"),
        (_put("qweight", torch.zeros((32, 96))), {}, "qweight`: expected I32, got F32"),
        (_put("qzeros", torch.zeros((4, 12)).half()), {}, "qzeros`: expected I32, got F16"),
        (_put("scales", torch.ones((4, 96), dtype=torch.int32)), {}, "expected F16 or BF16 or F32"),
        (_put("g_idx", torch.zeros(256)), {}, "g_idx`: expected I32 or I64, got F32"),
        (_put("qweight", torch.zeros((2, 16, 96), dtype=torch.int32)), {}, "fused experts"),
        (_put("weight", torch.zeros((96, 256))), {}, f"`{NAME}.weight` is stored twice"),
        (lambda tensors: None, {"dynamic": {"-:.*q_proj": {}}}, "`dynamic` leaves it out"),
        (lambda tensors: None, {"modules_to_not_convert": ["self_attn"]}, "lists `self_attn`"),
        (
            lambda tensors: tensors.update({"model.layers.1.mlp.up_proj.scales": torch.ones(2)}),
            {}, "has no `model.layers.1.mlp.up_proj.qweight`",
        ),
    ],
)  # fmt: skip
def test_tensors_that_contradict_the_label(
    damage: Any, change: dict[str, Any], words: str, tmp_path: Path
) -> None:
    tensors = stored(parts())
    damage(tensors)
    path = write_model(tmp_path, tensors, CONFIG | change)
    with pytest.raises(CheckpointError) as caught:
        open_checkpoint(path)
    assert words in str(caught.value)
    assert "hint: " in str(caught.value)


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_scales_that_are_not_numbers(value: float, tmp_path: Path) -> None:
    tensors = parts()
    tensors["scales"][1, 2] = value
    checkpoint = open_checkpoint(write_model(tmp_path, stored(tensors), CONFIG))
    with pytest.raises(CheckpointError, match="1 of 384 that are infinite or NaN"):
        checkpoint.read(f"{NAME}.weight")
