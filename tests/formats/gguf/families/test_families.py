"""Oracles: llama.cpp's converter, by what it wrote for the same models; transformers' logits.

`benchmarks/gguf_families.py` ran the converter and recorded metadata and a digest of all tensors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.configs.matching import ModelConfig, compare_configs
from bitloss.formats.gguf import GgufCheckpoint, open_checkpoint
from bitloss.formats.gguf.families.table import FAMILIES
from peers.gguf_cases import CASES, VOCABULARY, make
from peers.gguf_family import RECORD, digest, stored_tensors, write


def _filled(checkpoint: GgufCheckpoint) -> Any:
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**checkpoint.config)
    model: Any = AutoModelForCausalLM.from_config(config)
    result = model.load_state_dict(
        {name: checkpoint.read(name) for name in checkpoint.names()}, strict=False
    )
    assert not result.unexpected_keys
    assert set(result.missing_keys) <= set(model.all_tied_weights_keys)
    model.tie_weights()
    return model.float().eval()


def test_every_family_has_a_case() -> None:
    assert {kind for kind, _ in CASES.values()} == set(FAMILIES)
    assert set(RECORD) == set(CASES)


@pytest.mark.filterwarnings("ignore:.*:FutureWarning")
@pytest.mark.parametrize("case", list(CASES))
def test_a_family_is_read_as_the_converter_wrote_it(case: str, tmp_path: Path) -> None:
    model = make(case)
    tensors = stored_tensors(case, model)
    assert digest(tensors) == RECORD[case]["digest"]
    checkpoint = open_checkpoint(write(tmp_path / "model.gguf", case, tensors))
    published = ModelConfig("published", json.loads(json.dumps(model.config.to_dict())))
    own = ModelConfig("file", checkpoint.config, checkpoint.names(), checkpoint.implied)
    assert compare_configs(published, own) == compare_configs(own, published) == ()
    state = model.state_dict()
    for name in checkpoint.names():
        value = checkpoint.read(name)
        assert value.shape == checkpoint.shape(name) == state[name].shape
        torch.testing.assert_close(value, state[name], rtol=0, atol=2e-7)
    ids = torch.from_numpy(np.random.default_rng(0).integers(5, VOCABULARY, (1, 72)))
    with torch.no_grad():
        theirs = model(ids).logits
        torch.testing.assert_close(_filled(checkpoint)(ids).logits, theirs, rtol=1e-5, atol=2e-5)


@pytest.fixture(scope="module")
def llama() -> dict[str, torch.Tensor]:
    return stored_tensors("llama", make("llama"))


def _changed(case: str, **changes: Any) -> dict[str, Any]:
    values = {**RECORD[case]["metadata"]}
    for key, value in changes.items():
        values[key.replace("__", ".")] = value
    return values


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"attention__head_count": 64}, "expected shape"),
        ({"attention__head_count": 0}, "expected a whole number from 1"),
        ({"attention__head_count_kv": 0}, "expected a whole number from 1"),
        ({"attention__head_count_kv": 3}, "a divisor of the 4 heads"),
        ({"block_count": 4294967295}, "expected a whole number from 0"),
        ({"block_count": 3}, "expected 2, as there are tensors of, got 3"),
        ({"block_count": "two"}, "expected a whole number from 0 .* got 'two'"),
        ({"embedding_length": 63}, "expected 64, as `token_embd.weight` has, got 63"),
        ({"feed_forward_length": 95}, "expected shape"),
        ({"rope__dimension_count": 7}, "expected an even number up to 32, got 7"),
        ({"rope__freq_base": float("inf")}, "expected a finite number, got inf"),
        ({"rope__freq_base": float("nan")}, "expected a finite number, got nan"),
        ({"rope__freq_base": -1.0}, r"expected a number above 0, got -1\.0"),
        ({"attention__layer_norm_rms_epsilon": float("nan")}, "expected a finite number"),
    ],
)
def test_values_that_cannot_be_are_errors(
    tmp_path: Path, llama: dict[str, torch.Tensor], changes: dict[str, Any], words: str
) -> None:
    path = write(tmp_path / "model.gguf", "llama", llama, _changed("llama", **changes))
    with pytest.raises(CheckpointError, match=words):
        open_checkpoint(path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"attention__clamp_kqv": 8.0},
            r"metadata `llama\.attention\.clamp_kqv` is not understood",
        ),
        ({"rope__scaling__type": "yarn", "rope__scaling__factor": 2.0}, "rope scaling `yarn`"),
        ({"attention__causal": False}, r"metadata `llama\.attention\.causal` is not understood"),
        ({"attention__value_length": 16}, r"`llama\.attention\.value_length` is 16"),
        ({"rope__dimension_count": 16}, r"`llama\.rope\.dimension_count` is 16"),
        ({"attention__head_count_kv": [1, 2]}, "differs from layer to layer"),
    ],
)
def test_what_is_not_understood_is_refused_by_name(
    tmp_path: Path, llama: dict[str, torch.Tensor], changes: dict[str, Any], words: str
) -> None:
    path = write(tmp_path / "model.gguf", "llama", llama, _changed("llama", **changes))
    with pytest.raises(UnsupportedModel, match=words):
        open_checkpoint(path)


def test_values_that_say_the_usual_are_read(tmp_path: Path, llama: dict[str, torch.Tensor]) -> None:
    usual = {"attention__causal": True, "expert_used_count": 0}
    open_checkpoint(write(tmp_path / "model.gguf", "llama", llama, _changed("llama", **usual)))


def test_tensors_are_neither_missing_nor_left_over(
    tmp_path: Path, llama: dict[str, torch.Tensor]
) -> None:
    less = {name: value for name, value in llama.items() if name != "blk.1.ffn_up.weight"}
    with pytest.raises(CheckpointError, match=r"no tensor `blk\.1\.ffn_up\.weight`"):
        open_checkpoint(write(tmp_path / "less.gguf", "llama", less))
    more = llama | {"blk.1.attn_sinks.weight": torch.zeros(4)}
    with pytest.raises(UnsupportedModel, match=r"tensor `blk\.1\.attn_sinks\.weight` is not part"):
        open_checkpoint(write(tmp_path / "more.gguf", "llama", more))


def test_layers_that_predict_further_tokens_are_left_out(tmp_path: Path) -> None:
    """GLM 4.5's files end with one; llama.cpp does not run it either."""
    model = make("glm4moe")
    tensors = stored_tensors("glm4moe", model)
    extra = {"blk.3.nextn.eh_proj.weight": torch.zeros(64, 128)}
    metadata = _changed("glm4moe", block_count=4, nextn_predict_layers=1)
    path = write(tmp_path / "model.gguf", "glm4moe", tensors | extra, metadata)
    assert set(open_checkpoint(path).names()) == set(model.state_dict())


def test_a_factor_without_a_type_scales_linearly(tmp_path: Path) -> None:
    """As llama.cpp's loader has it; an old key too."""
    tensors = stored_tensors("qwen3", make("qwen3"))
    for key in ("rope__scaling__factor", "rope__scale_linear"):
        metadata = _changed("qwen3", **{key: 4.0})
        checkpoint = open_checkpoint(write(tmp_path / f"{key}.gguf", "qwen3", tensors, metadata))
        assert checkpoint.config["rope_parameters"]["rope_type"] == "linear"
        assert checkpoint.config["rope_parameters"]["factor"] == 4.0


def test_the_record_is_the_converters() -> None:
    """Nothing in it depends on a machine: no paths, no dates."""
    text = json.dumps(RECORD)
    assert "/" not in text
