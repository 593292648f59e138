"""Capabilities side by side. Oracle: figures written into results by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from bitloss.results.tasks import Ability
from bitloss.results.values import Estimate
from bitloss.tables.overview import overview_tables


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(value=value, low=low, high=high)


def task(capability: str, score: float | None) -> Any:
    return SimpleNamespace(capability=capability, score=estimate(score))


def comparison(
    tasks: dict[str, Any],
    abilities: dict[str, Ability] | None = None,
    **variants: dict[str, Estimate],
) -> Any:
    return SimpleNamespace(
        short_names={name: name for name in variants},
        reference=SimpleNamespace(tasks=tasks, abilities=abilities),
        variants=[
            SimpleNamespace(
                name=name,
                not_measurable=tuple(abilities or ()),
                capabilities={key: changed(one) for key, one in found.items()},
                verdict=None,
            )
            for name, found in variants.items()
        ],
    )


def changed(difference: Estimate, p_value: float = 0.01) -> Any:
    return SimpleNamespace(difference=difference, p_value=p_value)


TASKS = {"b": task("logic", 0.5), "a": task("math", 0.8), "c": task("math", 0.6)}


def test_reference_scores_and_changes() -> None:
    found = comparison(
        TASKS,
        worse={"math": estimate(-0.05, -0.08, -0.02), "logic": estimate(-0.01, -0.04, 0.02)},
        same={"math": estimate(0.0, -0.014, 0.014), "logic": estimate(0.03, 0.01, 0.05)},
    )
    (table,) = overview_tables(found)
    assert list(table.columns) == ["model", "math", "logic"]  # in the order of the suites
    assert table.rows == (
        {"model": "reference", "math": "70.0%", "logic": "50.0%"},
        {"model": "worse", "math": "-5.0", "logic": "(-1.0)"},
        {"model": "same", "math": "(0.0)", "logic": "+3.0"},
    )


def test_the_family_decides_what_is_in_parentheses() -> None:
    """Not the interval of one cell; a loss beyond the margin is reported. Oracle: by hand."""
    found = comparison(TASKS, odd={"math": estimate(-0.05, -0.08, -0.02), "logic": estimate(0.0)})
    odd = found.variants[0]
    odd.capabilities["math"] = changed(estimate(-0.05, -0.08, -0.02), p_value=0.06)
    (table,) = overview_tables(found)
    assert table.rows[1]["math"] == "(-5.0)"
    odd.verdict = SimpleNamespace(capabilities={"math": SimpleNamespace(outcome="lost")})
    (table,) = overview_tables(found)
    assert table.rows[1]["math"] == "-5.0"
    assert "in parentheses: not significant (Holm's method, 5% for the whole table)" in table.notes


def test_what_the_reference_cannot_do_has_no_loss() -> None:
    guessing = {"math": Ability(score=0.22, chance=0.25, p_value=0.9, measurable=False)}
    (table,) = overview_tables(
        comparison(TASKS, guessing, odd={"math": estimate(-0.5, -0.6, -0.4), "logic": estimate(0)})
    )
    assert table.rows[1]["math"] == "n.m."
    assert table.notes[-1] == (
        "n.m. is not measurable: the reference is not shown to do better than guessing, or by no "
        "more than the margin: math 22.0% (guessing 25.0%)"
    )


def test_nothing_to_compare() -> None:
    assert overview_tables(comparison({})) == ()
    assert overview_tables(comparison({"b": TASKS["b"]})) == ()


def test_a_failed_variant_and_a_figure_that_is_not_there() -> None:
    found = comparison(TASKS, failed={}, odd={"math": estimate(None), "logic": estimate(0.0)})
    (table,) = overview_tables(found)
    assert [row["model"] for row in table.rows] == ["reference", "odd"]
    assert table.rows[1]["math"] == "-"
