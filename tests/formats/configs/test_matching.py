"""Oracle: transformers' own forward with the changed config and the same weights."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from bitloss.errors import CheckpointError, Incomparable, UnsupportedModel
from bitloss.formats.configs.matching import ModelConfig, compare_configs
from bitloss.formats.configs.parsing import parse_config, require_valid
from peers.config_changes import changes

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320,
    "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_type": "default", "rope_theta": 500000.0},
}  # fmt: skip
LLAMA3 = {
    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
OLD_LLAMA3 = {("type" if key == "rope_type" else key): LLAMA3[key] for key in LLAMA3}
GEMMA3 = {
    "model_type": "gemma3_text", "hidden_size": 64, "intermediate_size": 96, "head_dim": 16,
    "num_hidden_layers": 6, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320,
    "max_position_embeddings": 128, "sliding_window": 16, "query_pre_attn_scalar": 16,
}  # fmt: skip
# Bit-identical wherever nothing changes, and one of each way to be moved: rope by kind of layer,
# wrappers, alibi, learned positions, multipliers, experts, caps.
ORACLES = ("llama", "gemma2", "gemma3", "falcon", "gpt2", "granite", "qwen2_moe", "deepseek_v3")


def compare(
    reference: dict[str, Any], variant: dict[str, Any], implied: frozenset[str] | None = None
) -> tuple[str, ...]:
    return compare_configs(
        ModelConfig("reference", reference), ModelConfig("variant", variant, implied=implied)
    )


def without(values: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in keys}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ORACLES)
def test_a_value_that_moves_logits_is_refused(name: str, tmp_path: Path) -> None:
    """benchmarks/config_keys.py does the same for every listed architecture."""
    original, found = changes(name, tmp_path)
    assert compare(original, copy.deepcopy(original)) == ()
    decisive = 0
    for change in found:
        # Rows of the vocabulary are compared with the tokenizers; the other is Falcon's kernel.
        if change.path.rpartition(".")[2] in ("vocab_size", "output_attentions"):
            continue
        if change.effect in ("moves", "shape"):
            decisive += 1
            with pytest.raises((Incomparable, CheckpointError)):
                compare(original, change.config)
    assert decisive > 10


@pytest.mark.parametrize(
    ("reference", "variant"),
    [
        (LLAMA, without(LLAMA, "rope_parameters") | {"rope_theta": 500000}),
        (LLAMA, LLAMA | {"rms_norm_eps": 9.999999747378752e-06}),
        (LLAMA, LLAMA | {"head_dim": 16, "attention_bias": False, "rope_scaling": None}),
        (LLAMA, LLAMA | {"max_position_embeddings": 64}),
        (LLAMA, LLAMA | {"hidden_act": "swish", "torch_dtype": "float16", "pretraining_tp": 2}),
        (LLAMA, LLAMA | {"bos_token_id": 5, "use_cache": False, "_name_or_path": "elsewhere"}),
        (LLAMA, LLAMA | {"unsloth_fixed": True, "what_nobody_reads": 3, "vocab_size": 384}),
        (
            LLAMA | {"rope_parameters": {"rope_theta": 1e4, **LLAMA3}},
            without(LLAMA, "rope_parameters")
            | {"rope_theta": 1e4, "rope_scaling": OLD_LLAMA3},
        ),
        (LLAMA, LLAMA | {"model_type": "mistral", "sliding_window": None}),
        (LLAMA, LLAMA | {"model_type": "mistral", "sliding_window": 4096}),  # beyond the context
        (
            GEMMA3,
            {"model_type": "gemma3", "text_config": without(GEMMA3, "model_type")
             | {"rope_theta": 1e6, "rope_local_base_freq": 1e4}},
        ),
        # As gptqmodel saves it: transformers 5 leaves the old names beside the kinds of layers.
        (
            without(GEMMA3, "rope_parameters")
            | {"rope_theta": 1e6, "rope_local_base_freq": 1e4},
            without(GEMMA3, "rope_parameters")
            | {"rope_parameters": {
                "full_attention": {"rope_theta": 1e6, "rope_type": "default"},
                "sliding_attention": {"rope_theta": 1e4, "rope_type": "default"},
                "rope_theta": {"global": 1e6, "local": 1e4}, "rope_type": "default"}},
        ),
    ],
)  # fmt: skip
def test_equal_computations_are_equal(reference: dict[str, Any], variant: dict[str, Any]) -> None:
    assert compare(reference, variant) == compare(variant, reference) == ()


@pytest.mark.parametrize(
    ("reference", "variant", "words"),
    [
        (LLAMA, {"rms_norm_eps": 1e-6}, r"variant has `rms_norm_eps` 1e-06, reference has 1e-05"),
        (LLAMA, {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4}},
         r"`rope_parameters.rope_theta` 10000.0, reference has 500000.0"),
        (LLAMA, {"rope_parameters": {"rope_theta": 5e5, **LLAMA3}}, "`rope_parameters.rope_type`"),
        (LLAMA, {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5}},
         "`rope_parameters.rope_type` linear"),
        (LLAMA, {"attention_bias": True}, "`attention_bias` True, reference has False"),
        (LLAMA, {"hidden_act": "gelu"}, "`hidden_act` gelu, reference has silu"),
        (LLAMA, {"model_type": "qwen2"}, "`model_type` qwen2, reference has llama"),
        (LLAMA, {"model_type": "mistral", "sliding_window": 32}, "`sliding_window` 32"),
        (LLAMA, {"hidden_size": 128, "rms_norm_eps": 1.0},
         "`hidden_size` 128, reference has 64; `head_dim`, `rms_norm_eps` differ too"),
        (GEMMA3, {"final_logit_softcapping": 30.0}, "`final_logit_softcapping` 30.0, .* none"),
        (GEMMA3, {"sliding_window": 32}, "`sliding_window` 32, reference has 16"),
        (GEMMA3, {"layer_types": ["full_attention"] * 6}, r"`layer_types\[0\]` full_attention"),
        (GEMMA3, {"rope_local_base_freq": 1e5},
         r"`rope_parameters.sliding_attention.rope_theta` 100000.0, reference has 10000.0"),
        (GEMMA3, {"rope_scaling": {"rope_type": "linear", "factor": 8.0}},
         r"`rope_parameters.full_attention.rope_type` linear"),
    ],
)  # fmt: skip
def test_a_difference_is_named_with_both_values(
    reference: dict[str, Any], variant: dict[str, Any], words: str
) -> None:
    with pytest.raises(Incomparable, match=words) as caught:
        compare(reference, reference | variant)
    assert caught.value.hint
    assert caught.value.exit_code == 1


def test_lengths_count_where_a_scaling_or_a_table_depends_on_them() -> None:
    dynamic = {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}}
    with pytest.raises(Incomparable, match="max_position_embeddings"):
        compare(LLAMA | dynamic, LLAMA | dynamic | {"max_position_embeddings": 64})
    gpt2 = {"model_type": "gpt2", "n_embd": 64, "n_layer": 2, "n_head": 4, "n_positions": 128}
    with pytest.raises(Incomparable, match="`n_positions` 64, reference has 128"):
        compare(gpt2, gpt2 | {"n_positions": 64})
    assert compare(gpt2, gpt2 | {"n_inner": 256, "n_ctx": 64}) == ()


def _as_factors(parameters: dict[str, Any]) -> dict[str, Any]:
    """The way GGUF keeps Llama 3's scaling: divisors of frequencies, by the formula."""
    theta, width = 1e4, 16
    plain = [theta ** (-2 * i / width) for i in range(width // 2)]
    from bitloss.formats.configs.rope import _tables

    scaled = _tables(parse_config(LLAMA | {"rope_parameters": parameters}, None), 1)["inv_freq"]
    factors = [a / b for a, b in zip(plain, scaled.tolist(), strict=True)]
    return {
        "rope_type": "longrope", "rope_theta": theta, "short_factor": factors, "factor": 1.0,
        "long_factor": factors, "attention_factor": 1.0, "original_max_position_embeddings": 128,
    }  # fmt: skip


def test_rope_is_compared_by_its_tables() -> None:
    scaled = {"rope_theta": 1e4, **LLAMA3}
    reference = LLAMA | {"rope_parameters": scaled}
    assert compare(reference, LLAMA | {"rope_parameters": _as_factors(scaled)}) == ()
    other = _as_factors(scaled | {"factor": 4.0})
    with pytest.raises(Incomparable, match="rope_parameters"):
        compare(reference, LLAMA | {"rope_parameters": other})


def test_what_a_file_cannot_state_is_no_difference() -> None:
    nothing: frozenset[str] = frozenset()
    reference = LLAMA | {"mlp_bias": False, "hidden_act": "gelu"}
    stated = without(LLAMA, "rms_norm_eps")
    assert compare(reference, stated, nothing) == ()
    with pytest.raises(Incomparable, match="rms_norm_eps"):
        compare(reference, stated | {"rms_norm_eps": 1e-6}, nothing)
    # What llama.cpp's code does, whatever the reference's config says, is noted.
    (note,) = compare(reference, stated | {"hidden_act": "silu"}, frozenset({"hidden_act"}))
    assert note == (
        "its file cannot state `hidden_act`: llama.cpp takes silu, the reference has gelu"
    )


def test_a_head_of_its_own_is_not_tied_away() -> None:
    untied, tied = LLAMA | {"tie_word_embeddings": False}, LLAMA | {"tie_word_embeddings": True}
    assert compare(tied, untied) == ()
    with pytest.raises(Incomparable, match="`tie_word_embeddings` True, reference has False"):
        compare(untied, tied)
    own = ModelConfig("variant", tied, ["model.embed_tokens.weight", "lm_head.weight"])
    assert compare_configs(ModelConfig("reference", untied), own) == ()


class Stored:
    """Satisfies as much of `Checkpoint` as the comparison reads."""

    def __init__(self, **config: Any) -> None:
        self.config = LLAMA | config

    def names(self) -> tuple[str, ...]:
        return tuple(f"model.layers.{n}.weight" for n in range(12))

    @property
    def info(self) -> Any:
        return SimpleNamespace(name="stored")


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"hidden_act": None}, "'hidden_act' expected str, got NoneType"),
        ({"hidden_size": "64"}, "'hidden_size' expected int, got str"),
        ({"hidden_size": 65}, "expected a divisor of the width 65, got"),
        ({"bos_token_id": "x"}, "'bos_token_id' with value 'x'"),
        ({"num_hidden_layers": 100_000}, "expected at most 12, as the weights have layers, got 1"),
    ],
)
def test_values_that_cannot_be(config: dict[str, Any], words: str) -> None:
    with pytest.raises(CheckpointError, match=words):
        require_valid(Stored(**config), None)  # type: ignore[arg-type]
    with pytest.raises(UnsupportedModel, match="no causal language model for model type `mine`"):
        parse_config({"model_type": "mine"}, None)
