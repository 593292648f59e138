"""A run checked against an earlier one: did its variants lose more than they did then?

Both runs scored the same tokens and items of the same reference, so the change is measured pairwise
from their records, window by window and item by item, and its interval is that of a difference, not
the difference of two intervals.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bitloss.analysis.replicates import together
from bitloss.analysis.task_items import TaskItems, read_items
from bitloss.analysis.tasks import analyse_capabilities, analyse_task
from bitloss.analysis.window_intervals import window_intervals
from bitloss.checks.judge import (
    adjusted_losses,
    conclude,
    failed,
    judge_estimate,
    judgment_of,
)
from bitloss.checks.result import CheckResult, Judgment, WhenUndecided
from bitloss.checks.rules import Rule
from bitloss.checks.targets import Target, limits_for
from bitloss.errors import Incomparable, UsageError
from bitloss.metrics.divergence import mean_entropy, relative_perplexity
from bitloss.results import Comparison, Estimate
from bitloss.results.manifest import CorpusEntry, ExactRecords, ScoredVariant
from bitloss.runner import RunStore
from bitloss.tables.find import find_variants
from bitloss.types import TokenRecords

__all__ = ["judge_changes"]

_HINT = "rerun the older run's command with both models, or choose another baseline"


def judge_changes(
    run: Path,
    baseline: Path,
    rules: Sequence[Rule],
    *,
    variants: Sequence[str] = (),
    when_undecided: WhenUndecided = "skip",
) -> CheckResult:
    """Check the changes since an earlier run against limits.

    A limit on the relative perplexity applies to new over old; one on the divergence or the loss,
    to new minus old. Variants are matched by name.

    Args:
        run: the run directory, with its records.
        baseline: the earlier one's.
        rules: the limits.
        variants: the only ones to be judged; none is all.
        when_undecided: see `WhenUndecided`.

    Raises:
        UsageError: see `bitloss.checks.judge.judge`; or no limits, or one for a level that is
            the higher the better.
        Incomparable: the runs differ in reference, text, protocol, tasks or arithmetic, or the
            baseline has no results of a variant.
        StorageError: a record of either run is missing or damaged.
    """
    _require_limits_for_changes(rules)
    new, old = _Run(run), _Run(baseline)
    mine, theirs = new.comparison.reference, old.comparison.reference
    _require_same(f"reference `{mine.name}`", {"weights": (mine.digest, theirs.digest)})
    chosen = find_variants(new.comparison, variants)
    limits = limits_for(new.comparison, rules, chosen)
    judgments: list[Judgment] = []
    changes: dict[tuple[str, str, Target], Estimate | None] = {}
    for variant in chosen:
        if variant.error is not None:
            continue
        earlier = {other.name: other for other in old.comparison.variants}.get(variant.name)
        if earlier is None or earlier.error is not None:
            raise Incomparable(
                f"the baseline {baseline} has no results of `{variant.name}`",
                hint="choose variants that both runs have with --variant",
            )
        for key, target in limits[variant.name]:
            changes[variant.name, key, target] = _mean_change(new, old, variant.name, key, target)
    p_values = adjusted_losses(
        {
            at: (change, limits[at[0]][at[1:]].limit)
            for at, change in changes.items()
            if at[1] == "max_loss"
        }
    )
    for variant in chosen:
        if variant.error is not None:
            judgments.append(failed(variant))
            continue
        for (key, target), rule in limits[variant.name].items():
            at = (variant.name, key, target)
            outcome, reason = judge_estimate(changes[at], rule, p_value=p_values.get(at))
            judgments.append(judgment_of(variant.name, rule, target, changes[at], outcome, reason))
    return conclude(
        new.comparison,
        judgments,
        when_undecided=when_undecided,
        run=str(run),
        baseline=str(baseline),
    )


def _require_limits_for_changes(rules: Sequence[Rule]) -> None:
    if not rules:
        raise UsageError(
            "expected thresholds for the changes since the baseline, got none",
            hint="add some, such as --max-relative-perplexity 1.01 --max-loss 1%",
        )
    levels = [rule.measure.flag for rule in rules if not rule.measure.at_most]
    if levels:
        raise UsageError(
            f"`{levels[0]}` limits a level, and with a baseline limits apply to changes",
            hint="limit the change of the divergence with --max-kld",
        )


class _Run:
    """A finished run: its result, and the records behind it."""

    def __init__(self, path: Path) -> None:
        self.comparison = Comparison.load(path)
        self.store = RunStore(path if path.is_dir() else path.parent)
        self.manifest = self.store.read_manifest()

    @property
    def seed(self) -> int:
        """Of the bootstrap."""
        return self.manifest.environment.seeds.bootstrap

    def scored(self, variant: str, corpus: str) -> ScoredVariant | None:
        """A variant's records on a corpus; None without any."""
        entry = self.manifest.corpora.get(corpus)
        return None if entry is None else entry.variants.get(variant)

    def items(self, variant: str, task: str) -> TaskItems:
        """A variant's records of a task."""
        return read_items(self.store, self.manifest.tasks[task], variant)


def _mean_change(new: _Run, old: _Run, variant: str, key: str, target: Target) -> Estimate | None:
    """The change of a variant; of a recipe made several times, the mean over seeds, each replicate
    beside the earlier one of the same seed.
    """
    names, earlier = (run.manifest.replicates.get(variant, ()) for run in (new, old))
    if names != earlier:
        raise Incomparable(
            f"the run and the baseline made `{variant}` with different seeds: "
            f"{len(names)} replicates here, {len(earlier)} there",
            hint="rerun either with the --replicates and --seed of the other",
        )
    changes = [_change(new, old, name, key, target) for name in names]
    known = [change for change in changes if change is not None]
    if len(known) < len(changes):
        return None
    if len(known) == 1:
        return known[0]
    return together(known, scale="exp" if key == "max_relative_perplexity" else "linear")


def _change(new: _Run, old: _Run, variant: str, key: str, target: Target) -> Estimate | None:
    if target.kind == "corpus":
        return _corpus_change(new, old, variant, key, target.name)
    tasks = [target.name]
    if target.kind == "capability":
        known = new.manifest.tasks
        tasks = [name for name, task in known.items() if task.capability == target.name]
    if any(variant not in new.manifest.tasks[name].items for name in tasks):
        return None
    pairs = {name: _item_pair(new, old, variant, name) for name in tasks}
    if target.kind == "task":
        task = analyse_task(*pairs[target.name], seed=new.seed)
        gold, difference = task.gold_nll_difference, task.difference
    else:
        capability = analyse_capabilities(pairs, seed=new.seed)[target.name]
        gold, difference = capability.gold_nll_difference, capability.difference
    return gold if key == "max_kld" else difference.negated()


def _corpus_change(new: _Run, old: _Run, variant: str, key: str, name: str) -> Estimate | None:
    later, earlier = new.scored(variant, name), old.scored(variant, name)
    if later is None:
        return None
    if earlier is None:
        raise Incomparable(
            f"the baseline did not score `{variant}` on the corpus `{name}`", hint=_HINT
        )
    mine, theirs = new.manifest.corpora[name], old.manifest.corpora[name]
    _require_same_text(name, mine, theirs)
    if later.stopped is not None or earlier.stopped is not None:
        raise Incomparable(
            f"corpus `{name}`: expected runs that score the same windows, got one that stopped "
            "early",
            hint="rerun both without --until and --precision",
        )
    after, before, exact = _token_pair(new, old, later, earlier)
    if not np.array_equal(after.window, before.window):
        raise Incomparable(f"corpus `{name}`: the runs scored different tokens", hint=_HINT)
    facts = mine.facts
    if key == "max_relative_perplexity":
        series = relative_perplexity(
            before.nll, after.nll, after.window, facts.averaging, facts.valid
        )
    else:
        more = after.kl_divergence.astype(np.float64) - before.kl_divergence.astype(np.float64)
        series = replace(mean_entropy(more, after.window), bounds=(-np.inf, np.inf))
    found = window_intervals(
        {key: series},
        after.window,
        documents=facts.documents,
        drawn_from=mine.drawn_from(exact),
        seed=new.seed,
    )
    return Estimate.of(found[key])


def _token_pair(
    new: _Run, old: _Run, later: ScoredVariant, earlier: ScoredVariant
) -> tuple[TokenRecords, TokenRecords, ExactRecords | None]:
    """The later records and the earlier ones: the exact ones, and what they are, if both runs have
    the same of them.
    """
    if later.exact and earlier.exact and later.exact.dtype == earlier.exact.dtype:
        after = new.store.read_token_records(later.exact.records)
        before = old.store.read_token_records(earlier.exact.records)
        if np.array_equal(after.window, before.window):
            return after, before, later.exact
    return (
        new.store.read_token_records(later.records),
        old.store.read_token_records(earlier.records),
        None,
    )


def _item_pair(new: _Run, old: _Run, variant: str, name: str) -> tuple[TaskItems, TaskItems]:
    """The later answers and the earlier ones, the divergences on gold answers as their losses."""
    mine, theirs = new.manifest.tasks[name], old.manifest.tasks.get(name)
    if theirs is None or variant not in theirs.items:
        raise Incomparable(f"the baseline did not run task `{name}` on `{variant}`", hint=_HINT)
    _require_same(
        f"task `{name}`",
        {
            "identity": (mine.identity, theirs.identity),
            "digest": (mine.digest, theirs.digest),
            "version": (mine.version, theirs.version),
            "number of items": (mine.n_items, theirs.n_items),
            "samples": (mine.samples, theirs.samples),
            "metrics": (mine.metrics, theirs.metrics),
            "arithmetic": (mine.dtype, theirs.dtype),
            "shots": (mine.shots, theirs.shots),
        },
    )
    after, before = new.items(variant, name), old.items(variant, name)
    for column in ("item", "asked", "gold_tokens"):
        if not np.array_equal(after.columns[column], before.columns[column]):
            raise Incomparable(f"task `{name}`: the runs have different items", hint=_HINT)
    if not (after.has_divergence and before.has_divergence):  # known of likely tokens only
        nothing = np.zeros_like(after.columns["gold_tokens"])
        after, before = (
            replace(one, columns={**one.columns, "gold_tokens": nothing}) for one in (after, before)
        )
    # Two models that answer alike and lose alike on every gold answer are the same to this task.
    apart = np.abs(after.columns["gold_nll"] - before.columns["gold_nll"])
    return (
        replace(
            after, columns={**after.columns, "gold_nll": after.columns["gold_kl"], "gold_kl": apart}
        ),
        replace(before, columns={**before.columns, "gold_nll": before.columns["gold_kl"]}),
    )


def _require_same_text(name: str, mine: CorpusEntry, theirs: CorpusEntry) -> None:
    _require_same(
        f"corpus `{name}`",
        {
            "digest": (mine.facts.digest, theirs.facts.digest),
            "protocol": (mine.facts.protocol, theirs.facts.protocol),
            "parameters": (mine.facts.parameters, theirs.facts.parameters),
            "number of windows": (mine.facts.n_windows, theirs.facts.n_windows),
            "seed of the windows drawn": (mine.facts.draw_seed, theirs.facts.draw_seed),
            "arithmetic": (mine.dtype, theirs.dtype),
        },
    )


def _require_same(where: str, facts: Mapping[str, tuple[object, object]]) -> None:
    """Refuse runs that differ: by what it is, the run's fact and the baseline's."""
    for what, (mine, theirs) in facts.items():
        if mine != theirs:
            raise Incomparable(
                f"{where}: the run and the baseline differ in {what}: {_shown(mine)} here, "
                f"{_shown(theirs)} there",
                hint=_HINT,
            )


def _shown(value: object) -> str:
    text = str(value)
    return f"{text[:12]}..." if isinstance(value, str) and len(text) >= 32 else text
