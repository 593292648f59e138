"""What the study of architectures concludes: ranks of models, with intervals.

Models have different tokenizers, so losses are per byte of the same text. A model's rank is that of
its confidence distribution among the others' (`bitloss.metrics.ranking`), taken as independent,
which makes intervals of ranks rather too wide: the text is the same. A rank is no cause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bitloss import wording
from bitloss.errors import BitlossError
from bitloss.metrics.intervals import Interval
from bitloss.metrics.ranking import named_seed, normal_draws
from bitloss.results import Estimate
from bitloss.studies.architecture.facts import ModelFacts, facts_of
from bitloss.studies.findings import (
    Chart,
    ChartCell,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.measured import Measured

__all__ = ["per_byte", "rank_models", "ranks"]

_MARGIN = 0.025


def rank_models(models: Sequence[Measured]) -> tuple[Finding, ...]:
    """The findings over all models; see `bitloss.studies.base.Study.across`."""
    corpora = [name for name in models[0].corpora if all(name in one.corpora for one in models)]
    found = [_of_corpus(models, corpus) for corpus in corpora]
    known = tuple(one for one in found if one is not None)
    if not known:
        reason = (
            "there is one model" if len(models) == 1 else "no recipe was measured on two models"
        )
        known = (Finding(name="models by loss", sentences=(f"Nothing to compare: {reason}.",)),)
    return (*known, _facts(models))


def per_byte(measured: Measured, level: str, corpus: str) -> Estimate | None:
    """A level's divergence, nats per byte of the text; None if it was not measured, or the model
    does worse on the text than guessing.
    """
    found = next((one for one in measured.levels if one.level == level), None)
    if found is None or "kl_divergence" not in found.corpora.get(corpus, {}):
        return None
    if _is_strange(measured, level, corpus):
        return None
    facts = measured.run_of(level).records.corpora[corpus].facts
    own = found.corpora[corpus]["kl_divergence"]
    share = facts.n_tokens / facts.n_bytes
    ends = [None if x is None else x * share for x in (own.value, own.low, own.high)]
    return Estimate(value=ends[0], low=ends[1], high=ends[2])


def _is_strange(measured: Measured, level: str, corpus: str) -> bool:
    """Whether the model does worse than guessing: it then has nothing to lose."""
    reference = measured.run_of(level).comparison.reference
    return bool(reference.corpora[corpus].out_of_domain)


def ranks(losses: Mapping[str, Estimate], *, seed: int) -> dict[str, Estimate]:
    """Each name's rank, 1 for the least loss, with a 95% interval; none where one has no interval.

    Args:
        losses: by name, with their 95% intervals.
        seed: of the draws.
    """
    order = sorted(losses, key=lambda name: losses[name].value or 0.0)
    place = {name: float(index) for index, name in enumerate(order, start=1)}
    if any(one.low is None or one.high is None for one in losses.values()):
        return {name: Estimate(value=place[name], low=None, high=None) for name in losses}
    draws = np.stack(
        [
            normal_draws(
                Interval(one.value or 0.0, one.low or 0.0, one.high or 0.0),
                seed=named_seed(seed, name),
            )
            for name, one in losses.items()
        ]
    )
    drawn = draws.argsort(0).argsort(0) + 1
    return {
        name: Estimate(
            value=place[name],
            low=float(np.quantile(own, _MARGIN, method="lower")),
            high=float(np.quantile(own, 1 - _MARGIN, method="higher")),
        )
        for name, own in zip(losses, drawn, strict=True)
    }


def _of_corpus(models: Sequence[Measured], corpus: str) -> Finding | None:
    levels = list(dict.fromkeys(level.level for one in models for level in one.levels))
    losses = {
        level: {
            one.result.name: found
            for one in models
            if (found := per_byte(one, level, corpus)) is not None and found.value is not None
        }
        for level in levels
    }
    losses = {level: own for level, own in losses.items() if len(own) > 1}
    if not losses:
        return None
    placed = {level: ranks(own, seed=models[0].seed) for level, own in losses.items()}
    strange = [
        one.result.name
        for one in models
        if one.levels and corpus in one.corpora and _is_strange(one, one.levels[0].level, corpus)
    ]
    names = [one.result.name for one in models if one.result.name not in strange]
    return Finding(
        name=f"models by loss, {corpus}",
        sentences=tuple(_sentence(corpus, level, losses[level], placed[level]) for level in losses),
        tables=(_table(corpus, names, losses, placed, strange),),
        charts=(
            Chart(
                title=f"KL divergence per byte by model and recipe, {corpus}",
                caption="Compare within a column: the darkest model loses most.",
                across="recipe",
                up="model",
                unit="nats",
                cells=tuple(
                    ChartCell(row=name, column=level, value=own[name])
                    for name in names
                    for level, own in losses.items()
                    if name in own
                ),
            ),
        ),
    )


def _sentence(
    corpus: str, level: str, losses: Mapping[str, Estimate], placed: Mapping[str, Estimate]
) -> str:
    order = sorted(losses, key=lambda name: losses[name].value or 0.0)
    first, last = order[0], order[-1]
    told = ", ".join(f"{name} {_rank(placed[name])}" for name in order)
    sure = placed[first].high == 1.0
    ahead = f"{first} is shown to lose least" if sure else "no model is shown to lose least"
    return (
        f"{level} on {corpus}: {ahead}; from "
        f"{wording.divergence_interval(losses[first])} ({first}) to "
        f"{wording.divergence_interval(losses[last])} nats per byte ({last}). Ranks: {told}."
    )


def _rank(found: Estimate) -> str:
    if found.low is None or found.high is None or found.value is None:
        return f"{found.value:.0f}"
    return f"{found.value:.0f} [{found.low:.0f}, {found.high:.0f}]"


def _table(
    corpus: str,
    names: Sequence[str],
    losses: Mapping[str, Mapping[str, Estimate]],
    placed: Mapping[str, Mapping[str, Estimate]],
    strange: Sequence[str],
) -> FindingTable:
    columns = []
    for level in losses:
        columns.append(FindingColumn(title=f"{level}, nats/byte", unit="nats"))
        columns.append(FindingColumn(title="rank", unit="text"))
    return FindingTable(
        title=f"models by loss on {corpus}, nats per byte of the text",
        head="model",
        columns=tuple(columns),
        rows=tuple(
            FindingRow(
                name=name,
                cells=tuple(
                    cell
                    for level in losses
                    for cell in (
                        losses[level].get(name),
                        _rank(placed[level][name]) if name in placed[level] else None,
                    )
                ),
            )
            for name in names
        ),
        notes=(
            "per byte, as tokenizers differ; ranks with 95% intervals, 1 loses least",
            *(f"{name}: left out, as it does worse on this text than guessing" for name in strange),
        ),
    )


# What is known of them --------------------------------------------------------------------------


def _facts(models: Sequence[Measured]) -> Finding:
    rows = []
    for one in models:
        spec = one.runs[0].spec
        corpus = spec.corpora[0] if spec.corpora else "wikitext-2"
        try:
            facts = facts_of(one.result.name, corpus, spec.data, one.progress)
        except BitlossError as error:
            rows.append(FindingRow(name=one.result.name, cells=(None,) * 8, note=error.message))
            continue
        rows.append(FindingRow(name=one.result.name, cells=_cells(facts)))
    return Finding(
        name="what is known of the models",
        sentences=(
            "These are facts beside the ranks; with few models no cause follows from them.",
        ),
        tables=(
            FindingTable(
                title="what is known of the models",
                head="model",
                columns=(
                    FindingColumn(title="parameters", unit="count"),
                    FindingColumn(title="layers", unit="count"),
                    FindingColumn(title="width", unit="count"),
                    FindingColumn(title="norm", unit="text"),
                    FindingColumn(title="tied head", unit="text"),
                    FindingColumn(title="trained on", unit="count", minor=True),
                    FindingColumn(title="weight outliers", unit="bits"),
                    FindingColumn(title="activation outliers", unit="bits"),
                ),
                rows=tuple(rows),
                notes=(
                    "weight outliers: the largest weight of a matrix in standard deviations, "
                    "median over the matrices; activation outliers: the largest input column over "
                    "the median one, root mean squares, likewise",
                    "trained on: tokens, if the config has them",
                ),
            ),
        ),
    )


def _cells(facts: ModelFacts) -> tuple[float | str | None, ...]:
    return (
        facts.parameters,
        facts.layers,
        facts.width,
        facts.norm,
        "yes" if facts.tied else "no",
        facts.trained_on,
        facts.weight_outliers,
        facts.activation_outliers,
    )
