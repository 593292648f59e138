"""Values of configs that cannot be: named with what was expected and what was got, in no time.

Oracle: arithmetic by hand (heads divide the width, a layer has tensors), and for what is right,
the configs of published models.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitloss.errors import CheckpointError
from bitloss.formats import open_checkpoint
from bitloss.formats.architectures import ARCHITECTURES
from bitloss.formats.base import text_config
from bitloss.formats.configs.door import check_relations, check_values, explain_refusal
from bitloss.formats.configs.parsing import parse_config, require_valid
from peers.tiny import save_tiny

LLAMA: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64,
    "num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 320,
    "rms_norm_eps": 1e-5, "rope_parameters": {"rope_type": "default", "rope_theta": 1e4},
    "hidden_act": "silu", "bos_token_id": 0, "eos_token_id": [1, 2], "pad_token_id": None,
    "intermediate_size": 96, "max_position_embeddings": 128, "tie_word_embeddings": False,
}  # fmt: skip


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("hidden_size", 64.0, "`hidden_size`: expected a whole number from 1 to"),
        ("hidden_size", True, "got True"),
        ("num_attention_heads", 0, "from 1 to 2147483647, got 0"),
        ("num_key_value_heads", -2, "got -2"),
        ("num_hidden_layers", 1_000_000, "from 0 to 20, got 1000000"),
        ("vocab_size", 1 << 40, "got 1099511627776"),
        ("rms_norm_eps", float("nan"), "expected a number from 0 to 1, got nan"),
        ("layer_norm_epsilon", "x", "`layer_norm_epsilon`: expected a number from 0 to 1, got 'x'"),
        ("rope_theta", 0, "expected a finite number above 0, got 0"),
        ("rope_parameters", [1], "expected a JSON object, got [1]"),
        ("rope_parameters", {"factor": -1}, "`rope_parameters.factor`"),
        ("text_config", {"n_head": None}, "`text_config.n_head`: expected a whole number"),
        ("vision_config", {"num_hidden_layers": 10**9}, "`vision_config.num_hidden_layers`"),
        ("hidden_act", None, "expected the name of a function, got None"),
        ("architectures", 4, "expected a list of names, got 4"),
        ("eos_token_id", "x", "expected a token id, a list of them or null, got 'x'"),
        ("tie_word_embeddings", "yes", "expected true or false, got 'yes'"),
        ("num_experts", "9" * 5000, "expected a whole number from 0"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be(key: str, value: Any, words: str) -> None:
    with pytest.raises(CheckpointError) as raised:
        check_values({**LLAMA, key: value}, "config.json", tensors=20)
    assert words in raised.value.message
    assert raised.value.message.startswith("config.json: ")
    assert len(raised.value.message) < 250
    assert raised.value.hint.startswith("download")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"head_dim": None, "num_key_value_heads": None, "n_inner": None},  # GPT-2, Llama 2
        {"intermediate_size": [96, 128]},  # Gemma 3n
        {"pad_token_id": -1},  # Llama 1
        {"sliding_window": None, "hidden_activation": None},  # Mistral, Gemma
        {"time_step_limit": [0.0, float("inf")]},  # Mamba 2
        {"num_local_experts": 0, "n_shared_experts": None},
        {"anything": float("nan")},
    ],
)
def test_what_published_configs_have(values: dict[str, Any]) -> None:
    check_values(LLAMA | values, "config.json", tensors=20)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_key_value_heads": 3}, "expected a divisor of the 4 heads of queries, got 3"),
        ({"head_dim": 15}, "`head_dim`: expected an even number"),
    ],
)  # fmt: skip
def test_values_that_do_not_fit_together(values: dict[str, Any], words: str) -> None:
    config = LLAMA | values
    with pytest.raises(CheckpointError) as raised:
        check_relations(config, SimpleNamespace(**config), "model")
    assert words in raised.value.message


def test_a_width_of_heads_that_is_given_need_not_divide() -> None:
    """Gemma 2 has 8 heads of 256 over a width of 2304; Qwen 3 16 of 128 over 1024."""
    config = LLAMA | {"hidden_size": 2300, "num_attention_heads": 8, "head_dim": 256}
    check_relations(config, SimpleNamespace(**config), "model")
    error = explain_refusal(config, "the config")  # for a class that wants them to
    assert error is not None
    assert "a divisor of the width 2300, got 8" in error.message
    assert explain_refusal(LLAMA, "the config") is None


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_defaults_of_every_class(kind: str) -> None:
    """Oracle: transformers' own defaults, which are those of a published model."""
    from transformers import AutoConfig

    config = json.loads(AutoConfig.for_model(kind).to_json_string(use_diff=False))
    check_values(config, "config.json", tensors=1000)
    parsed = parse_config(config, None).get_text_config(decoder=True)
    check_relations(text_config(config), parsed, "model")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny")
    save_tiny(folder, "llama")
    return folder


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"num_hidden_layers": 9}, "expected at most 2, as the weights have layers, got 9"),
        ({"intermediate_size": 1_000_000}, "expected a number near 320"),
        ({"hidden_size": 128}, "expected 64, as `model.embed_tokens.weight` has, got 128"),
        ({"pad_token_id": 320}, "expected a token below the 320 of `vocab_size`, got 320"),
        ({"hidden_size": 62}, "expected a divisor of the width 62, got 4"),
    ],
)  # fmt: skip
def test_a_config_of_other_weights(
    tiny: Path, tmp_path: Path, values: dict[str, Any], words: str
) -> None:
    config = json.loads((tiny / "config.json").read_text()) | values
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").symlink_to(tiny / "model.safetensors")
    with pytest.raises(CheckpointError) as raised:
        require_valid(open_checkpoint(tmp_path), None)
    assert words in raised.value.message


def test_the_right_config(tiny: Path) -> None:
    require_valid(open_checkpoint(tiny), None)
