"""From the figures of all variants to verdicts, what suffers most, and the answer."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from bitloss.analysis.answer import answer
from bitloss.analysis.families import families_of, with_p_values
from bitloss.analysis.loss_ranking import ItemLosses, rank_losses
from bitloss.analysis.verdicts import judge, without_ability
from bitloss.expectations import Expectations
from bitloss.results.models import VariantResult
from bitloss.results.tasks import Ability
from bitloss.results.verdicts import Answer, LossRanking
from bitloss.wording import short_names

__all__ = ["conclude"]

_Value = TypeVar("_Value")


def conclude(
    variants: tuple[VariantResult, ...],
    losses: Callable[[Sequence[str]], ItemLosses | None],
    expectations: Expectations,
    abilities: Mapping[str, Ability] | None = None,
) -> tuple[tuple[VariantResult, ...], Answer | None]:
    """The variants with their verdicts, and the answer over all of them.

    Args:
        variants: with their results.
        losses: given the names of the variants that did not fail, what those with results on
            every task lost, item by item; None if no task was run.
        expectations: what verdicts are made with.
        abilities: the reference's, by capability; one that is not named counts as measurable.
    """
    abilities = abilities or {}
    names = short_names([variant.name for variant in variants])
    unmeasurable = without_ability(abilities, expectations)
    families = families_of(variants, expectations, unmeasurable)
    variants = tuple(with_p_values(variant, families) for variant in variants)
    capabilities = {
        v.name: _without(v.capabilities, unmeasurable)
        for v in variants
        if v.capabilities and not v.error
    }
    rankings: dict[str, LossRanking] = {}
    overall = None
    if capabilities and (items := losses(list(capabilities))) is not None:
        rankings, overall = rank_losses(
            items.without(unmeasurable), capabilities, expectations.margin, names
        )
    judged = tuple(
        variant.model_copy(
            update={
                "verdict": judge(variant, expectations, unmeasurable, families),
                "loss_ranking": rankings.get(variant.name),
            }
        )
        for variant in variants
    )
    missing = {name: abilities[name] for name in unmeasurable}
    return judged, answer(judged, overall, expectations, missing)


def _without(values: Mapping[str, _Value], names: Collection[str]) -> dict[str, _Value]:
    return {name: value for name, value in values.items() if name not in names}
