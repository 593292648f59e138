"""A run held to an earlier one: did its variants lose more than they did then?

Both runs scored the same tokens and items of the same reference, so the change is measured pairwise
from their records, window by window and item by item, and its interval is that of a difference, not
the difference of two intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.analysis.corpora import estimate
from bitloss.analysis.task_items import TaskItems
from bitloss.analysis.tasks import analyse_capabilities, analyse_task
from bitloss.check.judge import conclude, failed, judge_estimate, judgement_of
from bitloss.check.places import Thing, limits_for
from bitloss.check.result import CheckResult, Judgement, WhenUndecided
from bitloss.check.rules import Rule
from bitloss.errors import Incomparable, UsageError
from bitloss.metrics.divergence import mean_entropy, relative_perplexity
from bitloss.metrics.intervals import bootstrap
from bitloss.results import Comparison, Estimate
from bitloss.runner import RunStore
from bitloss.tables.find import find_variants
from bitloss.types import TokenRecords

__all__ = ["judge_changes"]

_HINT = "repeat the older run's command with both models, or choose a baseline that asked the same"


def judge_changes(
    run: Path,
    baseline: Path,
    rules: Sequence[Rule],
    *,
    variants: Sequence[str] = (),
    when_undecided: WhenUndecided = "skip",
) -> CheckResult:
    """Hold the changes since an earlier run to limits.

    A limit for the relative perplexity is for new over old; one for the divergence or the loss,
    for new minus old. Variants are matched by name.

    Args:
        run: the run directory, with its records.
        baseline: the earlier one's.
        rules: the limits.
        variants: the only ones to be judged; none is all.
        when_undecided: see `WhenUndecided`.

    Raises:
        UsageError: see `bitloss.check.judge.judge`; or no limits, or one for the same top-1.
        Incomparable: the runs differ in reference, text, protocol, tasks or arithmetic, or the
            baseline has no figures of a variant.
        StorageError: a record of either run is missing or damaged.
    """
    if not rules:
        raise UsageError(
            "expected thresholds for the changes since the baseline, got none",
            hint="for example --max-relative-perplexity 1.01 --max-loss 1%",
        )
    if any(rule.measure.key == "min_top1" for rule in rules):
        raise UsageError(
            "`--min-top1` limits a level, and with a baseline limits are for changes",
            hint="limit the change of the divergence with --max-kld",
        )
    new, old = _Run(run), _Run(baseline)
    mine, theirs = new.comparison.reference, old.comparison.reference
    _require(f"reference `{mine.name}`", mine.digest, theirs.digest, "weights")
    chosen = find_variants(new.comparison, variants)
    limits = limits_for(new.comparison, rules, chosen)
    judgements: list[Judgement] = []
    for variant in chosen:
        if variant.error is not None:
            judgements.append(failed(variant))
            continue
        earlier = {other.name: other for other in old.comparison.variants}.get(variant.name)
        if earlier is None or earlier.error is not None:
            raise Incomparable(
                f"the baseline {baseline} has no figures of `{variant.name}`",
                hint="choose variants that both runs have with --variant",
            )
        for (key, thing), rule in limits[variant.name].items():
            change = _change(new, old, variant.name, key, thing)
            outcome, reason = judge_estimate(change, rule)
            judgements.append(judgement_of(variant.name, rule, thing, change, outcome, reason))
    return conclude(
        new.comparison,
        judgements,
        when_undecided=when_undecided,
        run=str(run),
        baseline=str(baseline),
    )


class _Run:
    """A finished run: its result, and the records behind it."""

    def __init__(self, path: Path) -> None:
        self.comparison = Comparison.load(path)
        root = path if path.is_dir() else path.parent
        self.store = RunStore(root)
        self.manifest: Mapping[str, Any] = self.store.read_manifest()
        self.seed: int = self.manifest["environment"]["seeds"]["bootstrap"]

    def tokens(self, variant: str, corpus: str, *, exact: bool) -> TokenRecords:
        """A variant's records of a corpus."""
        entry = self.manifest["corpora"][corpus]["variants"][variant]
        chosen = entry["exact"] if exact else entry
        return self.store.read_token_records(chosen["records"])

    def exact(self, variant: str, corpus: str) -> str | None:
        """The arithmetic in which the variant was scored again; None where it was not."""
        exact = self.manifest["corpora"][corpus]["variants"][variant]["exact"]
        return exact["dtype"] if exact else None

    def stopped(self, variant: str, corpus: str) -> bool:
        """Whether windows were drawn until a question was decided."""
        (found,) = (v for v in self.comparison.variants if v.name == variant)
        return getattr(found.corpora.get(corpus), "stopped", None) is not None

    def items(self, variant: str, task: str) -> TaskItems:
        """A variant's records of a task."""
        entry = self.manifest["tasks"][task]
        parts = [f"{part}:{metric}" for metric in entry["metrics"] for part in ("score", "weight")]
        columns = ("item", "subject", "asked", "gold_tokens", "gold_nll", "gold_kl", *parts)
        return TaskItems(entry, self.store.read_records([entry["items"][variant]], columns))


def _change(new: _Run, old: _Run, variant: str, key: str, thing: Thing) -> Estimate | None:
    if thing.kind == "corpus":
        return _corpus_change(new, old, variant, key, thing.name)
    tasks = [thing.name]
    if thing.kind == "capability":
        known = new.comparison.reference.tasks or {}
        tasks = [name for name, task in known.items() if task.capability == thing.name]
    if any(variant not in new.manifest["tasks"][name]["items"] for name in tasks):
        return None
    pairs = {name: _item_pair(new, old, variant, name) for name in tasks}
    if thing.kind == "task":
        found = analyse_task(*pairs[thing.name], seed=new.seed)
        gold, difference = found.gold_nll_difference, found.difference
    else:
        whole = analyse_capabilities(pairs, seed=new.seed)[thing.name]
        gold, difference = whole.gold_nll_difference, whole.difference
    if key == "max_kld":
        return gold
    ends = (difference.value, difference.high, difference.low)
    value, low, high = (None if end is None else 0.0 - end for end in ends)
    return Estimate(value=value, low=low, high=high)


def _corpus_change(new: _Run, old: _Run, variant: str, key: str, name: str) -> Estimate | None:
    if variant not in new.manifest["corpora"][name]["variants"]:
        return None
    if variant not in old.manifest["corpora"].get(name, {}).get("variants", {}):
        raise Incomparable(
            f"the baseline did not score `{variant}` on the corpus `{name}`", hint=_HINT
        )
    mine, theirs = (one.manifest["corpora"][name] for one in (new, old))
    for what in ("digest", "protocol", "parameters", "n_windows"):
        _require(f"corpus `{name}`", mine["facts"][what], theirs["facts"][what], what)
    if any(one.stopped(variant, name) for one in (new, old)):
        raise Incomparable(
            f"corpus `{name}`: a run that stopped when its question was decided has read other "
            "windows than another",
            hint="run both without --until and --precision",
        )
    _require(f"corpus `{name}`", mine["dtype"], theirs["dtype"], "arithmetic")
    exact = (new.exact(variant, name), old.exact(variant, name))
    both = exact[0] is not None and exact[0] == exact[1]
    after, before = (one.tokens(variant, name, exact=both) for one in (new, old))
    if both and len(after.window) != len(before.window):
        after, before = (one.tokens(variant, name, exact=False) for one in (new, old))
    if not np.array_equal(after.window, before.window):
        raise Incomparable(f"corpus `{name}`: the runs scored different tokens", hint=_HINT)
    facts = mine["facts"]
    if key == "max_relative_perplexity":
        series = relative_perplexity(
            before.nll, after.nll, after.window, facts["averaging"], tuple(facts["valid"])
        )
    else:
        more = after.kl_divergence.astype(np.float64) - before.kl_divergence.astype(np.float64)
        series = replace(mean_entropy(more, after.window), bounds=(-np.inf, np.inf))
    return estimate(bootstrap({key: series}, seed=new.seed)[key])


def _item_pair(new: _Run, old: _Run, variant: str, name: str) -> tuple[TaskItems, TaskItems]:
    """The later answers and the earlier ones, the divergences on gold answers as their losses."""
    earlier = old.manifest["tasks"].get(name)
    if earlier is None or variant not in earlier["items"]:
        raise Incomparable(f"the baseline did not ask `{variant}` the task `{name}`", hint=_HINT)
    entry = new.manifest["tasks"][name]
    for what in ("identity", "digest", "version", "n_items", "samples", "metrics", "dtype"):
        _require(f"task `{name}`", entry[what], earlier[what], what)
    if entry.get("shots") is not None and earlier.get("shots") is not None:
        _require(f"task `{name}`", entry["shots"], earlier["shots"], "shots")
    after, before = new.items(variant, name), old.items(variant, name)
    for column in ("item", "asked", "gold_tokens"):
        if not np.array_equal(after.columns[column], before.columns[column]):
            raise Incomparable(f"task `{name}`: the runs asked different items", hint=_HINT)
    # Two models that answer alike and lose alike on every gold answer are the same to this task.
    apart = np.abs(after.columns["gold_nll"] - before.columns["gold_nll"])
    return (
        replace(
            after, columns={**after.columns, "gold_nll": after.columns["gold_kl"], "gold_kl": apart}
        ),
        replace(before, columns={**before.columns, "gold_nll": before.columns["gold_kl"]}),
    )


def _require(where: str, mine: object, theirs: object, what: str) -> None:
    if mine != theirs:
        raise Incomparable(
            f"{where}: the run and the baseline differ in {what.replace('_', ' ')}: "
            f"{_shown(mine)} here, {_shown(theirs)} there",
            hint=_HINT,
        )


def _shown(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if isinstance(value, str) and len(text) >= 32 else text
