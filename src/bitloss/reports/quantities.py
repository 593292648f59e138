"""What charts draw against size: a value per variant, and what stands where no loss is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.expectations import LEVELS, AxisName, load_expectations
from bitloss.results import Estimate

if TYPE_CHECKING:
    from bitloss.results import Comparison, VariantResult

__all__ = [
    "DIVERGENCE", "LOSS", "NATS", "PERPLEXITY", "Line", "Quantity", "Sizes", "pareto",
    "reference_level", "sizes",
]  # fmt: skip

NATS = "KL divergence, nats per token"


@dataclass(frozen=True, slots=True)
class Line:
    """A value that others are held against.

    Attributes:
        value: where it is drawn.
        text: what it is.
    """

    value: float
    text: str


@dataclass(frozen=True, slots=True)
class Quantity:
    """What is drawn against size or speed; less is better.

    Attributes:
        title: of the chart.
        axis: of the axis, with the unit.
        estimate: of a variant on a corpus; None if it has none.
        around: what no loss is.
        log: whether the axis is logarithmic, on which no loss has no place.
        lines: what values are held against, on a corpus.
    """

    title: str
    axis: str
    estimate: Callable[[VariantResult, str], Estimate | None]
    around: float = 0.0
    log: bool = False
    lines: Callable[[Comparison], tuple[Line, ...]] = lambda comparison: ()


def _divergence(variant: VariantResult, corpus: str) -> Estimate | None:
    found = variant.corpora.get(corpus)
    return None if found is None else found.kl_divergence.estimate


def _perplexity(variant: VariantResult, corpus: str) -> Estimate | None:
    found = variant.corpora.get(corpus)
    return None if found is None else found.relative_perplexity


def _loss(variant: VariantResult, corpus: str) -> Estimate | None:
    pooled = None if variant.verdict is None else variant.verdict.pooled
    if pooled is None:
        return None
    low, high = pooled.loss.low, pooled.loss.high
    return Estimate(
        value=None if pooled.loss.value is None else 100 * pooled.loss.value,
        low=None if low is None else 100 * low,
        high=None if high is None else 100 * high,
    )


def _levels(axis: AxisName) -> Callable[[Comparison], tuple[Line, ...]]:
    """Thresholds of the built-in levels, where verdicts were made with them."""

    def lines(comparison: Comparison) -> tuple[Line, ...]:
        answer, table = comparison.answer, load_expectations(None)
        if answer is None or answer.expectations != (table.source, table.digest):
            return ()
        limits = table.thresholds[axis].limits
        return tuple(
            Line(limit, f"{level} up to {limit:g}")
            for level, limit in zip(LEVELS, limits, strict=False)
        )

    return lines


def _margin(comparison: Comparison) -> tuple[Line, ...]:
    margins = {
        variant.verdict.pooled.margin
        for variant in comparison.variants
        if variant.verdict is not None and variant.verdict.pooled is not None
    }
    return tuple(Line(100 * margin, f"margin, {100 * margin:g} points") for margin in margins)


DIVERGENCE = Quantity(
    "KL divergence against file size", NATS, _divergence, log=True, lines=_levels("kl_divergence")
)
PERPLEXITY = Quantity(
    "Relative perplexity against file size",
    "relative perplexity",
    _perplexity,
    around=1.0,
    lines=_levels("relative_perplexity"),
)
LOSS = Quantity(
    "Mean loss over capabilities against file size", "points lost, mean over capabilities", _loss,
    lines=_margin,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large variants are, in one unit.

    Attributes:
        unit: of the axis.
        of: by variant; those of unknown size are left out.
        reference: the reference's; None if it is not known.
    """

    unit: str
    of: dict[str, float]
    reference: float | None


def sizes(comparison: Comparison) -> Sizes:
    """File sizes, or where a variant has none, bits per weight."""
    reference, variants = comparison.reference, comparison.variants
    stored = {v.name: v.file_bytes for v in variants if v.file_bytes is not None}
    bits = {v.name: v.bits_per_weight for v in variants if v.bits_per_weight is not None}
    if not stored or set(stored) < set(bits):
        return Sizes("bits per weight", bits, reference.bits_per_weight)
    scale, unit = (1e9, "GB") if max(stored.values()) >= 999.5e6 else (1e6, "MB")
    own = reference.file_bytes
    return Sizes(
        f"size of the files, {unit}",
        {name: n_bytes / scale for name, n_bytes in stored.items()},
        own / scale if own else None,
    )


def pareto(comparison: Comparison, corpus: str, quantity: Quantity = DIVERGENCE) -> tuple[str, ...]:
    """Variants that no other beats: none is as small or smaller and has less of the quantity.

    Args:
        comparison: the result.
        corpus: one of its corpora; "" for what is no corpus's.
        quantity: what is held against size.

    Returns:
        Names, the smallest variant first.
    """
    known = sizes(comparison).of
    points = sorted(
        (known[variant.name], estimate.value, variant.name)
        for variant in comparison.variants
        if variant.name in known
        for estimate in (quantity.estimate(variant, corpus),)
        if estimate is not None and estimate.value is not None
    )
    front: list[str] = []
    best = math.inf
    for _, value, name in points:
        if value < best:
            best = value
            front.append(name)
    return tuple(front)


def reference_level(comparison: Comparison, quantity: Quantity) -> Line:
    """The reference's own value, where no loss is."""
    n_bytes = comparison.reference.file_bytes
    size = f", {fmt.size(n_bytes)}" if n_bytes else ""
    # On a logarithmic axis it is infinitely far below.
    text = f"↓ reference: {quantity.around:g}" if quantity.log else "reference"
    return Line(quantity.around, f"{text}{size}")
