"""Whose the results are, in words: notes written out by hand."""

from __future__ import annotations

from typing import Any

from bitloss.results import Comparison, Replicates, Spread
from bitloss.tables.replicates import replicate_notes
from example_run import make_comparison


def comparison(*variants: dict[str, Any]) -> Comparison:
    """Variants with so many facts more than their names."""
    made = make_comparison()
    first = made.variants[0]
    return made.model_copy(update={"variants": tuple(first.model_copy(update=v) for v in variants)})


def spread(*values: float) -> Spread:
    return Spread(values=values, deviation=0.1)


def replicates(**changes: Any) -> Replicates:
    return Replicates(
        **{
            "seeds": (3, 4),
            "digests": ("a", "b"),
            "corpora": {"prose": {"relative_perplexity": spread(1.09, 1.0412)}},
            "capabilities": {"math": {"difference": spread(-0.065, -0.02)}},
            **changes,
        }
    )


def test_a_recipe_made_once_says_what_is_left_out() -> None:
    found = comparison({"name": "gptq-4", "own_spread": "left out"})
    assert replicate_notes(found) == (
        "gptq-4: made once, so the quantizer's own spread (other seeds and calibration draws) is "
        "not included and all results are of this copy; --replicates 4 measures it",
    )


def test_replicates_are_told_with_their_range() -> None:
    found = comparison(
        {"name": "gptq-4", "own_spread": "included", "replicates": replicates()},
        {"name": "gguf-q4_0", "own_spread": "none"},
    )
    assert replicate_notes(found) == (
        "gptq-4: made 2 times (seeds 3 to 4); results are means, and intervals include the spread "
        "from copy to copy (relative PPL: prose 1.0412 to 1.0900; change, points: math -6.5 to "
        "-2.0)",
        "gguf-q4_0: made once, since no seed decides the bytes",
    )


def test_equal_bytes_are_told() -> None:
    same = replicates(digests=("a", "a"))
    found = comparison({"name": "gptq-4", "own_spread": "included", "replicates": same})
    assert replicate_notes(found) == (
        "gptq-4: made 2 times (seeds 3 to 4), each time the same bytes",
    )


def test_a_file_is_one_copy() -> None:
    found = comparison({"name": "./a.gguf", "own_spread": None}, {"name": "b", "own_spread": None})
    assert replicate_notes(found) == (
        "a.gguf and b: results are of these files; another copy made by the same method may lose "
        "more or less",
    )


def test_what_needs_no_word_gets_none() -> None:
    fixed = comparison({"name": "gguf-q4_0", "own_spread": "none"})
    assert replicate_notes(fixed) == ()
    failed = [v for v in make_comparison().variants if v.error is not None]
    alone = make_comparison().model_copy(update={"variants": tuple(failed)})
    assert replicate_notes(alone) == ()
