"""From the figures of all variants to verdicts, what suffers most, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bitloss.analysis.answer import answer
from bitloss.analysis.loss_ranking import Divergences, suffering
from bitloss.analysis.verdicts import judge
from bitloss.expectations import Expectations
from bitloss.results.comparison import VariantResult
from bitloss.results.verdicts import Answer, Suffering

__all__ = ["conclude"]


def conclude(
    variants: tuple[VariantResult, ...],
    divergences: Callable[[Sequence[str]], Divergences | None],
    expectations: Expectations,
) -> tuple[tuple[VariantResult, ...], Answer | None]:
    """The variants with their verdicts, and the answer over all of them.

    Args:
        variants: with their figures.
        divergences: given the names of the variants that did not fail, the divergences on gold
            answers of those that answered everything; None where no task was asked.
        expectations: what verdicts are made with.
    """
    asked = {one.name: one.capabilities for one in variants if one.capabilities and not one.error}
    found: dict[str, Suffering] = {}
    together = None
    if asked and (items := divergences(list(asked))) is not None:
        found, together = suffering(items, asked)
    judged = tuple(
        one.model_copy(
            update={"verdict": judge(one, expectations), "suffering": found.get(one.name)}
        )
        for one in variants
    )
    return judged, answer(judged, together, expectations)
