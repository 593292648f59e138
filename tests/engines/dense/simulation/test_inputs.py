"""Inputs of layers in few bits, as a run or a checkpoint asks.

Oracle: compressed-tensors' own quantized forward of the same model, bit for bit.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.simulation.activations import InputQuantizer
from bitloss.engines.dense.simulation.linear import expert_stacks, linear_layers
from bitloss.errors import Incomparable, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import DeclaredInput
from bitloss.spec.activations import parse_activations
from bitloss.spec.serving import AS_COMPUTED, Serving
from peers.tiny_architectures import save_tiny

IDS = torch.arange(3, 43).view(2, 20)
INT8 = {"num_bits": 8, "type": "int", "symmetric": True}
FP8 = {"num_bits": 8, "type": "float", "symmetric": True}


def by_compressed_tensors(
    folder: Path, inputs: dict[str, Any], scales: dict[str, torch.Tensor] | None = None
) -> torch.Tensor:
    """Hidden states of transformers' model with the library's hooks on its linear layers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # imports of optional packages
        from compressed_tensors.quantization import (
            QuantizationArgs,
            QuantizationConfig,
            QuantizationScheme,
            apply_quantization_config,
        )
        from transformers import AutoModelForCausalLM

        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        scheme = QuantizationScheme(
            targets=["Linear"], input_activations=QuantizationArgs(**inputs), weights=None
        )
        config = QuantizationConfig(
            config_groups={"all": scheme}, ignore=["lm_head"], quantization_status="frozen"
        )
        apply_quantization_config(model, config)
    for name, scale in (scales or {}).items():
        module = model.get_submodule(name)
        module.input_scale.data.copy_(scale)
    with torch.no_grad():
        return model.model(IDS).last_hidden_state


def graph_of(checkpoint: Any, serving: Serving = AS_COMPUTED) -> ModelGraph:
    graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
    graph.load(checkpoint, serving=serving)
    return graph


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("int8", {**INT8, "strategy": "token", "dynamic": True}),
        ("fp8", {**FP8, "strategy": "token", "dynamic": True}),
        ("int8-block16", {**INT8, "strategy": "group", "group_size": 16, "dynamic": True}),
    ],
)
@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_every_linear_layer_but_the_head_is_the_librarys(tmp_path, architecture, name, inputs):
    save_tiny(architecture, tmp_path)
    graph = graph_of(open_checkpoint(tmp_path), Serving(activations=name))
    expected = by_compressed_tensors(tmp_path, inputs)
    torch.testing.assert_close(graph.hidden(IDS), expected, rtol=0, atol=2e-4)
    plain = graph_of(open_checkpoint(tmp_path)).hidden(IDS)
    assert (plain - expected).abs().max() > 0.02


def test_a_scale_of_a_sequence_is_of_one_sequence(tmp_path):
    """Read beside another, in a batch or with a shared beginning, a sequence is read alone."""
    save_tiny("llama", tmp_path)
    graph = graph_of(open_checkpoint(tmp_path), Serving(activations="int8-tensor"))
    together = graph.hidden(IDS)
    assert torch.equal(together[1:], graph.hidden(IDS[1:]))
    inputs = {**INT8, "strategy": "tensor", "dynamic": True}
    both = by_compressed_tensors(tmp_path, inputs)
    assert (both - together).abs().max() > 0.02  # the library's scale is of both


MOE = ("mixtral", "qwen3_moe", "gpt_oss", "llama4_text", "granitemoe", "deepseek_v3")


@pytest.mark.parametrize("architecture", MOE)
def test_experts_are_reached(tiny, monkeypatch, architecture):
    """Stored numbers enter both products of a stack, and none of it stays with the next model."""
    checkpoint, graph = tiny(architecture)
    plain = graph.hidden(IDS)
    given: list[int] = []

    def watch(self: InputQuantizer, x: torch.Tensor) -> torch.Tensor:
        given.append(x.shape[-1])
        return original(self, x)

    original = InputQuantizer.__call__
    graph.load(checkpoint, serving=Serving(activations="int8"))
    stacks = list(expert_stacks(graph.body))
    monkeypatch.setattr(InputQuantizer, "__call__", watch)
    stored = graph.hidden(IDS)
    dense = {id(module): 1 for _, module, _ in linear_layers(graph.body)}
    assert len(given) > len(dense) // 2 + 2 * len(stacks)
    assert 1e-3 < (stored - plain).abs().mean() / plain.abs().mean() < 0.2
    graph.load(checkpoint)
    assert torch.equal(graph.hidden(IDS), plain)


def test_experts_by_hand(tiny):
    """Mixtral's block, computed expert by expert from its definition."""
    checkpoint, graph = tiny("mixtral")
    graph.load(checkpoint, serving=Serving(activations="fp8"))
    _, experts, weights = next(iter(expert_stacks(graph.body)))
    quantize = InputQuantizer(parse_activations("fp8"))
    torch.manual_seed(0)
    x = torch.randn(9, weights["gate_up_proj"].shape[-1])
    chosen = torch.stack([torch.randperm(len(weights["down_proj"]))[:2] for _ in range(9)])
    shares = torch.rand(9, 2)
    expected = torch.zeros_like(x)
    for token in range(9):
        for expert, share in zip(chosen[token], shares[token], strict=True):
            gate, up = (weights["gate_up_proj"][expert] @ quantize(x[token])).chunk(2)
            inner = quantize(torch.nn.functional.silu(gate) * up)
            expected[token] += share * (weights["down_proj"][expert] @ inner)
    with torch.no_grad():
        found = experts(x, chosen, shares)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-4)


def test_routers_and_the_head_are_left_alone(tiny):
    _, graph = tiny("qwen2_moe")
    paths = [path for path, _, _ in linear_layers(graph.body)]
    assert not [path for path in paths if path.endswith("gate") or "lm_head" in path]
    assert [path for path in paths if path.endswith("gate_proj")]


@pytest.mark.parametrize(
    ("architecture", "activations", "message"),
    [
        ("llama", "fp8-block128", r"expected inputs of `layers.0.self_attn.q_proj.weight` that are "
         r"a multiple of 128, got 32"),
        ("mixtral", "fp8-tensor", "expected scales of tokens or blocks, or static ones, for the"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(tiny, architecture, activations, message):
    checkpoint, graph = tiny(architecture)
    plain = graph.hidden(IDS)
    with pytest.raises(UnsupportedModel, match=message):
        graph.load(checkpoint, serving=Serving(activations=activations))
    graph.load(checkpoint)
    assert torch.equal(graph.hidden(IDS), plain)


# As the checkpoint declares --------------------------------------------------------------------


def w8a8(folder: Path, inputs: dict[str, Any], scales: float | None = None) -> Path:
    """A tiny Llama in compressed-tensors int8, one scale a row, whose inputs are declared."""
    save_tiny("llama", folder)
    tensors = load_file(folder / "model.safetensors")
    stored: dict[str, torch.Tensor] = {}
    for name, weight in tensors.items():
        if not name.endswith("_proj.weight"):
            stored[name] = weight
            continue
        scale = weight.abs().amax(1, keepdim=True) / 127
        stored[name] = (weight / scale).round().to(torch.int8)
        stored[f"{name}_scale"] = scale
        if scales is not None:
            index = len(stored)
            stored[name.replace("weight", "input_scale")] = torch.tensor([scales * index])
    save_file(stored, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    weights = {**INT8, "strategy": "channel"}
    group = {"targets": ["Linear"], "weights": weights, "input_activations": inputs}
    config["quantization_config"] = {
        "quant_method": "compressed-tensors", "format": "int-quantized", "ignore": ["lm_head"],
        "quantization_status": "compressed", "config_groups": {"group_0": group},
    }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def dense_copy(folder: Path, out: Path) -> Path:
    """The same model with its weights multiplied out."""
    checkpoint = open_checkpoint(folder)
    tensors = {name: checkpoint.read(name).float().contiguous() for name in checkpoint.names()}
    out.mkdir()
    save_file(tensors, out / "model.safetensors", {"format": "pt"})
    (out / "config.json").write_text(json.dumps(checkpoint.config))
    return out


DYNAMIC = {**INT8, "strategy": "token", "dynamic": True}
STATIC = {**INT8, "strategy": "tensor", "dynamic": False}


def test_a_checkpoints_dynamic_inputs(tmp_path):
    folder = w8a8(tmp_path / "a", DYNAMIC)
    graph = graph_of(open_checkpoint(folder), Serving(activations="checkpoint"))
    expected = by_compressed_tensors(dense_copy(folder, tmp_path / "b"), DYNAMIC)
    torch.testing.assert_close(graph.hidden(IDS), expected, rtol=0, atol=2e-4)
    same = graph_of(open_checkpoint(folder), Serving(activations="int8"))
    assert torch.equal(graph.hidden(IDS), same.hidden(IDS))


def test_a_checkpoints_static_scales(tmp_path):
    """Another scale in every layer, so that one that is mixed up shows."""
    folder = w8a8(tmp_path / "a", STATIC, 0.002)
    graph = graph_of(open_checkpoint(folder), Serving(activations="checkpoint"))
    assert not graph.simulation.per_sequence
    stored = load_file(folder / "model.safetensors")
    scales = {n[: -len(".input_scale")]: t for n, t in stored.items() if n.endswith("input_scale")}
    assert len(set(map(float, scales.values()))) == len(scales) == 14
    expected = by_compressed_tensors(dense_copy(folder, tmp_path / "b"), STATIC, scales)
    torch.testing.assert_close(graph.hidden(IDS), expected, rtol=0, atol=2e-4)


def test_a_checkpoint_that_declares_nothing_is_refused(tmp_path):
    save_tiny("llama", tmp_path)
    with pytest.raises(Incomparable, match="says how inputs of its layers are stored"):
        graph_of(open_checkpoint(tmp_path), Serving(activations="checkpoint"))


def test_declared_inputs_that_have_no_name_here_are_refused(tmp_path):
    folder = w8a8(tmp_path, {**INT8, "num_bits": 6, "strategy": "token", "dynamic": True})
    with pytest.raises(UnsupportedModel, match="asks for 6-bit integer inputs"):
        graph_of(open_checkpoint(folder), Serving(activations="checkpoint"))


@pytest.mark.parametrize(("name", "widest"), [("fp8-tensor", max), ("nvfp4", min)])
def test_experts_that_are_stacked_take_the_widest_scale(tiny, name, widest):
    """Scales that differ by expert give what the widest of each stack gives for all of it.

    The second-level scale of nvfp4 multiplies blocks' scales: the smaller, the wider.
    """
    checkpoint, graph = tiny("mixtral")
    kind = parse_activations(name)
    stored = [n for n in checkpoint.names() if ".experts." in n]
    assert len(stored) > 20

    def states(scale: Any) -> torch.Tensor:
        inputs = {
            n: DeclaredInput(kind, name, lambda at=at, n=n: torch.tensor(scale(n, at)))
            for at, n in enumerate(stored)
        }
        declared = replace(checkpoint, inputs=inputs)
        graph.load(declared, serving=Serving(activations="checkpoint"))
        return graph.hidden(IDS)

    def of(name: str, at: int) -> float:
        return 0.01 * (1 + at % 7) * (300 if kind.numbers == "nvfp4" else 1)

    def stack(name: str) -> tuple[str, bool]:
        return name.partition(".experts.")[0], ".w2." in name or "down" in name

    best = {
        key: widest(of(n, at) for at, n in enumerate(stored) if stack(n) == key)
        for key in map(stack, stored)
    }
    one_for_all = states(lambda n, at: best[stack(n)])
    assert torch.equal(states(of), one_for_all)
    other = {max: min, min: max}[widest]
    narrow = {
        key: other(of(n, at) for at, n in enumerate(stored) if stack(n) == key) for key in best
    }
    assert not torch.equal(states(lambda n, at: narrow[stack(n)]), one_for_all)


def test_experts_that_disagree_are_refused(tiny):
    checkpoint, graph = tiny("mixtral")
    stored = [n for n in checkpoint.names() if ".experts." in n]
    inputs = {n: DeclaredInput(parse_activations("fp8"), "fp8") for n in stored[1:]}
    with pytest.raises(UnsupportedModel, match="expected one type of inputs for"):
        graph.load(replace(checkpoint, inputs=inputs), serving=Serving(activations="checkpoint"))
