"""Oracles: group-wise rounding to nearest (computed here) and the settings asked for."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.errors import CheckpointError, QuantizationError, UsageError
from bitloss.formats import open_checkpoint
from bitloss.quantizers import make_variant
from bitloss.quantizers.base import Quantizer
from bitloss.quantizers.gptqmodel import AWQ, GPTQ, quantize
from bitloss.quantizers.gptqmodel_sizes import check_sizes
from bitloss.quantizers.linear_layers import LinearLayer, linear_layers
from bitloss.quantizers.workers import Workers
from bitloss.spec.calibration import Calibration
from bitloss.spec.recipe import parse_recipe
from bitloss.types import SilentProgress

MakeVariant = Callable[[str], Path]


def round_to_nearest(
    weight: torch.Tensor, bits: int, group: int, *, symmetric: bool
) -> torch.Tensor:
    groups = weight.float().reshape(-1, group)
    low, high = groups.amin(1, keepdim=True), groups.amax(1, keepdim=True)
    if symmetric:
        high = torch.maximum(high, -low)
        low = -high
    scale = (high - low) / (2**bits - 1)
    zero = torch.round(-low / scale)
    codes = torch.clamp(torch.round(groups / scale) + zero, 0, 2**bits - 1)
    return ((codes - zero) * scale).reshape(weight.shape)


def relative_error(got: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((got.float() - wanted.float()).norm() / wanted.float().norm())


def linears(model: Path) -> list[str]:
    return [f"{layer.name}.weight" for layer in linear_layers(model)]


def gptq_error(tiny: Path, made: Path) -> float:
    reference, quantized = open_checkpoint(tiny), open_checkpoint(made)
    errors = [relative_error(quantized.read(name), reference.read(name)) for name in linears(tiny)]
    return sum(errors) / len(errors)


def test_linear_layers_are_those_of_the_blocks(tiny: Path) -> None:
    layers = linear_layers(tiny)
    assert len(layers) == 14
    assert layers[1] == LinearLayer("model.layers.0.self_attn.k_proj", 128, 64)
    assert layers[-1] == LinearLayer("model.layers.1.mlp.down_proj", 256, 128)


@pytest.mark.parametrize(
    ("name", "group", "desc_act", "act_group_aware"),
    [("gptq-4", 128, False, False), ("gptq-4-g64-act", 64, True, False)],
)
def test_gptq_files_record_what_was_asked(
    variant: MakeVariant, name: str, group: int, desc_act: bool, act_group_aware: bool
) -> None:
    config = json.loads((variant(name) / "config.json").read_text())["quantization_config"]
    meta = config["meta"]
    assert (config["bits"], config["group_size"], config["sym"]) == (4, group, True)
    assert (config["desc_act"], meta["act_group_aware"]) == (desc_act, act_group_aware)
    assert (meta["damp_percent"], meta["mse"], meta["calibration"]) == (0.05, 0.0, "words.txt")


def test_act_order_permutes_the_groups(variant: MakeVariant) -> None:
    from safetensors.torch import load_file

    def index(name: str) -> torch.Tensor:
        weights = load_file(variant(name) / "model.safetensors")
        return weights["model.layers.0.mlp.down_proj.g_idx"]

    assert torch.equal(index("gptq-4"), torch.arange(256).int() // 128)
    assert not torch.equal(index("gptq-4-g64-act"), torch.arange(256).int() // 64)
    assert torch.equal(index("gptq-4-g64-act").bincount(), torch.full((4,), 64))


@pytest.mark.parametrize(("name", "group"), [("gptq-4", 128), ("gptq-4-g64-act", 64)])
def test_gptq_is_near_the_reference(
    tiny: Path, variant: MakeVariant, name: str, group: int
) -> None:
    reference, made = open_checkpoint(tiny), open_checkpoint(variant(name))
    for linear in linears(tiny):
        weight = reference.read(linear)
        nearest = relative_error(round_to_nearest(weight, 4, group, symmetric=True), weight)
        # Above rounding to nearest, because errors are moved to where the data are small.
        assert 0.8 * nearest < relative_error(made.read(linear), weight) < 2 * nearest


def test_more_bits_are_nearer(tiny: Path, variant: MakeVariant) -> None:
    errors = [gptq_error(tiny, variant(f"gptq-{bits}")) for bits in (8, 4, 3, 2)]
    assert errors == sorted(errors)
    # A step less for each bit: 2 to 2.4 times the error.
    assert errors[0] < errors[1] / 10


def test_what_is_not_quantized_is_untouched(tiny: Path, variant: MakeVariant) -> None:
    reference, made = open_checkpoint(tiny), open_checkpoint(variant("gptq-4"))
    dense = set(reference.names()) - set(linears(tiny))
    assert len(dense) == 7
    assert all(torch.equal(reference.read(name), made.read(name)) for name in dense)


def test_awq_is_near_the_reference(tiny: Path, variant: MakeVariant) -> None:
    reference, made = open_checkpoint(tiny), open_checkpoint(variant("awq-4"))
    # AWQ scales a weight's columns and divides the norm before it by the same.
    for norm, names in {
        "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
        "post_attention_layernorm": ("mlp.gate_proj",),
    }.items():
        for name in names:
            block = "model.layers.1."
            products = [
                checkpoint.read(f"{block}{name}.weight").float()
                * checkpoint.read(f"{block}{norm}.weight").float()
                for checkpoint in (reference, made)
            ]
            nearest = relative_error(
                round_to_nearest(products[0], 4, 128, symmetric=False), products[0]
            )
            assert 0.5 * nearest < relative_error(products[1], products[0]) < 2 * nearest


@pytest.mark.parametrize("name", ["gptq-4", "awq-4"])
def test_the_same_recipe_gives_the_same_bytes(
    tiny: Path, text: Path, variant: MakeVariant, tmp_path: Path, name: str
) -> None:
    recipe = parse_recipe(name, calibration=Calibration(str(text), 16, 64))
    again = make_variant(
        recipe, tiny, model_digest="another entry of the cache", data=None, cache=tmp_path,
        progress=SilentProgress(),
    )  # fmt: skip
    weights = [folder / "model.safetensors" for folder in (variant(name), again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_variant_is_complete_and_says_how_it_was_made(tiny: Path, variant: MakeVariant) -> None:
    made = variant("awq-4")
    for file in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (made / file).read_bytes() == (tiny / file).read_bytes()
    record = json.loads((made / "recipe.json").read_text())
    assert record["recipe"]["options"]["group_size"] == 128
    assert record["versions"]["gptqmodel"].startswith("7.")
    assert record["calibration"]["sequences"] == 16


def shape_of(tiny: Path, path: Path, **sizes: Any) -> Path:
    shutil.copytree(tiny, path)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**config, **sizes}))
    return path


@pytest.mark.parametrize(
    ("recipe", "sizes", "message", "hint"),
    [
        (
            "gptq-4-g128",
            {"intermediate_size": 192},
            r"down_proj` has 192 inputs.* 128",
            "`gptq-4-g64`",
        ),
        ("gptq-4-g64", {"intermediate_size": 172}, "down_proj` has 172 inputs", "`gptq-4-row`"),
        ("gptq-4-g48", {}, "expected a group size of 16, 32, 64", "`gptq-4-g128`"),
        ("gptq-3-row", {"intermediate_size": 172}, "172 outputs; 3-bit", "`gptq-4-row`"),
        ("gptq-4-row-aga", {}, "`-aga` reorders", "`gptq-4-g128-aga`"),
        ("awq-4", {"head_dim": 16, "hidden_size": 128}, "v_proj` has 16 outputs", "`gptq-4-row`"),
    ],
)
def test_sizes_that_do_not_fit_are_named_before_the_work(
    tiny: Path, tmp_path: Path, recipe: str, sizes: dict[str, int], message: str, hint: str
) -> None:
    model = shape_of(tiny, tmp_path / "model", **sizes)
    parsed = parse_recipe(recipe)
    with pytest.raises(QuantizationError, match=message) as caught:
        check_sizes(parsed.method, parsed.options, model)
    assert hint in caught.value.hint


def carry_out(
    name: str, model: Path, out: Path, ids: list[int], *, device: str = "cpu", workers: Any = None
) -> None:
    quantize(
        parse_recipe(name), model, out, calibration=[ids], device=device,
        progress=SilentProgress(), workers=workers or Workers(),
    )  # fmt: skip


def test_sizes_are_checked_by_the_worker(tiny: Path, tmp_path: Path) -> None:
    model = shape_of(tiny, tmp_path / "model", intermediate_size=192)
    with pytest.raises(QuantizationError, match="groups of 128 do not divide") as caught:
        carry_out("gptq-4-g128", model, tmp_path, [5] * 32)
    assert "`gptq-4-g64`" in caught.value.hint


def test_a_quantized_model_is_not_quantized_again(variant: MakeVariant, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match=r"starts from an unquantized model.*gptq"):
        carry_out("gptq-8", variant("gptq-4"), tmp_path, [5] * 32)


def test_no_model_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no model"):
        carry_out("gptq-8", tmp_path / "nothing", tmp_path, [5] * 32)


def test_a_model_type_the_library_does_not_know_is_named(tiny: Path, tmp_path: Path) -> None:
    model = shape_of(tiny, tmp_path / "model", model_type="bert", architectures=["BertModel"])
    (tmp_path / "out").mkdir()
    with pytest.raises(QuantizationError, match="bert"):
        carry_out("gptq-4-g64", model, tmp_path / "out", [5] * 32)


def test_sequences_that_the_library_drops_are_refused(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match="more than 10 tokens, got 10"):
        carry_out("gptq-4", tiny, tmp_path, [5] * 10)


@pytest.mark.parametrize("device", ["cuda:99", "cuda:first"])
def test_a_device_that_is_not_there_is_refused(tiny: Path, tmp_path: Path, device: str) -> None:
    with pytest.raises(UsageError, match=f"a CUDA device of this machine.*got `{device}`"):
        carry_out("gptq-4", tiny, tmp_path, [5] * 32, device=device)


@pytest.mark.usefixtures("started_fresh")
@pytest.mark.parametrize("name", ["gptq-4", "awq-4"])
def test_the_bytes_do_not_depend_on_the_cores_that_are_free(
    text: Path, variant: MakeVariant, tiny: Path, tmp_path: Path, name: str
) -> None:
    """Oracle: the variant that was made with all cores; here the process may use only one."""
    if not hasattr(os, "sched_setaffinity") or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("needs two cores, and a system that can take one away")
    made = variant(name)
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        again = make_variant(
            parse_recipe(name, calibration=Calibration(str(text), 16, 64)), tiny,
            model_digest="one core", data=None, cache=tmp_path, progress=SilentProgress(),
        )  # fmt: skip
    finally:
        os.sched_setaffinity(0, allowed)
    weights = [folder / "model.safetensors" for folder in (made, again)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_the_worker_starts_as_many_threads_as_the_machine_has_cores(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    workers = Recorded()
    carry_out("gptq-4", tiny, tmp_path, [5] * 32, workers=workers)
    assert workers.spec["threads"] == os.cpu_count()
    assert workers.options["env"]["OMP_NUM_THREADS"] == str(os.cpu_count())
    assert GPTQ.settings(parse_recipe("gptq-4"), "cpu")["threads"] == os.cpu_count()


class Recorded(Workers):
    """Runs nothing; keeps what it was to run."""

    def run(self, module: str, spec: Any, **options: Any) -> dict[str, Any]:
        self.spec, self.options = spec, options
        return {}


def test_only_a_worker_on_the_gpu_sees_one(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    for device, hidden in (("cpu", True), ("cuda:1", False)):
        workers = Recorded()
        carry_out("gptq-4", tiny, tmp_path, [5] * 32, device=device, workers=workers)
        assert workers.spec["device"] == device
        assert (workers.options["env"].get("CUDA_VISIBLE_DEVICES") == "") is hidden


@pytest.mark.parametrize("plug", [GPTQ, AWQ])
def test_the_kind_of_device_decides_the_bytes(plug: Quantizer) -> None:
    """`--device` is in the fingerprint, by kind: the second GPU gives the bytes of the first."""
    recipe = parse_recipe(plug.common[0])
    devices = [plug.device(asked) for asked in ("cpu", "mps", "cuda", "cuda:1")]
    assert devices == ["cpu", "cpu", "cuda", "cuda:1"]
    settings = [plug.settings(recipe, device) for device in devices]
    assert settings[0] == settings[1] != settings[2] == settings[3]


def test_this_process_builds_no_model(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """transformers sets globals of torch and of its own while it builds one, for all threads."""
    from transformers import AutoModelForCausalLM

    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError("a model is built in this process")

    monkeypatch.setattr(AutoModelForCausalLM, "from_config", refuse)
    monkeypatch.setattr(AutoModelForCausalLM, "from_pretrained", refuse)
    workers = Recorded()
    carry_out("gptq-4", tiny, tmp_path, [5] * 32, workers=workers)
    assert workers.spec["method"] == "gptq"


@pytest.mark.parametrize(
    ("name", "bits"), [("gptq-4", 4.156), ("gptq-4-g64-act", 4.3125), ("gptq-8-row", 8.0)]
)
def test_bits_per_weight_count_the_scales(name: str, bits: float) -> None:
    """16 bits of a scale and a zero point for each group of 128, 64, or none."""
    assert GPTQ.bits_per_weight(parse_recipe(name)) == pytest.approx(bits, abs=1e-3)


def test_a_trained_model_with_text_that_it_knows(pocket: Path, tmp_path: Path) -> None:
    recipe = parse_recipe("gptq-4-g64", calibration=Calibration("pocket-calibration-mixed", 4, 256))
    made = make_variant(
        recipe, pocket, model_digest="pocket", data=None, cache=tmp_path, progress=SilentProgress()
    )
    assert 0.05 < gptq_error(pocket, made) < 0.2


def test_a_published_model_with_odd_sizes(shared: Path, tmp_path: Path) -> None:
    model = shared / "models" / "stories260K"
    recipe = parse_recipe("gptq-8-row", calibration=Calibration(samples=4, length=64))
    made = make_variant(
        recipe, model, model_digest="stories", data=shared / "data", cache=tmp_path,
        progress=SilentProgress(),
    )  # fmt: skip
    assert gptq_error(model, made) < 0.02
