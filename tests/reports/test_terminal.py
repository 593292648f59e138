"""What the terminal shows, at the widths people have."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console

from bitloss import wording as fmt
from bitloss.reports.terminal import _broken, _layout, render_comparison, render_perplexity
from bitloss.results import Comparison, Limits
from bitloss.tables.text_table import TextTable


def shown(comparison: Comparison, width: int, *, encoding: str = "utf-8") -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    console = Console(file=stream, width=width)
    render_comparison(comparison, console)
    stream.seek(0)
    return stream.read()


def renamed(comparison: Comparison, name: str) -> Comparison:
    first, *rest = comparison.variants
    variants = (first.model_copy(update={"name": name}), *rest)
    return comparison.model_copy(update={"variants": variants})


def test_wide_table_has_every_figure(comparison: Comparison) -> None:
    text = shown(comparison, 160)
    corpus = comparison.variants[0].corpora["wikitext-2"]
    row = next(line for line in text.splitlines() if line.startswith("gptq-4"))
    relative, divergence = corpus.relative_perplexity, corpus.kl_divergence
    for figure in (
        "gptq  ",
        "4.25",
        "250 MB",
        fmt.perplexity(corpus.perplexity),
        str(fmt.ratio_interval(relative)),
        str(fmt.divergence_interval(divergence.estimate)),
        fmt.divergence(divergence.p99),
        fmt.share(corpus.top1_agreement.value),
    ):
        assert figure in row
    assert "left out" not in text


def test_reference_comes_first_and_the_floor_last(comparison: Comparison) -> None:
    lines = shown(comparison, 160).splitlines()
    rows = [
        index
        for start in ("org/model (reference)", "gptq-4 ", "./model-q8_0.gguf", "noise floor, bf16")
        for index, line in enumerate(lines)
        if line.startswith(start)
    ]
    assert rows == sorted(rows)
    assert len(rows) == 4
    assert "9.4e-05" in lines[rows[-1]]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_nothing_is_cut_off(comparison: Comparison, width: int) -> None:
    text = shown(comparison, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    corpus = comparison.variants[0].corpora["wikitext-2"]
    for value in (corpus.kl_divergence.mean, corpus.kl_divergence.low):
        assert f"{value:.4f}" in text
    assert f"{corpus.relative_perplexity.value:.3f}" in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_columns_without_room_are_in_a_block_below(comparison: Comparison, width: int) -> None:
    """Oracle: every figure of the wide table is there, beside its model's name."""
    wide, narrow = shown(comparison, 200), shown(comparison, width)
    (row,) = (line for line in wide.splitlines() if line.startswith("gptq-4 "))
    rows = [line for line in narrow.splitlines() if line.startswith("gptq-4 ")]
    assert len(rows) >= 2
    figures = {word for word in row.split() if not word.startswith("[") and "]" not in word}
    assert figures <= {word for line in rows for word in line.split()}
    assert "left out" not in narrow
    headings = narrow.split("wikitext-2: strided", 1)[1]
    for title in ("format", "bits/", "size", "p99", "overlap"):
        assert title in headings


def test_columns_that_belong_together_go_below_together() -> None:
    """Dropping the last column alone would make room enough for the others."""
    columns = {"model": "model", "size": "size", "expected": "expected", "standing": "standing"}
    table = TextTable("t", columns, (dict.fromkeys(columns, "x" * 8),),
                      dropped_first=(("expected", "standing"),))  # fmt: skip
    assert _layout(table, 30)[0] == [["model", "size"], ["model", "expected", "standing"]]
    apart = replace(table, dropped_first=("standing", "expected"))
    assert _layout(apart, 30)[0] == [["model", "size", "expected"], ["model", "standing"]]


def test_rows_without_anything_to_say_are_not_repeated(comparison: Comparison) -> None:
    narrow = shown(comparison, 80)
    assert narrow.count("noise floor, bf16") == 1  # it has a divergence alone


def test_title_says_what_was_measured(comparison: Comparison) -> None:
    text = shown(comparison, 160)
    assert "wikitext-2: strided (max_length 32, stride 16), 384 of 1,600 tokens, bf16\n" in text


def test_failed_variants_are_below(comparison: Comparison) -> None:
    text = shown(comparison, 80)
    table, _, below = text.partition("awq-4: failed\n")
    assert "awq-4" not in table
    assert "error: expected rows divisible by 128, got 172\nhint: use gptq-4\n" in below


def test_piped_output_has_no_control_codes(comparison: Comparison) -> None:
    assert "\x1b" not in shown(comparison, 80)
    assert shown(comparison, 160, encoding="ascii").isascii()


def test_names_are_not_markup(comparison: Comparison) -> None:
    # The second variant is named in its row and in a note, the third above its error.
    first, *rest = comparison.variants
    variants = (first, *(one.model_copy(update={"name": "[red]x[/nope]"}) for one in rest))
    text = shown(comparison.model_copy(update={"variants": variants}), 160)
    assert text.count("[red]x[/nope]") == 3


def test_long_names_fold(comparison: Comparison) -> None:
    name = "models/" + "a-rather-long-directory/" * 3 + "model.gguf"
    text = shown(renamed(comparison, name), 80)
    folded = "".join(line[:20].strip() for line in text.splitlines())
    assert name in folded


def test_corpora_do_not_share_a_table(comparison: Comparison) -> None:
    reference, first = comparison.reference, comparison.variants[0]
    for_both = {}
    for model in (reference, first):
        corpora = {**model.corpora, "code": model.corpora["wikitext-2"]}
        for_both[model.name] = model.model_copy(update={"corpora": corpora})
    both = comparison.model_copy(
        update={"reference": for_both[reference.name], "variants": (for_both[first.name],)}
    )
    text = shown(both, 160)
    assert text.count("relative PPL") == 2
    assert text.index("wikitext-2: strided") < text.index("code: strided")


def test_perplexity_of_one_model(comparison: Comparison) -> None:
    corpus = comparison.reference.corpora["wikitext-2"].model_copy(
        update={
            "perplexity": 6.23321,
            "perplexity_interval": Limits(low=6.1, high=6.4),
            "standard_error": 0.03778,
            "word_perplexity": 37.371,
        }
    )
    model = comparison.reference.model_copy(update={"corpora": {"wikitext-2": corpus}})
    stream = io.StringIO()
    render_perplexity(model, Console(file=stream, width=100))
    text = stream.getvalue()
    assert "6.2332 [6.1000, 6.4000]" in text
    assert "0.0378 as llama.cpp prints it" in text
    assert "37.3710" in text
    assert "384 of 1,600 tokens" in text


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("org/models/gemma3", ["org/", "models/", "gemma3"]),
        ("gguf-q4_k_m", ["gguf-q4_", "k_m"]),
        ("short", ["short"]),
        ("unbreakable", ["unbreakable"]),
    ],
)
def test_names_are_broken_behind_signs(name: str, lines: list[str]) -> None:
    assert _broken(name, 8).split("\n") == lines
