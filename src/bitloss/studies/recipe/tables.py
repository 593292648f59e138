"""A recipe study as plain tables and sentences."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss import wording
from bitloss.results import Estimate
from bitloss.studies.sensitivity.tables import percent
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from rich.console import Console

    from bitloss.studies.recipe.result import RecipeResult

__all__ = ["HELD_OUT_NOTES", "plain", "recipe_sentences", "render_recipe", "short_name"]

_WIDTH = 100
HELD_OUT_NOTES = (
    "[...]: 95% intervals, each on its own",
    "gain: paired, on the same windows; above 0 the recipe is better, if that is shown after "
    "correction for all corpora and capabilities",
)
"""What a reader should know of the comparison."""


def plain(result: RecipeResult) -> str:
    """The tables as text, 100 columns wide."""
    from rich.console import Console

    text = io.StringIO()
    render_recipe(result, Console(file=text, width=_WIDTH, color_system=None))
    return "\n".join(line.rstrip() for line in text.getvalue().strip("\n").split("\n"))


def render_recipe(result: RecipeResult, console: Console) -> None:
    """Print tables and sentences.

    Args:
        result: the study's answer.
        console: where to; its width decides the layout.
    """
    from rich.text import Text

    from bitloss.reports.terminal import render_table

    for table in (_sensitivities(result), _uniform(result), _held_out(result)):
        render_table(table, console)
    console.print()
    for sentence in recipe_sentences(result):
        console.print(Text(sentence))


def _sensitivities(result: RecipeResult) -> TextTable:
    types = [one.type for one in result.uniform]
    rows: list[dict[str, Cell]] = []
    for group in result.groups:
        row: dict[str, Cell] = {
            "model": group.group,
            "weights": f"{group.weights / 1e6:.2f}M",
            "chosen": group.chosen,
            "baseline": group.baseline,
        }
        row |= {one.type: wording.divergence(one.loss.value) for one in group.options}
        rows.append(row)
    return TextTable(
        title=f"{result.model}: KLD (nats/token) of each group of tensors alone, "
        f"{result.n_tokens:,} tokens of {result.measured_on}",
        columns={"model": "group", "weights": "weights", **{kind: kind for kind in types},
                 "chosen": "chosen", "baseline": short_name(result.baseline.name)},
        rows=tuple(rows),
        notes=("no number: the type is stored as the one to its left", *result.notes),
        left=("model", "chosen", "baseline"),
        dropped_first=("weights", "baseline"),
    )  # fmt: skip


def _uniform(result: RecipeResult) -> TextTable:
    rows: list[dict[str, Cell]] = [
        {
            "model": one.type,
            "size": wording.count(one.nbytes),
            "loss": wording.divergence_interval(one.loss),
            "sum": percent(one.sum_of_parts),
        }
        for one in result.uniform
    ]
    return TextTable(
        title=f"{result.model}: all groups in one type",
        columns={
            "model": "type",
            "size": "bytes",
            "loss": "KLD (nats/token)",
            "sum": "sum of the groups alone",
        },
        rows=tuple(rows),
        notes=("the choice takes losses as if they added up to 100%",),
    )


def _held_out(result: RecipeResult) -> TextTable:
    rows: list[dict[str, Cell]] = [
        {
            "model": name,
            "baseline": wording.divergence_interval(one.baseline),
            "recipe": wording.divergence_interval(one.recipe),
            "gain": wording.divergence_interval(one.gain),
            "ratio": wording.ratio_interval(one.perplexity_ratio),
            "verdict": one.verdict,
        }
        for name, one in result.held_out.items()
    ]
    return TextTable(
        title=f"{result.model}, held-out text: recipe ({result.recipe.nbytes:,} bytes) against "
        f"{short_name(result.baseline.name)} ({result.baseline.nbytes:,} bytes)",
        columns={
            "model": "corpus",
            "baseline": f"KLD of {short_name(result.baseline.name)}",
            "recipe": "KLD of the recipe",
            "gain": "gain",
            "ratio": "PPL ratio",
            "verdict": "recipe is",
        },
        rows=tuple(rows),
        notes=HELD_OUT_NOTES,
        left=("model", "verdict"),
        dropped_first=("ratio",),
    )


def recipe_sentences(result: RecipeResult) -> tuple[str, ...]:
    """What the study shows, in words."""
    baseline = short_name(result.baseline.name)
    sentences = []
    for name, one in result.held_out.items():
        sentences += _perplexity(name, one.perplexity_ratio, baseline)
        share = ""
        if one.baseline.value and one.gain.value is not None:
            share = f", {abs(one.gain.value) / one.baseline.value:.0%} of it"
        if one.verdict == "not shown":
            sentences.append(
                f"On {name} the recipe is not shown to be better than {baseline}: its KLD is lower "
                f"by {wording.divergence_interval(one.gain)} nats per token."
            )
            continue
        word = "lower" if one.verdict == "better" else "higher"
        shown = one.gain if one.verdict == "better" else one.gain.negated()
        sentences.append(
            f"On {name} the recipe is {one.verdict} than {baseline}: its KLD is {word} by "
            f"{wording.divergence_interval(shown)} nats per token{share}, at "
            f"{result.recipe.nbytes / result.baseline.nbytes:.1%} of its bytes."
        )
    for name, further in result.capabilities.items():
        found = wording.unsigned_points_interval(further.loss)
        what = {"better": "loses less", "worse": "loses more"}.get(
            further.verdict, "is not shown to differ"
        )
        sentences.append(f"{name}: the recipe {what} ({found} points beyond {baseline}).")
    sentences.append(f"Recipe files: {', '.join(result.exports)}.")
    return tuple(sentences)


def _perplexity(corpus: str, ratio: Estimate, baseline: str) -> list[str]:
    """A change of the perplexity that is shown; it may go against the divergence."""
    if ratio.low is None or ratio.high is None or ratio.low <= 1 <= ratio.high:
        return []
    word = "higher" if ratio.low > 1 else "lower"
    return [
        f"On {corpus} the recipe's perplexity is {word}: {wording.ratio_interval(ratio)} times "
        f"{baseline}'s."
    ]


def short_name(name: str) -> str:
    """A variant's name for a heading: a file's name without its folder."""
    path = Path(name)
    return path.stem if path.suffix == ".gguf" else name
