"""Which limit is for what: names in limits, and the corpora, capabilities and tasks of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from bitloss.check.measures import MEASURES, Kind, Measure
from bitloss.check.rules import Rule
from bitloss.errors import UnknownName, UsageError
from bitloss.results import Comparison, VariantResult
from bitloss.spec.documents import did_you_mean
from bitloss.tables.find import find_variant

__all__ = ["Thing", "limits_for"]


class Thing(NamedTuple):
    """A corpus, capability or task of a run."""

    kind: Kind
    name: str


def _things_of(comparison: Comparison) -> dict[Kind, tuple[str, ...]]:
    """Names of what the run measured, by kind."""
    tasks = comparison.reference.tasks or {}
    return {
        "corpus": tuple(comparison.reference.corpora),
        "capability": tuple(dict.fromkeys(task.capability for task in tasks.values())),
        "task": tuple(tasks),
    }


def limits_for(
    comparison: Comparison, rules: Sequence[Rule], variants: Sequence[VariantResult]
) -> dict[str, dict[tuple[str, Thing], Rule]]:
    """By variant, the limit of every measure and thing that has one.

    Of several that fit, a flag goes before a file, a limit for the variant before one for all,
    a limit with a name before one without.

    Raises:
        UsageError: no limits, no variants, or limits for what is not in the run, all of them told
            at once.
    """
    if not variants:
        raise UsageError("the run has no variants", hint="give a run of `bitloss compare`")
    if not rules:
        raise UsageError("expected at least one threshold, got none")
    known = _things_of(comparison)
    placed: list[tuple[Rule, str | None, tuple[Thing, ...]]] = []
    wrong: list[str] = []
    for rule in rules:
        try:
            name = rule.variant and find_variant(comparison, rule.variant).name
            placed.append((rule, name, _things(rule, known)))
        except UnknownName as fault:
            wrong.append(f"{rule.origin}: {fault.message}; {fault.hint}")
        except _UnfitError as fault:
            wrong.append(f"{rule.origin}: {fault}")
    if wrong:
        text = "\n  ".join([f"{len(wrong)} thresholds do not fit the run:", *wrong])
        raise UsageError(wrong[0] if len(wrong) == 1 else text, hint=_there_is(known))
    return {variant.name: _for_variant(variant.name, placed) for variant in variants}


def _for_variant(
    name: str, placed: Sequence[tuple[Rule, str | None, tuple[Thing, ...]]]
) -> dict[tuple[str, Thing], Rule]:
    chosen: dict[tuple[str, Thing], Rule] = {}
    fitting = [(rule, things) for rule, variant, things in placed if variant in (None, name)]
    fitting.sort(key=lambda fit: (fit[0].flag, fit[0].variant is not None, fit[0].name is not None))
    for rule, things in fitting:
        chosen.update({(rule.measure.key, thing): rule for thing in things})
    order = list(MEASURES)
    return dict(sorted(chosen.items(), key=lambda item: order.index(item[0][0])))


class _UnfitError(Exception):
    """A limit for something that was not measured, or that could be either of two."""


def _things(rule: Rule, known: Mapping[Kind, tuple[str, ...]]) -> tuple[Thing, ...]:
    measure = rule.measure
    if rule.name is None:
        if not known[measure.default]:
            raise _UnfitError(f"the run has no {measure.default}")
        return tuple(Thing(measure.default, name) for name in known[measure.default])
    found = list(_matches(rule.name, measure.kinds, known))
    if len(found) == 1:
        return (found[0],)
    if found:
        ways = " or ".join(f"`{thing.kind}:{thing.name}`" for thing in found)
        raise _UnfitError(f"`{rule.name}` may be the {' or the '.join(t.kind for t in found)}: "
                        f"write {ways}")  # fmt: skip
    raise _UnfitError(_unknown(rule.name, measure, known))


def _matches(
    text: str, kinds: Sequence[Kind], known: Mapping[Kind, tuple[str, ...]]
) -> Iterator[Thing]:
    for kind in kinds:
        for name in known[kind]:
            if text in (name, f"{kind}:{name}"):
                yield Thing(kind, name)


def _unknown(text: str, measure: Measure, known: Mapping[Kind, tuple[str, ...]]) -> str:
    elsewhere = [kind for kind in known if text in known[kind] and kind not in measure.kinds]
    kinds = " or ".join(measure.kinds)
    if elsewhere:
        return f"`{text}` is a {elsewhere[0]}; a {measure.title} is that of a {kinds}"
    names = [name for kind in measure.kinds for name in known[kind]]
    suggestion = did_you_mean(text, names)
    return f"no {kinds} `{text}` in the run" + (f"; {suggestion}" if suggestion else "")


def _there_is(known: Mapping[Kind, tuple[str, ...]]) -> str:
    plural = {"corpus": "corpora", "capability": "capabilities", "task": "tasks"}
    parts = [f"{plural[kind]}: {', '.join(names)}" for kind, names in known.items() if names]
    return f"the run has {'; '.join(parts)}" if parts else "the run has no corpora and no tasks"
