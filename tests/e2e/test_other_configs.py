"""Configs that are broken, or another model's: two lines that say it, and no number.

The wording is the oracle: each case names the words that a user needs to see.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bitloss.cli.main import main
from peers.complaints import Break, Captured, config

RUN = ["--corpus", "./fox.txt", "--limit", "1", "--out", "run"]


def nested(model: Path) -> None:
    (model / "config.json").write_text('{"a":' * 99_999)


def fewer_rows(model: Path) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(model / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:200].clone()
    save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})
    config(vocab_size=200)(model)


BROKEN: dict[str, tuple[Break, str, str]] = {
    "nested too deep": (
        nested, "config.json: not valid JSON: lists or objects more than 100 deep",
        "copy it again"),
    "a value of a wrong type": (
        config(hidden_size="32"), "`hidden_size`: expected a whole number from 1 to 2147483647",
        "correct the value"),
    "a width that heads do not divide": (
        config(hidden_size=33), "`num_attention_heads`: expected a divisor of the width 33, got 2",
        "correct the value"),
    "more layers than tensors": (
        config(num_hidden_layers=100_000), "expected a whole number from 0 to 12, got 100000",
        "correct the value"),
}  # fmt: skip

OTHERS: dict[str, tuple[Break, str, str]] = {
    "another epsilon": (
        config(rms_norm_eps=1e-4), "has `rms_norm_eps` 0.0001, ./tiny has 1e-06",
        "give the reference that the variant was made from"),
    "another rope": (
        config(rope_parameters={"rope_type": "default", "rope_theta": 5e5}),
        "has `rope_parameters.rope_theta` 500000.0, ./tiny has 10000.0", "convert the file again"),
    "rows of tokens missing": (
        fewer_rows, "has 200 rows, of its embedding and head; token", "with all of its rows"),
}  # fmt: skip


def check(err: str, words: str, hint: str) -> None:
    *_, error, last = err.splitlines()
    assert error.startswith("error: ")
    assert "internal error" not in error
    assert words in error
    assert last.startswith("hint: ")
    assert hint in last


@pytest.mark.parametrize("case", BROKEN)
def test_a_config_that_cannot_be(broken: Any, capsys: Captured, case: str) -> None:
    fault, error, hint = BROKEN[case]
    assert main(["perplexity", broken(fault), *RUN]) == 1
    check(capsys.readouterr().err, error, hint)


@pytest.mark.parametrize("case", OTHERS)
def test_a_variant_that_computes_something_else(broken: Any, capsys: Captured, case: str) -> None:
    fault, error, hint = OTHERS[case]
    assert main(["compare", "./tiny", broken(fault), *RUN]) == 1
    out, err = capsys.readouterr()
    check(err, error, hint)
    # It fails before anything of it is scored.
    assert "load ./broken" not in out + err
