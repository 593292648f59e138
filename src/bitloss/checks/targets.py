"""What each limit applies to: the corpora, capabilities and tasks that a run measured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bitloss.checks.measures import MEASURES, Kind, Measure
from bitloss.checks.rules import Rule
from bitloss.errors import UnknownName, UsageError
from bitloss.results import Comparison, VariantResult
from bitloss.spec.documents import did_you_mean

__all__ = ["Target", "limits_for"]


class Target(NamedTuple):
    """A corpus, capability or task of a run."""

    kind: Kind
    name: str


def _names_of(comparison: Comparison) -> dict[Kind, tuple[str, ...]]:
    """Names of what the run measured, by kind."""
    tasks = comparison.reference.tasks or {}
    return {
        "corpus": tuple(comparison.reference.corpora),
        "capability": tuple(dict.fromkeys(task.capability for task in tasks.values())),
        "task": tuple(tasks),
    }


def limits_for(
    comparison: Comparison, rules: Sequence[Rule], variants: Sequence[VariantResult]
) -> dict[str, dict[tuple[str, Target], Rule]]:
    """By variant, the limit of every measure and target that has one.

    When several apply, flags override the file, per-variant overrides global, and named overrides
    unnamed.

    Raises:
        UsageError: no limits, no variants, or limits for what is not in the run, all of them
            reported at once.
    """
    if not variants:
        raise UsageError("the run has no variants", hint="give a run of `bitloss compare`")
    if not rules:
        raise UsageError(
            "expected at least one threshold, got none", hint="add one, such as --max-kld 0.05"
        )
    known = _names_of(comparison)
    placed: list[tuple[Rule, str | None, tuple[Target, ...]]] = []
    wrong: list[str] = []
    for rule in rules:
        try:
            name = rule.variant and comparison[rule.variant].name
            placed.append((rule, name, _targets(rule, known)))
        except UnknownName as error:
            wrong.append(f"{rule.origin}: {error.message}; {error.hint}")
        except _UnfitError as error:
            wrong.append(f"{rule.origin}: {error}")
    if wrong:
        text = "\n  ".join([f"{len(wrong)} thresholds do not fit the run:", *wrong])
        raise UsageError(wrong[0] if len(wrong) == 1 else text, hint=_list_targets(known))
    return {variant.name: _for_variant(variant.name, placed) for variant in variants}


def _for_variant(
    name: str, placed: Sequence[tuple[Rule, str | None, tuple[Target, ...]]]
) -> dict[tuple[str, Target], Rule]:
    chosen: dict[tuple[str, Target], Rule] = {}
    fitting = [(rule, targets) for rule, variant, targets in placed if variant in (None, name)]
    fitting.sort(key=lambda fit: (fit[0].flag, fit[0].variant is not None, fit[0].name is not None))
    for rule, targets in fitting:
        chosen.update({(rule.measure.key, target): rule for target in targets})
    order = list(MEASURES)
    return dict(sorted(chosen.items(), key=lambda item: order.index(item[0][0])))


class _UnfitError(Exception):
    """A limit for sometarget that was not measured, or that could be either of two."""


def _targets(rule: Rule, known: Mapping[Kind, tuple[str, ...]]) -> tuple[Target, ...]:
    measure = rule.measure
    if rule.name is None:
        if not known[measure.default]:
            raise _UnfitError(f"the run has no {measure.default}")
        return tuple(Target(measure.default, name) for name in known[measure.default])
    matches = list(_matches(rule.name, measure.kinds, known))
    if len(matches) == 1:
        return (matches[0],)
    if matches:
        kinds = " or the ".join(match.kind for match in matches)
        ways = " or ".join(f"`{match.kind}:{match.name}`" for match in matches)
        raise _UnfitError(f"`{rule.name}` may be the {kinds}: write {ways}")
    raise _UnfitError(_unknown(rule.name, measure, known))


def _matches(
    text: str, kinds: Sequence[Kind], known: Mapping[Kind, tuple[str, ...]]
) -> Iterator[Target]:
    for kind in kinds:
        for name in known[kind]:
            if text in (name, f"{kind}:{name}"):
                yield Target(kind, name)


def _unknown(text: str, measure: Measure, known: Mapping[Kind, tuple[str, ...]]) -> str:
    elsewhere = [kind for kind in known if text in known[kind] and kind not in measure.kinds]
    kinds = " or ".join(measure.kinds)
    if elsewhere:
        return f"`{text}` is a {elsewhere[0]}; a {measure.title} is that of a {kinds}"
    names = [name for kind in measure.kinds for name in known[kind]]
    suggestion = did_you_mean(text, names)
    return f"no {kinds} `{text}` in the run" + (f"; {suggestion}" if suggestion else "")


def _list_targets(known: Mapping[Kind, tuple[str, ...]]) -> str:
    plural = {"corpus": "corpora", "capability": "capabilities", "task": "tasks"}
    parts = [f"{plural[kind]}: {', '.join(names)}" for kind, names in known.items() if names]
    if not parts:
        return "give a run with corpora or tasks"
    return f"use the names of the run; {'; '.join(parts)}"
