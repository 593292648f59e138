"""Every statement that a page makes of its variants, corrected once.

The statements fall into families by their question. Within a family the probability of *any* false
statement is 5% at most, however many variants, capabilities and corpora there are: Holm's method
(`bitloss.metrics.multiple.adjust`). Tables, sentences, pages, cards and gates all use the p-values
in here; the intervals beside them are plain 95% ones.

=========  ====================================  ===================================================
family     a statement                           its members
=========  ====================================  ===================================================
`scores`   the score changed                     variants x measurable capabilities
`losses`   more than the margin was lost         the same
`pooled`   so was the mean over capabilities     variants
`above`    perplexity worse than expected        variants x corpora, where a range is expected
`below`    better than expected, on all corpora  variants
`endings`  more or fewer texts end badly         variants x tasks x ways of ending
=========  ====================================  ===================================================

That a capability is *kept* needs no correction: a variant is acceptable if all of them are, so a
false one has to get past the capability that is not (an intersection-union test). An exact copy
makes no statement, nor does a capability that cannot be measured. What is said in one direction
only is tested at half the level, as the bounds of a 95% interval do.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from bitloss.analysis.score_losses import as_interval, deciding_loss
from bitloss.expectations import Expectations, FormatRow
from bitloss.metrics.multiple import SIGNIFICANT, PValue, adjust, beyond, flip_test
from bitloss.metrics.paired import mean_interval
from bitloss.results.corpora import CorpusComparison
from bitloss.results.models import VariantResult
from bitloss.results.tasks import CapabilityResult, EndingChange, VariantTask
from bitloss.results.values import Estimate

__all__ = [
    "Families",
    "change_shown",
    "ending_change",
    "expected_row",
    "families_of",
    "judged_corpora",
    "loss_test",
    "score_change",
    "with_p_values",
]

Cell = tuple[str, str]
"""A variant and a capability, or a variant and a corpus."""

Ending = tuple[str, str, str]
"""A variant, a task, and a way in which texts end."""

_Key = TypeVar("_Key", bound=Hashable)
_NO: Final = PValue(1.0)  # what was measured is on the other side of the line


@dataclass(frozen=True, slots=True)
class Families:
    """Adjusted p-values, two-sided: a statement below `SIGNIFICANT` is made. See above."""

    scores: Mapping[Cell, float]
    losses: Mapping[Cell, float]
    pooled: Mapping[str, float]
    above: Mapping[Cell, float]
    below: Mapping[str, float]
    endings: Mapping[Ending, float]


def families_of(
    variants: Sequence[VariantResult],
    expectations: Expectations,
    unmeasurable: Collection[str] = (),
) -> Families:
    """The families of a page.

    Args:
        variants: all of the page, with their results. One that failed makes no statement but those
            about its scores.
        expectations: margins, and what formats lose as a rule.
        unmeasurable: capabilities that the reference does not have.
    """
    alive = [one for one in variants if one.error is None]
    measured = {v.name: _measured(v, unmeasurable) for v in variants}
    changed = {
        (name, capability): result
        for name, results in measured.items()
        for capability, result in results.items()
        if not _is_copy(result)
    }
    judged = {v.name for v in alive}
    rows = {v.name: row for v in alive if (row := expected_row(v, expectations)) is not None}
    texts = {v.name: judged_corpora(v) for v in alive if v.name in rows}
    return Families(
        scores=_adjusted({cell: _score_test(one) for cell, one in changed.items()}),
        losses=_adjusted(
            {
                cell: loss_test(deciding_loss(one), expectations.margin(cell[1]))
                for cell, one in changed.items()
                if cell[0] in judged
            }
        ),
        pooled=_adjusted({v.name: _pooled_test(measured[v.name], expectations) for v in alive}),
        above=_adjusted(
            {
                (name, corpus): _above(one, rows[name].high)
                for name, corpora in texts.items()
                for corpus, one in corpora.items()
            }
        ),
        below=_adjusted(
            {
                name: _all_of([_below(one, rows[name].low) for one in corpora.values()])
                for name, corpora in texts.items()
            }
        ),
        endings=_adjusted(
            {
                (v.name, task, name): _ending_test(one)
                for v in variants
                for task, result in (v.tasks or {}).items()
                for name, one in (result.endings or {}).items()
                if not one.difference.is_nothing
            }
        ),
    )


def _measured(variant: VariantResult, unmeasurable: Collection[str]) -> dict[str, CapabilityResult]:
    results = variant.capabilities or {}
    return {name: one for name, one in results.items() if name not in unmeasurable}


def _adjusted(family: Mapping[_Key, PValue | None]) -> dict[_Key, float]:
    """Without what cannot be tested, since it has no interval."""
    return adjust({key: test for key, test in family.items() if test is not None})


def _is_copy(result: CapabilityResult) -> bool:
    """Whether there is exactly nothing between reference and variant."""
    return result.difference.is_nothing


# Tests ------------------------------------------------------------------------------------------


def _score_test(result: CapabilityResult) -> PValue | None:
    """That the score changed: by its flips; by its interval if items are not right or wrong."""
    if (flips := result.flips) is not None and flips.p_value is not None:
        test = flip_test(flips.right_to_wrong, flips.wrong_to_right)
        # Of items that belong together it is another test, of whole clusters.
        return test if flips.p_value == test.p_value else PValue(flips.p_value)
    return beyond(result.difference, 0.0)


def _ending_test(changed: EndingChange) -> PValue | None:
    """That the share of texts changed: by those that did; by its interval if items have several."""
    if changed.p_value_alone is None or changed.more is None or changed.fewer is None:
        return beyond(changed.difference, 0.0)
    test = flip_test(changed.fewer, changed.more)
    # Of items that belong together it is another test, of whole clusters.
    return test if changed.p_value_alone == test.p_value else PValue(changed.p_value_alone)


def loss_test(loss: Estimate, limit: float) -> PValue | None:
    """That a loss is above a limit; None without an interval."""
    test = beyond(loss, limit)
    if test is None or loss.value is None:
        return None
    return test if loss.value > limit else _NO


def _pooled_test(
    results: Mapping[str, CapabilityResult], expectations: Expectations
) -> PValue | None:
    if not results:
        return None
    loss = mean_interval([as_interval(deciding_loss(one)) for one in results.values()])
    margin = sum(expectations.margin(name) for name in results) / len(results)
    return loss_test(Estimate.of(loss), margin)


def _above(corpus: CorpusComparison, high: float | None) -> PValue | None:
    """That the relative perplexity is above a range; None where it has no upper end."""
    if high is None or corpus.relative_perplexity.value is None:
        return None
    return _perplexity_test(corpus, high) if corpus.relative_perplexity.value > high else _NO


def _below(corpus: CorpusComparison, low: float) -> PValue | None:
    if corpus.relative_perplexity.value is None:
        return None
    return _perplexity_test(corpus, low) if corpus.relative_perplexity.value < low else _NO


def _perplexity_test(corpus: CorpusComparison, line: float) -> PValue | None:
    """By the logarithm, whose interval it is: the mean loss of so many blocks of text."""
    freedom = None if corpus.n_blocks is None else max(1, corpus.n_blocks - 1)
    return beyond(corpus.relative_perplexity, line, freedom=freedom, logarithmic=True)


def _all_of(tests: Sequence[PValue | None]) -> PValue | None:
    """That all of several statements hold: as sure as the least sure of them."""
    known = [test for test in tests if test is not None]
    if not known or len(known) < len(tests):
        return None
    return max(known, key=lambda test: test.p_value)


def judged_corpora(variant: VariantResult) -> dict[str, CorpusComparison]:
    """The corpora that verdicts are drawn from."""
    return {name: one for name, one in variant.corpora.items() if not one.out_of_domain}


def expected_row(variant: VariantResult, expectations: Expectations) -> FormatRow | None:
    """What variants of its format lose as a rule; None where nothing is known.

    A recipe that stores quantized values as plain floats has none: the format of the file then says
    nothing about how the values were made.
    """
    if variant.recipe is not None and (variant.format or "").startswith("safetensors-"):
        return None
    return expectations.expected(variant.format, variant.bits)


# Decisions --------------------------------------------------------------------------------------


def with_p_values(variant: VariantResult, families: Families) -> VariantResult:
    """The variant with the adjusted p-values of its scores' changes, and of its texts' endings."""
    changed: dict[str, Any] = {}
    if variant.capabilities is not None:
        changed["capabilities"] = {
            name: result.model_copy(update={"p_value": families.scores.get((variant.name, name))})
            for name, result in variant.capabilities.items()
        }
    if variant.tasks is not None:
        changed["tasks"] = {
            task: _with_endings(result, (variant.name, task), families.endings)
            for task, result in variant.tasks.items()
        }
    return variant.model_copy(update=changed) if changed else variant


def _with_endings(result: VariantTask, cell: Cell, p_values: Mapping[Ending, float]) -> VariantTask:
    if result.endings is None:
        return result
    endings = {
        name: one.model_copy(update={"p_value": p_values.get((*cell, name))})
        for name, one in result.endings.items()
    }
    return result.model_copy(update={"endings": endings})


def ending_change(changed: EndingChange) -> Literal["fewer", "more"] | None:
    """Whether more or fewer texts are shown to end so; None if neither is."""
    difference = changed.difference
    if changed.p_value is None or changed.p_value >= SIGNIFICANT or not difference.excludes_zero:
        return None
    return "more" if (difference.value or 0.0) > 0 else "fewer"


def score_change(result: CapabilityResult) -> Literal["lower", "higher"] | None:
    """How the score of a capability is shown to have changed; None if it is not.

    Its adjusted p-value is below 5%, and the interval beside it says the same.
    """
    change = result.difference
    if result.p_value is None or result.p_value >= SIGNIFICANT or not change.excludes_zero:
        return None
    return "lower" if (change.value or 0.0) < 0 else "higher"


def change_shown(variant: VariantResult, capability: str) -> Literal["lower", "higher"] | None:
    """How a capability is shown to have changed, for a table of scores: by its score, or since it
    lost more than its margin, which may have been decided by the expected score.
    """
    result = (variant.capabilities or {})[capability]
    verdict = variant.verdict.capabilities.get(capability) if variant.verdict is not None else None
    if verdict is not None and verdict.outcome == "lost" and (result.difference.value or 0.0) < 0:
        return "lower"
    return score_change(result)
