"""Figures at their bounds, and which limit is for what. Oracle: hand-made intervals."""

from __future__ import annotations

from typing import Any

import pytest

from bitloss.analysis.verdicts import judge_loss
from bitloss.checks import judge, rules_of
from bitloss.checks.gate import rules_of_verdict
from bitloss.checks.judge import judge_estimate
from bitloss.checks.measures import MEASURES
from bitloss.checks.rules import Rule
from bitloss.checks.summary import table
from bitloss.errors import UnknownName, UsageError
from bitloss.results import Comparison, Estimate, Verdict
from bitloss.results.tasks import CapabilityResult, ReferenceTask, VariantTask
from bitloss.tables.verdicts import EXPECTED_LOSS
from example_run import make_comparison
from verdict_parts import capability, corpus

NAN, INF = float("nan"), float("inf")


def estimate(value: float | None, low: float | None, high: float | None) -> Estimate:
    return Estimate(value=value, low=low, high=high)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.01, 0.04, "pass"),
        (0.01, 0.05, "pass"),  # the limit itself is kept
        (0.01, 0.0500001, "undecided"),
        (0.05, 0.06, "undecided"),
        (0.0500001, 0.06, "fail"),
        (None, 0.05, "pass"),
        (0.06, None, "fail"),
        (0.01, None, "undecided"),
        (None, 0.06, "undecided"),
        (None, None, "undecided"),
        (NAN, NAN, "undecided"),
        (0.06, INF, "fail"),
    ],
)
def test_upper_limit(low: float | None, high: float | None, outcome: str) -> None:
    rule = Rule(MEASURES["max_kld"], None, 0.05, "")
    assert judge_estimate(estimate(0.05, low, high), rule)[0] == outcome


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.9, 0.95, "pass"),
        (0.899, 0.95, "undecided"),
        (0.85, 0.9, "undecided"),
        (0.85, 0.899, "fail"),
        (None, 0.899, "fail"),
        (None, None, "undecided"),
    ],
)
def test_lower_limit(low: float | None, high: float | None, outcome: str) -> None:
    for key in ("min_top1", "min_overlap"):
        rule = Rule(MEASURES[key], None, 0.9, "")
        assert judge_estimate(estimate(0.9, low, high), rule)[0] == outcome


@pytest.mark.parametrize("value", [None, NAN, INF])
def test_what_is_no_number_never_passes(value: float | None) -> None:
    rule = Rule(MEASURES["max_kld"], None, 0.05, "")
    assert judge_estimate(estimate(value, 0.0, 0.0), rule) == ("fail", "not a finite number")
    assert judge_estimate(None, rule) == ("undecided", "not measured")


def task_figures(difference: Estimate, capability: str) -> dict[str, Any]:
    whole = estimate(0.5, 0.4, 0.6)
    return {
        "capability": capability,
        "metric": "acc",
        "score": whole,
        "scores": {"acc": whole},
        "n_scored": 10,
        "n_items": 10,
        "n_total": 10,
        "gold": "option",
        "dtype": "fp32",
        "digest": "d",
        "identity": "i",
        "license": "MIT",
        "source": "s",
    }


def with_tasks(**differences: tuple[str, Estimate]) -> Comparison:
    """The example run with tasks: capability and difference by name."""
    base = make_comparison()
    tasks = {
        name: VariantTask(
            **task_figures(d, capability), reference_score=0.5, difference=d, differences={"acc": d}
        )
        for name, (capability, d) in differences.items()
    }
    capabilities = {
        task.capability: CapabilityResult(
            tasks=(name,), score=0.5, reference_score=0.5, difference=task.difference
        )
        for name, task in tasks.items()
    }
    own = {
        name: ReferenceTask(**task_figures(d, capability))
        for name, (capability, d) in differences.items()
    }
    return base.model_copy(
        update={
            "reference": base.reference.model_copy(update={"tasks": own}),
            "variants": (
                base.variants[0].model_copy(update={"tasks": tasks, "capabilities": capabilities}),
                *base.variants[1:],
            ),
        }
    )


def outcomes(comparison: Comparison, *names: str, **limits: Any) -> list[tuple[str, str, str]]:
    result = judge(comparison, rules_of(limits), variants=names or ("gptq-4",))
    return [(j.measure, f"{j.kind}:{j.name}", j.outcome) for j in result.judgments]


def test_a_loss_is_reference_minus_variant() -> None:
    run = with_tasks(gsm8k=("math", estimate(-0.03, -0.05, -0.01)))
    (judgment,) = judge(run, rules_of({"max_loss": 0.04}), variants=["gptq-4"]).judgments
    assert (judgment.value, judgment.low, judgment.high) == (0.03, 0.01, 0.05)
    assert judgment.outcome == "undecided"
    assert outcomes(run, max_loss=0.05) == [("max_loss", "capability:math", "pass")]
    assert outcomes(run, max_loss={"gsm8k": "0.9%"}) == [("max_loss", "task:gsm8k", "fail")]


def test_what_the_reference_cannot_do_neither_passes_nor_fails() -> None:
    run = with_tasks(gsm8k=("math", estimate(-0.03, -0.05, -0.01)))
    verdict = Verdict(
        level=None,
        capabilities={
            "math": judge_loss(capability((-0.03, -0.05, -0.01)), 0.02, measurable=False)
        },
    )
    guessing = run.model_copy(
        update={"variants": (run.variants[0].model_copy(update={"verdict": verdict}),)}
    )
    for limit in (0.001, 0.5):
        (judgment,) = judge(guessing, rules_of({"max_loss": {"math": limit}})).judgments
        assert judgment.outcome == "undecided"
        assert judgment.reason.startswith("not measurable: the reference is not shown")


def test_the_expected_score_decides_unless_the_score_says_the_opposite() -> None:
    run = with_tasks(gsm8k=("math", estimate(-0.01, -0.05, 0.03)))

    def judged(limit: float, *difference: float) -> tuple[str, str]:
        math = run.variants[0].capabilities["math"]
        update = {"expected_difference": estimate(*difference)}
        capabilities = {"math": math.model_copy(update=update)}
        variant = run.variants[0].model_copy(update={"capabilities": capabilities})
        steadier = run.model_copy(update={"variants": (variant,)})
        (judgment,) = judge(steadier, rules_of({"max_loss": {"math": limit}})).judgments
        return judgment.outcome, judgment.reason

    assert judged(0.02, -0.01, -0.015, -0.005)[0] == "pass"
    assert judged(0.02, -0.03, -0.035, -0.025)[0] == "fail"
    outcome, reason = judged(0.06, -0.07, -0.08, -0.065)
    assert outcome == "undecided"
    assert reason == "score and expected score are on opposite sides of the limit"


def test_a_gain_beyond_chance_does_not_pass() -> None:
    run = with_tasks(gsm8k=("math", estimate(0.05, 0.02, 0.08)))
    variant = run.variants[0]

    def judged(p_value: float) -> tuple[str, str]:
        math = variant.capabilities["math"].model_copy(update={"p_value": p_value})
        one = variant.model_copy(update={"capabilities": {"math": math}})
        found = run.model_copy(update={"variants": (one,)})
        (judgment,) = judge(found, rules_of({"max_loss": {"math": 0.02}})).judgments
        return judgment.outcome, judgment.reason

    assert judged(0.06) == ("pass", "")
    outcome, reason = judged(0.04)
    assert outcome == "undecided"
    assert reason.startswith("suspicious: the score rose significantly")
    math = variant.capabilities["math"].model_copy(update={"p_value": 0.04})
    one = variant.model_copy(update={"capabilities": {"math": math}})
    found = run.model_copy(update={"variants": (one,)})
    notes = table(judge(found, rules_of({"max_loss": {"math": 0.02}}))).notes
    assert f"{one.name}: loss in math: {reason}" in notes
    assert EXPECTED_LOSS in notes


def test_what_rounding_may_have_made_does_not_fail() -> None:
    """Within ten noise floors the floor is taken off the divergence. Oracle: by hand."""

    def judged(kl: tuple[float, float, float], floor: float, **limits: Any) -> list[str]:
        run = make_comparison()
        found = corpus(
            1.0, 1.0, 1.0, kl=kl, top1=(0.93, 0.92, 0.94), overlap=(0.95, 0.94, 0.96), floor=floor
        )
        one = run.variants[0].model_copy(update={"corpora": {"wikitext-2": found}})
        result = judge(run.model_copy(update={"variants": (one,)}), rules_of(limits))
        return [judgment.outcome for judgment in result.judgments]

    limits = {"max_kld": 0.002, "min_top1": "95%", "min_overlap": "97%"}
    # 0.0029 - 0.001 is within 0.002.
    assert judged((0.003, 0.0029, 0.0031), 0.001, **limits) == ["undecided"] * 3
    # 0.0049 - 0.001 is not; agreement and overlap may still be the rounding's.
    assert judged((0.005, 0.0049, 0.0051), 0.001, **limits) == ["fail", "undecided", "undecided"]
    # More than ten floors.
    assert judged((0.003, 0.0029, 0.0031), 0.0002, **limits) == ["fail"] * 3


def test_the_limits_of_a_verdict_are_those_of_every_axis() -> None:
    rules = rules_of_verdict(make_comparison(), None)
    assert {rule.measure.key: rule.limit for rule in rules} == {
        "max_relative_perplexity": 1.12, "max_kld": 0.06, "min_top1": 0.90, "min_overlap": 0.94,
    }  # fmt: skip


def test_of_several_limits_the_nearest_holds() -> None:
    """Flag before file, variant before all, name before no name."""
    kld = MEASURES["max_kld"]
    general = Rule(kld, None, 9.0, "file")
    named = Rule(kld, "wikitext-2", 8.0, "file")
    own = Rule(kld, None, 7.0, "file", variant="gptq-4")
    own_named = Rule(kld, "wikitext-2", 6.0, "file", variant="gptq-4")
    flag = Rule(kld, None, 5.0, "flag", flag=True)
    run = make_comparison()
    rules = [flag, own_named, own, named, general]
    while rules:
        (judgment,) = judge(run, rules[::-1], variants=["gptq-4"]).judgments
        assert judgment.limit == rules[0].limit
        rules = rules[1:]
    (other,) = judge(run, [own, general], variants=["model-q8_0.gguf"]).judgments
    assert other.limit == 9.0


def test_failed_variant_fails_the_gate_unless_left_out() -> None:
    run = make_comparison()
    result = judge(run, rules_of({"max_kld": 9}))
    assert [(j.variant, j.outcome) for j in result.judgments] == [
        ("gptq-4", "pass"), ("./model-q8_0.gguf", "pass"), ("awq-4", "fail"),
    ]  # fmt: skip
    assert (result.outcome, result.exit_code) == ("fail", 1)
    assert judge(run, rules_of({"max_kld": 9}), variants=["gptq-4"]).exit_code == 0


@pytest.mark.parametrize(("policy", "code"), [("skip", 3), ("fail", 1), ("pass", 0)])
def test_what_undecided_does(policy: Any, code: int) -> None:
    run = with_tasks(gsm8k=("math", estimate(0.0, -0.05, 0.05)))
    rules = rules_of({"max_loss": 0.02, "max_kld": 9})
    assert judge(run, rules, variants=["gptq-4"], when_undecided=policy).exit_code == code


def test_a_name_that_two_things_have_must_say_which() -> None:
    run = with_tasks(math=("math", estimate(-0.03, -0.05, -0.01)))
    with pytest.raises(UsageError, match=r"`capability:math` or `task:math`"):
        outcomes(run, max_loss={"math": 0.1})
    assert outcomes(run, max_loss={"task:math": 0.1}) == [("max_loss", "task:math", "pass")]


def test_all_limits_that_do_not_fit_the_run_are_told_at_once() -> None:
    run = with_tasks(gsm8k=("math", estimate(0.0, 0.0, 0.0)))
    with pytest.raises(UsageError) as caught:
        judge(
            run,
            (
                *rules_of({"max_loss": {"maths": 0.1, "wikitext-2": 0.1}}),
                Rule(MEASURES["max_kld"], "code", 1.0, "gate.yaml:3"),
                Rule(MEASURES["max_kld"], None, 1.0, "gate.yaml:7", variant="gptq-5"),
            ),
        )
    assert caught.value.message.splitlines() == [
        "4 thresholds do not fit the run:",
        "  --max-loss maths: no capability or task `maths` in the run; did you mean `math`?",
        "  --max-loss wikitext-2: `wikitext-2` is a corpus; a loss is that of a capability or task",
        "  gate.yaml:3: no corpus or capability or task `code` in the run",
        "  gate.yaml:7: unknown variant `gptq-5`; did you mean `gptq-4`? "
        "known: ./model-q8_0.gguf, awq-4, gptq-4",
    ]
    assert caught.value.hint == (
        "use the names of the run; corpora: wikitext-2; capabilities: math; tasks: gsm8k"
    )


def test_unknown_variant_and_measures_that_the_run_lacks() -> None:
    run = make_comparison()
    with pytest.raises(UnknownName, match="gptq-3"):
        judge(run, rules_of({"max_kld": 1}), variants=["gptq-3"])
    with pytest.raises(UsageError, match="the run has no capability"):
        judge(run, rules_of({"max_loss": 0.1}))
    with pytest.raises(UsageError, match="no variants"):
        judge(run.model_copy(update={"variants": ()}), rules_of({"max_kld": 1}))
