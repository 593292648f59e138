"""The group size of a recipe that names none. Oracle: sizes that were divided by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from bitloss.formats import open_checkpoint
from bitloss.quantizers import fit_recipe, make_variant
from bitloss.spec.calibration import Calibration
from bitloss.spec.recipe import parse_recipe
from bitloss.types import SilentProgress


@pytest.mark.parametrize("method", ["gptq", "awq"])
@pytest.mark.parametrize(
    ("inputs", "group", "note"),
    [
        ((128, 256), 128, ()),
        ((576, 1536), 64, ("groups of 64: groups of 128 do not divide rows of 576",)),
        ((96, 256), 32, ("groups of 32: groups of 128 do not divide rows of 96",)),
        ((64, 172), 128, ()),  # nothing fits: the worker refuses what is usual
    ],
)
def test_a_name_without_a_group_takes_the_largest_that_divides_all_rows(
    tmp_path: Path, method: str, inputs: tuple[int, int], group: int, note: tuple[str, ...]
) -> None:
    """Oracle: 576 = 9 * 64, 1536 = 12 * 128, 96 = 3 * 32, worked out by hand."""
    model = dense_model(tmp_path, "llama", [(8, size) for size in inputs], (100, 33))
    recipe, notes = fit_recipe(parse_recipe(f"{method}-4"), model)
    assert (recipe.options.group_size, notes) == (group, note)
    assert recipe.to_dict()["name"] == f"{method}-4-g{group}"
    assert fit_recipe(recipe, model) == (recipe, ())
    for explicit in (f"{method}-4-g128", f"{method}-4-row"):
        parsed = parse_recipe(explicit)
        assert fit_recipe(parsed, model) == (parsed, ())


def test_rows_of_conv1d_layers_are_their_first_dimension(tmp_path: Path) -> None:
    model = dense_model(tmp_path, "gpt2", [(64, 128)], (100, 64))
    assert fit_recipe(parse_recipe("gptq-4"), model)[0].options.group_size == 64


def dense_model(
    path: Path, model_type: str, matrices: list[tuple[int, int]], embedding: tuple[int, int]
) -> Path:
    """Files of a model whose only matrices are these: headers are all that is read."""
    from safetensors.torch import save_file

    tensors = {f"h.{n}.layer.weight": torch.zeros(shape) for n, shape in enumerate(matrices)}
    tensors |= {"embed.weight": torch.zeros(embedding), "h.0.norm.weight": torch.zeros(3)}
    save_file(tensors, path / "model.safetensors", {"format": "pt"})
    (path / "config.json").write_text(json.dumps({"model_type": model_type}))
    return path


def test_the_group_that_was_chosen_is_made_recorded_and_noted(
    tiny: Path, text: Path, tmp_path: Path
) -> None:
    """192 inputs are three groups of 64; nothing else of the recipe changes."""
    from transformers import LlamaConfig, LlamaForCausalLM

    model = tmp_path / "model"
    shutil.copytree(tiny, model)
    sizes = {**json.loads((tiny / "config.json").read_text()), "intermediate_size": 192}
    torch.manual_seed(0)
    LlamaForCausalLM(LlamaConfig(**sizes)).to(torch.bfloat16).save_pretrained(model)
    recipe = parse_recipe("gptq-4", calibration=Calibration(str(text), 4, 64))
    made = make_variant(
        recipe, model, model_digest="d", data=None, cache=tmp_path, progress=SilentProgress()
    )
    assert open_checkpoint(made).info.group_size == 64
    record = json.loads((made / "recipe.json").read_text())
    assert record["recipe"]["name"].startswith("gptq-4-g64@")
    assert record["recipe"]["options"]["group_size"] == record["settings"]["group_size"] == 64
    assert record["notes"] == ["groups of 64: groups of 128 do not divide rows of 192"]
    assert made.name.startswith("gptq-4-g64")
