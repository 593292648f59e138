"""What docs/recipes.md shows is what the command prints, and its parts are taken by the parser."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.cli.main import main
from bitloss.names import describe_grammar
from bitloss.spec.recipe import parse_recipe

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")


def test_the_page_shows_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "recipes"]) == 0
    assert f"```\n{capsys.readouterr().out}```" in PAGE


def test_every_part_of_the_grammar_is_taken() -> None:
    # Oracle: the parser, asked for a name that has the part.
    begin = {"gptq": "gptq-4", "awq": "awq-4", "gguf": "gguf-q4_k_m"}
    for method, parts in describe_grammar().items():
        for part, _ in parts[1:]:
            made = begin[method] + part.replace("<N>", "64")
            if part.startswith("@"):
                made = made.partition("@")[0] + ("-imatrix" if method == "gguf" else "") + "@code"
            assert parse_recipe(made).method == method


@pytest.mark.parametrize("name", ["gguf-Q4_K_M", "GPTQ-4-G64-Act", "gptq-4@Code"])
def test_capital_letters_mean_nothing_before_the_corpus(name: str) -> None:
    text, at, corpus = name.partition("@")
    assert parse_recipe(name).name == text.lower() + at + corpus
