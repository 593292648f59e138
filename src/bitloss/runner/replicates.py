"""Replicates: a recipe made several times, each time with a seed, and so a calibration draw, of its
own.

A seed changes the bytes that a recipe makes, and with them every result. Replicates are variants
of a run like any others: made, kept in the cache and scored by their own fingerprints, so that a
run with more of them scores only the new ones. `bitloss.analysis.replicates` puts them together
again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bitloss.errors import UsageError
from bitloss.spec.model import ModelRef

__all__ = ["replicates_of", "require_replicable"]


def replicates_of(ref: ModelRef, count: int) -> list[ModelRef]:
    """A variant and its replicates: the same recipe with the next seeds.

    Args:
        ref: as the user named it; it is the first.
        count: of all of them. A file, and a recipe that nothing random decides, is there once.
    """
    recipe = ref.recipe
    if recipe is None or not recipe.depends_on_seed:
        return [ref]
    seeds = range(recipe.seed + 1, recipe.seed + count)
    return [
        ref,
        *(
            replace(
                ref,
                text=f"{ref.text} (seed {seed})",
                recipe=replace(recipe, seed=seed),
                replicate_of=ref.text,
            )
            for seed in seeds
        ),
    ]


def require_replicable(refs: Sequence[ModelRef], count: int) -> None:
    """Refuse replicates where every variant is there once.

    Args:
        refs: the run's variants, as the user named them.
        count: how often each recipe is to be made.

    Raises:
        UsageError: none of them depends on a seed.
    """
    if count == 1 or any(one.recipe is not None and one.recipe.depends_on_seed for one in refs):
        return
    raise UsageError(
        f"{count} replicates have no effect: no variant here is a recipe that a seed or a "
        "calibration draw decides",
        hint="leave --replicates out, or name a recipe that calibrates, such as gptq-4",
    )
