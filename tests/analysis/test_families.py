"""One correction for all statements of a page. Oracles: hand computations; that all parts of a
page, and the gate, say the same.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bitloss.analysis.claims import check_claims
from bitloss.analysis.conclude import conclude
from bitloss.analysis.families import change_shown, families_of
from bitloss.analysis.verdicts import judge
from bitloss.checks import judge as check
from bitloss.checks.gate import rules_of_verdict
from bitloss.expectations import load_expectations
from bitloss.metrics.paired import change, mcnemar, mean_change
from bitloss.reports.page.capabilities import heat_map
from bitloss.results import Ability, CapabilityResult, Comparison, Estimate, Flips
from bitloss.tables.overview import overview_tables
from example_run import make_comparison
from verdict_parts import capability, corpus, estimate, variant

TABLE = load_expectations()
NAMES = ("math", "code", "logic")


def flipped(lost: int, gained: int, items: int = 200) -> CapabilityResult:
    """A capability with so many flips, as the product makes it of one task."""
    return CapabilityResult(
        tasks=("t",),
        n_scored=items,
        score=0.5,
        reference_score=0.5,
        difference=Estimate.of(mean_change([change(lost, gained, items)])),
        flips=Flips(right_to_wrong=lost, wrong_to_right=gained, p_value=mcnemar(lost, gained)),
    )


def test_all_variants_and_capabilities_are_one_family() -> None:
    """Holm by hand: 15 flips one way and 12 one way, of four tests that can all reach that."""
    found = families_of(
        [
            variant("a", capabilities={"math": flipped(15, 0), "code": flipped(10, 10)}),
            variant("b", capabilities={"math": flipped(12, 0), "code": flipped(10, 10)}),
        ],
        TABLE,
    ).scores
    # 20 flips reach 2 (1 + 20) / 2^20 below 2 / 2^15, and 2 (1 + 20 + 190) / 2^20 below 2 / 2^12.
    # 12 flips reach nothing below 2 / 2^15.
    assert found["a", "math"] == pytest.approx(2 / 2**15 + 2 * 21 / 2**19)
    assert found["b", "math"] == pytest.approx(2 / 2**12 + 2 * 211 / 2**19)
    assert found["a", "code"] == found["b", "code"] == 1.0


def test_who_is_no_member() -> None:
    copy = capability((0.0, 0.0, 0.0))
    found = families_of(
        [
            variant("q4", capabilities={"math": flipped(9, 1), "logic": flipped(9, 1)}),
            variant("copy", capabilities={"math": copy}),
            variant("failed", capabilities={"math": flipped(9, 1)}, failed=True),
        ],
        TABLE,
        ["logic"],
    )
    assert set(found.scores) == {("q4", "math"), ("failed", "math")}
    assert set(found.losses) == {("q4", "math")}
    assert set(found.pooled) == {"q4", "copy"}
    assert found.above == found.below == {}


def test_a_loss_is_shown_among_all_losses() -> None:
    """1.2 times the lower side beyond the margin: p = 0.019, and ten times that is 0.19."""
    loss = capability((-0.05, -0.08, -0.025))  # 0.03 beyond the margin, a side of 0.025
    lone = variant("a", capabilities={"math": loss})
    alone = judge(lone, TABLE)
    assert alone is not None
    assert alone.capabilities["math"].outcome == "lost"
    assert alone.capabilities["math"].p_value == pytest.approx(0.0187, abs=2e-4)
    others = [variant(str(i), capabilities={"math": capability()}) for i in range(9)]
    among = judge(lone, TABLE, families=families_of([lone, *others], TABLE))
    assert among is not None
    assert among.capabilities["math"].outcome == among.outcome == "not shown"
    assert among.capabilities["math"].p_value == pytest.approx(0.187, abs=2e-3)


def test_worse_than_expected_among_all_corpora() -> None:
    """GPTQ with 4 bits: up to 1.10. One of six corpora that is beyond it by chance."""
    beyond, within = corpus(1.13, 1.105, 1.155), corpus(1.09, 1.07, 1.14)
    alone = judge(variant(corpora={"c": beyond}), TABLE)
    assert alone is not None
    assert alone.standing == "worse than expected"
    texts = {str(i): within for i in range(5)}
    six = judge(variant(corpora={**texts, "c": beyond}), TABLE)
    assert six is not None
    assert six.standing == "as expected"
    # A corpus whose upper bound is not the highest may be the one that shows it.
    wide = corpus(1.05, 0.8, 1.4)
    shown = judge(variant(corpora={"wide": wide, "c": corpus(1.2, 1.19, 1.21)}), TABLE)
    assert shown is not None
    assert (shown.standing, shown.standing_corpus) == ("worse than expected", "c")


def test_few_blocks_of_text_show_less() -> None:
    """1.2 times the side beyond the range: 0.019 of the normal distribution; with two blocks,
    0.05 * atan(1 / 15.2) / atan(1 / 12.7) = 0.042. Oracle: Student's t with one degree of freedom.
    """
    found = corpus(1.10 * 1.06, 1.10 * 1.06 / 1.06 ** (1 / 1.2), 1.4)
    for n_blocks, p_value in ((None, 0.0187), (2, 0.0417)):
        one = found.model_copy(update={"n_blocks": n_blocks})
        verdict = judge(variant(corpora={"c": one}), TABLE)
        assert verdict is not None
        assert verdict.standing_p_value == pytest.approx(p_value, abs=2e-4)


def test_better_has_to_hold_on_every_corpus() -> None:
    better = corpus(1.02, 1.01, 1.03)
    for other, standing in ((better, "better"), (corpus(1.04, 1.02, 1.06), "as expected")):
        found = judge(variant(corpora={"a": better, "b": other}), TABLE)
        assert found is not None
        assert found.standing == standing


def test_claims_of_a_ranking_are_one_family() -> None:
    """Three claims, of which one is beyond its line by 1.05 times its side: p = 0.04."""
    losses = {"text completion": estimate(0.0, 0.0, 0.0), "logic": estimate(-0.021, -0.041, -0.001)}
    (lone,) = check_claims(losses, TABLE.margin)
    assert (lone.outcome, lone.p_value) == ("supported", pytest.approx(0.0396, abs=3e-4))
    nothing = estimate(0.03, -0.03, 0.09)
    of_three = check_claims(
        {**losses, "math": nothing, "instruction following": nothing}, TABLE.margin
    )
    assert [one.outcome for one in of_three] == ["undecided"] * 3
    assert of_three[2].p_value == pytest.approx(3 * 0.0396, abs=1e-3)
    assert of_three[2].reason.endswith("but not significant among all claims (Holm's method)")


def test_a_claim_of_two_parts() -> None:
    """Math: supported by both, so the larger p-value; contradicted by either, so twice it."""
    base = estimate(0.0, 0.0, 0.0)
    # 0.03 beyond the margin of 0.02, a side of 0.02; 0.05 beyond twice nothing, the same side.
    (both,) = check_claims(
        {"text completion": base, "math": estimate(0.05, 0.03, 0.07)}, TABLE.margin
    )
    assert (both.outcome, both.p_value) == ("supported", pytest.approx(0.0033, abs=1e-4))
    # 0.02 within it, a side of 0.015: 1.333 sides, 0.00899.
    (within,) = check_claims(
        {"text completion": base, "math": estimate(0.0, -0.015, 0.015)}, TABLE.margin
    )
    assert (within.outcome, within.p_value) == ("contradicted", pytest.approx(0.018, abs=2e-4))


@pytest.mark.parametrize("seed", range(8))
def test_a_page_says_one_thing_everywhere(seed: int) -> None:
    """Table, heat map, sentences, verdicts and gate, of made-up runs with true losses. Oracle: the
    p-values of the document.
    """
    rng = np.random.default_rng(seed)
    variants = []
    for name in ("a", "b", "c", "d"):
        results: dict[str, CapabilityResult] = {}
        for capability_name in NAMES:
            down, up = rng.integers(0, 40), rng.integers(0, 25)
            one = flipped(int(down), int(up), 400)
            loss = (down - up) / 400
            steadier = estimate(-loss, -loss - 0.02, -loss + 0.02)
            results[capability_name] = one.model_copy(
                update={"expected_difference": steadier if rng.random() < 0.5 else None}
            )
        variants.append(variant(name, capabilities=results))
    found = page(variants)
    (table,) = overview_tables(found)
    heat = heat_map(found)
    assert heat is not None
    assert found.answer is not None
    gate = check(found, rules_of_verdict(found, None))
    outcomes = {(one.variant, one.name): one.outcome for one in gate.judgments}
    for row, one in enumerate(found.variants, start=1):
        assert one.verdict is not None
        assert one.capabilities is not None
        for name in NAMES:
            result, verdict = one.capabilities[name], one.verdict.capabilities[name]
            assert result.p_value is not None
            lower = result.p_value < 0.05 and (result.difference.high or 0.0) < 0
            higher = result.p_value < 0.05 and (result.difference.low or 0.0) > 0
            lost = verdict.outcome == "lost" and (result.difference.value or 0.0) < 0
            assert change_shown(one, name) == (
                "lower" if lower or lost else "higher" if higher else None
            )
            assert str(table.rows[row][name]).startswith("(") == (not (lower or higher or lost))
            order = [c.title for c in heat.columns].index(name)
            assert ("<b>" in str(heat.rows[row].cells[order].content)) == (lower or higher or lost)
            told = f"{one.name} scores" in found.answer.text
            assert told or not (higher or (lower and verdict.outcome != "lost"))
            assert (outcomes[one.name, name] == "fail") == (
                verdict.outcome == "lost" and not higher
            )


def page(variants: list[Any]) -> Comparison:
    able = {n: Ability(score=0.5, chance=0.0, p_value=0.0, measurable=True) for n in NAMES}
    judged, answer = conclude(tuple(variants), lambda _: None, TABLE, able)
    base = make_comparison()
    tasks = {
        n: SimpleNamespace(capability=n, score=estimate(0.5, 0.4, 0.6), chance=0.0) for n in NAMES
    }
    reference = base.reference.model_copy(update={"tasks": tasks, "corpora": {}})
    return base.model_copy(update={"variants": judged, "answer": answer, "reference": reference})
