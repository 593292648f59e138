"""From the figures of all variants to verdicts, what suffers most, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitloss.analysis.answer import answer
from bitloss.analysis.loss_ranking import Divergences, rank_losses
from bitloss.analysis.verdicts import judge
from bitloss.expectations import Expectations
from bitloss.results.models import VariantResult
from bitloss.results.verdicts import Answer, LossRanking

__all__ = ["conclude"]


def conclude(
    variants: tuple[VariantResult, ...],
    divergences: Callable[[Sequence[str]], Divergences | None],
    expectations: Expectations,
) -> tuple[tuple[VariantResult, ...], Answer | None]:
    """The variants with their verdicts, and the answer over all of them.

    Args:
        variants: with their results.
        divergences: given the names of the variants that did not fail, the divergences on gold
            answers of those with results on every task; None if no task was run.
        expectations: what verdicts are made with.
    """
    capabilities = {v.name: v.capabilities for v in variants if v.capabilities and not v.error}
    rankings: dict[str, LossRanking] = {}
    overall = None
    if capabilities and (items := divergences(list(capabilities))) is not None:
        rankings, overall = rank_losses(items, capabilities)
    judged = tuple(
        variant.model_copy(
            update={
                "verdict": judge(variant, expectations),
                "loss_ranking": rankings.get(variant.name),
            }
        )
        for variant in variants
    )
    return judged, answer(judged, overall, expectations)
