"""Runs made from one pack put together: every variant in one table, sorted by a stated rule.

All of them were held against the same reference on the same tokens and items, so their numbers
compare, whoever measured them. Rows are sorted by the divergence from the reference on the first
corpus that every variant has; without one by how likely its answers change, on the tasks that every
variant has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bitloss.analysis.near_floor import is_near_floor
from bitloss.errors import DataError, Incomparable
from bitloss.results.comparison import Comparison
from bitloss.results.environment import PackUsed
from bitloss.results.leaderboard import Leaderboard, LeaderboardRow
from bitloss.results.models import VariantResult
from bitloss.results.values import Estimate

__all__ = ["rank_runs"]


@dataclass(frozen=True, slots=True)
class _Entry:
    """A variant, where it is from and how it was run."""

    run: str
    engine: str
    environment: tuple[str, ...]
    result: VariantResult


@dataclass(frozen=True, slots=True)
class _Rule:
    """What rows are sorted by: the smallest first."""

    words: str
    of: Callable[[VariantResult], Estimate | None]


def rank_runs(runs: Mapping[str, Comparison]) -> Leaderboard:
    """One table of all variants.

    Args:
        runs: results by the name of their run.

    Raises:
        DataError: a run was not made from a pack, or there are no variants.
        Incomparable: two were made from different packs; both digests are named.
    """
    pack = _one_pack(runs)
    entries = _entries(runs)
    if not entries:
        raise DataError("expected variants to rank, got none", hint="give runs with variants")
    scored = [entry.result for entry in entries if entry.result.error is None]
    corpora = _in_all([tuple(one.corpora) for one in scored])
    tasks = _in_all([tuple(one.tasks or ()) for one in scored])
    rule = _rule(corpora, tasks)
    values = [
        None if rule is None or entry.result.error is not None else rule.of(entry.result)
        for entry in entries
    ]
    order = sorted(range(len(entries)), key=lambda at: (_sort_key(values[at]), at))
    names = _names(entries)
    best = next((value for at in order if (value := values[at]) is not None), None)
    rows = [
        _row(entries[at], names[at], values[at], best, place, corpora, tasks)
        for place, at in enumerate(order, 1)
    ]
    words = "in the order given: the variants have no corpus or task in common"
    return Leaderboard(
        pack=pack,
        rule=words if rule is None else rule.words,
        rows=tuple(rows),
        notes=tuple(_notes(entries, corpora, tasks)),
    )


def _one_pack(runs: Mapping[str, Comparison]) -> PackUsed:
    found: dict[str, tuple[str, PackUsed]] = {}
    for run, result in runs.items():
        pack = result.reference.pack
        if pack is None:
            raise DataError(
                f"{run}: expected a run made from a pack, got one from the weights of "
                f"{result.reference.name}",
                hint="make it again with `bitloss compare PACK VARIANT`",
            )
        found.setdefault(pack.digest, (run, pack))
    if len(found) > 1:
        packs = "; ".join(f"{run} from {digest}" for digest, (run, _) in found.items())
        raise Incomparable(
            f"expected runs made from one pack, got {len(found)}: {packs}",
            hint="make the runs again from one pack",
        )
    return next(pack for _, pack in found.values())


def _entries(runs: Mapping[str, Comparison]) -> list[_Entry]:
    """All variants; one that two runs measured alike is there once."""
    entries: list[_Entry] = []
    seen: list[tuple[str | None, str, VariantResult]] = []
    for run, comparison in runs.items():
        environment = comparison.environment
        where = (environment.device, environment.cpu, environment.versions.get("torch", ""))
        engine = environment.engine.name
        for result in comparison.variants:
            bare = result.model_copy(update={"name": "", "verdict": None, "loss_ranking": None})
            own = (result.digest, engine, bare)
            if result.digest is not None and own in seen:
                continue
            seen.append(own)
            entries.append(_Entry(run, engine, where, result))
    return entries


def _in_all(names: Sequence[Sequence[str]]) -> list[str]:
    """Those that all lists have, in the order of the first."""
    return [name for name in names[0] if all(name in one for one in names)] if names else []


def _rule(corpora: Sequence[str], tasks: Sequence[str]) -> _Rule | None:
    if corpora:
        name = corpora[0]
        return _Rule(
            f"KL divergence from the reference on {name}, nats per token, smallest first",
            lambda one: one.corpora[name].kl_divergence.estimate,
        )
    for name in tasks:
        return _Rule(
            f"answer change on {name} (how far its gold answers are from coming out as the "
            "reference has them), smallest first",
            lambda one: (one.tasks or {})[name].answer_change,  # noqa: B023 - the first only
        )
    return None


def _sort_key(value: Estimate | None) -> float:
    return float("inf") if value is None or value.value is None else value.value


def _overlap(one: Estimate, other: Estimate) -> bool:
    """Whether two intervals have anything in common; without bounds nothing tells them apart."""
    bounds = (one.low, one.high, other.low, other.high)
    if any(bound is None for bound in bounds):
        return True
    low, high, other_low, other_high = (float(bound or 0.0) for bound in bounds)
    return low <= other_high and other_low <= high


def _names(entries: Sequence[_Entry]) -> list[str]:
    """Names of files, with the run where two have one."""
    short = [entry.result.name.rstrip("/").rsplit("/", 1)[-1] for entry in entries]
    counts = Counter(short)
    return [
        name if counts[name] == 1 else f"{name} ({entry.run})"
        for name, entry in zip(short, entries, strict=True)
    ]


def _row(
    entry: _Entry,
    name: str,
    value: Estimate | None,
    best: Estimate | None,
    place: int,
    corpora: Sequence[str],
    tasks: Sequence[str],
) -> LeaderboardRow:
    result = entry.result
    on = {} if result.error is not None else {key: result.corpora[key] for key in corpora}
    of = {} if result.error is not None else {key: (result.tasks or {})[key] for key in tasks}
    known = value is not None and value.value is not None
    return LeaderboardRow(
        rank=place if known else None,
        name=name,
        run=entry.run,
        engine=entry.engine,
        format=result.format,
        digest=result.digest,
        bits_per_weight=result.bits_per_weight,
        file_bytes=result.file_bytes,
        ranked_by=value,
        like_best=known and value is not None and best is not None and _overlap(value, best),
        relative_perplexity={key: one.relative_perplexity for key, one in on.items()},
        kl_divergence={key: one.kl_divergence.estimate for key, one in on.items()},
        near_floor=tuple(key for key, one in on.items() if is_near_floor(one)),
        top1_agreement={key: one.top1_agreement for key, one in on.items()},
        score_change={key: one.difference for key, one in of.items()},
        answer_change={key: one.answer_change for key, one in of.items()},
        error=None if result.error is None else result.error.message,
    )


def _notes(entries: Sequence[_Entry], corpora: Sequence[str], tasks: Sequence[str]) -> list[str]:
    notes = [
        "intervals are 95%, each of its own variant; like the best: its interval and that of the "
        "first row overlap",
    ]
    every = dict.fromkeys(
        name for entry in entries for name in (*entry.result.corpora, *(entry.result.tasks or ()))
    )
    if missing := [name for name in every if name not in (*corpora, *tasks)]:
        notes.append(f"left out, since not every run has it: {', '.join(missing)}")
    if any(entry.result.served for entry in entries):
        notes.append("of a variant that was run in several ways, the first is ranked")
    if len({entry.engine for entry in entries}) > 1:
        notes.append("engines differ: what an engine's own rounding adds is part of its rows")
    if len({entry.environment for entry in entries}) > 1:
        notes.append("runs were made on different machines or versions of PyTorch")
    return notes
