"""What the study of group sizes concludes: which size pays, and what its scales cost.

A smaller group stores more scales. Its bits pay if they lower the divergence by more than as many
bits of width would. One bit more halves the step between codes: a fourth of the squared error, and
with it a fourth of the divergence, which is quadratic in small errors. So groups that take *d* more
bits per quantized weight pay if divergence falls below 4^-d of what it was, a paired contrast.
"""

from __future__ import annotations

import itertools

from bitloss import wording
from bitloss.quantizers import quantizer_of
from bitloss.results import Estimate
from bitloss.spec.recipe import parse_recipe
from bitloss.studies.bits.findings import curve
from bitloss.studies.contrast import contrast, shown
from bitloss.studies.findings import Finding, FindingColumn, FindingRow, FindingTable
from bitloss.studies.measured import Measured
from bitloss.studies.result import LevelResult

__all__ = ["conclude", "exchange_rate", "recipe_bits"]

_PER_BIT = 4.0
_GB = 1e9


def recipe_bits(recipe: str) -> float:
    """Bits of a quantized weight with its share of scales and zero points."""
    parsed = parse_recipe(recipe)
    return quantizer_of(parsed).bits_per_weight(parsed)


def exchange_rate(extra_bits: float) -> float:
    """The share of the divergence that so many more bits of width would leave."""
    return float(_PER_BIT**-extra_bits)


def conclude(measured: Measured) -> tuple[Finding, ...]:
    """The findings of one model; see `bitloss.studies.base.Study.conclude`."""
    found = []
    for method, levels in measured.of_series().items():
        ordered = sorted(levels, key=lambda level: recipe_bits(level.recipe))
        if len(ordered) > 1:
            found += [_of_corpus(measured, method, ordered, name) for name in measured.corpora]
    return tuple(found)


def _of_corpus(measured: Measured, method: str, levels: list[LevelResult], corpus: str) -> Finding:
    """From the coarsest groups to the finest, each with the one before it."""
    steps = list(itertools.pairwise(levels))
    extra = {
        _key(*step): recipe_bits(step[1].recipe) - recipe_bits(step[0].recipe) for step in steps
    }
    falls = {_key(*step): _fall(measured, corpus, step, 1.0) for step in steps}
    beats = {
        _key(*step): _fall(measured, corpus, step, exchange_rate(extra[_key(*step)]))
        for step in steps
    }
    is_lower, pays = shown(falls), shown(beats)
    rows = []
    verdicts: dict[str, str] = {}
    for before, after in steps:
        key = _key(before, after)
        verdicts[key] = _verdict(beats[key], falls[key], pays[key], is_lower[key])
        rows.append(
            FindingRow(
                name=key,
                cells=(
                    extra[key],
                    _extra_bytes(before, after),
                    falls[key],
                    _per_gigabyte(before, after, falls[key]),
                    exchange_rate(extra[key]),
                    _ratio(before, after, corpus),
                    verdicts[key],
                ),
            )
        )
    chart = curve(measured, corpus, "kl_divergence")
    return Finding(
        name=f"which size pays, {method} on {corpus}",
        sentences=(_answer(method, corpus, levels, steps, verdicts), *_words(verdicts)),
        tables=(_table(measured, method, corpus, rows),),
        charts=() if chart is None else (chart,),
    )


def _key(before: LevelResult, after: LevelResult) -> str:
    return f"{before.level} -> {after.level}"


def _fall(
    measured: Measured, corpus: str, step: tuple[LevelResult, LevelResult], share: float
) -> Estimate | None:
    """How much less than this share of the first one's divergence the second one has."""
    before, after = step
    return contrast(measured, corpus, {before.level: share, after.level: -1.0})


def _verdict(beats: Estimate | None, fall: Estimate | None, pays: bool, lower: bool) -> str:
    if beats is None or fall is None:
        return "not measured"
    if pays:
        return "pays" if (beats.value or 0.0) > 0 else "does not pay"
    if lower and (fall.value or 0.0) < 0:
        return "does not pay"
    return "not shown"


def _extra_bytes(before: LevelResult, after: LevelResult) -> int | None:
    if before.file_bytes is None or after.file_bytes is None:
        return None
    return after.file_bytes - before.file_bytes


def _per_gigabyte(
    before: LevelResult, after: LevelResult, fall: Estimate | None
) -> Estimate | None:
    extra = _extra_bytes(before, after)
    if fall is None or extra is None or extra <= 0:
        return None
    ends = [None if x is None else x * _GB / extra for x in (fall.value, fall.low, fall.high)]
    return Estimate(value=ends[0], low=ends[1], high=ends[2])


def _ratio(before: LevelResult, after: LevelResult, corpus: str) -> float | None:
    one, other = (level.corpora[corpus]["kl_divergence"].value for level in (before, after))
    return None if not one or other is None else other / one


def _answer(
    method: str,
    corpus: str,
    levels: list[LevelResult],
    steps: list[tuple[LevelResult, LevelResult]],
    verdicts: dict[str, str],
) -> str:
    """The finest size that is reached by steps that all pay."""
    best = levels[0]
    for before, after in steps:
        if verdicts[_key(before, after)] != "pays":
            break
        best = after
    said = "the finest that was measured" if best is levels[-1] else "finer ones are not shown to"
    if best is levels[0]:
        return (
            f"{method} on {corpus}: no group size finer than {best.level} is shown to pay: its "
            "scales do not lower the divergence by more than as many bits of width would."
        )
    return f"{method} on {corpus}: groups of {best.level} pay; {said}."


def _words(verdicts: dict[str, str]) -> list[str]:
    by_verdict: dict[str, list[str]] = {}
    for step, verdict in verdicts.items():
        by_verdict.setdefault(verdict, []).append(step)
    return [f"{verdict}: {wording.join_words(steps)}." for verdict, steps in by_verdict.items()]


def _table(measured: Measured, method: str, corpus: str, rows: list[FindingRow]) -> FindingTable:
    return FindingTable(
        title=f"{measured.result.name}, {method} on {corpus}: from coarse groups to fine ones",
        head="step",
        columns=(
            FindingColumn(title="more bits", unit="number", minor=True),
            FindingColumn(title="more bytes", unit="bytes", minor=True),
            FindingColumn(title="KLD saved", unit="nats"),
            FindingColumn(title="per GB", unit="nats"),
            FindingColumn(title="ratio to beat", unit="number"),
            FindingColumn(title="ratio", unit="number"),
            FindingColumn(title="pays?", unit="text"),
        ),
        rows=tuple(rows),
        notes=(
            "KLD saved: nats per token less than the coarser groups, and per GB of file; ratio: of "
            "the divergences, finer over coarser",
            "ratio to beat: 4^-d, what d bits per quantized weight of width would leave of the "
            "divergence, for the d that the finer groups take",
            "pays?: by the paired contrast, corrected for the number of steps (Holm's method)",
        ),
    )
