"""Weights, cache, activations and engine separated: what each way to run a variant adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.analysis.near_floor import added_near_floor, is_near_floor
from bitloss.tables.served_top_k import likely_table
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from bitloss.results import (
        Comparison,
        CorpusComparison,
        Estimate,
        Served,
        ServedTask,
        VariantResult,
        Way,
    )

__all__ = [
    "added_points",
    "column_title",
    "first_title",
    "reasons",
    "sentences",
    "served_tables",
    "signed",
    "state",
    "ways",
    "whole_ways",
]

_UNSUPPORTED = "not run"
_FAILED = "failed"
_ABSENT = "not measured"
# The engine that decodes a file's weights and rounds nothing; others run the file itself.
_DECODES = "dense"
_FIRST = "first"


def ways(comparison: Comparison) -> list[Way]:
    """The further ways in which variants of the run are run; none for most runs."""
    found: dict[str, Way] = {}
    for variant in comparison.variants:
        found |= {served.way.label: served.way for served in variant.served or ()}
    return list(found.values())


def whole_ways(comparison: Comparison) -> list[Way]:
    """Those of `ways` whose divergence is known, or that have nothing to show but why."""
    partial = {
        served.way.label
        for variant in comparison.variants
        for served in variant.served or ()
        if any(found.top_k is not None for found in served.corpora.values())
    }
    return [way for way in ways(comparison) if way.label not in partial]


def column_title(way: Way, first: str) -> str:
    """What a way adds, in few words.

    Args:
        way: the way.
        first: name of the run's first engine, which needs no mention.
    """
    own = "" if way.engine.name == first else f"{way.engine.name} "
    if way.adds == "engine":
        return f"run by {way.engine.name}"
    if way.adds == "activations":
        return f"{own}+ activations {way.activations}"
    cache = way.keys if way.keys == way.values else f"{way.keys}/{way.values}"
    return f"{own}+ cache {cache}"


def first_title(comparison: Comparison) -> str:
    """What the results of the first way hold: the file's weights alone, if it decodes them."""
    first = comparison.environment.engine.name
    return "weights" if first == _DECODES else f"run by {first}"


def served_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """A table for each corpus, and one for the tasks; none for a run with one way."""
    found = ways(comparison)
    if not found:
        return ()
    titles = {way.label: column_title(way, comparison.environment.engine.name) for way in found}
    added = {way.label: titles[way.label] for way in whole_ways(comparison)}
    tables = []
    for name in comparison.reference.corpora:
        tables += [_corpus(comparison, name, added)] if added else []
        likely = likely_table(comparison, name)
        tables += [] if likely is None else [likely]
    if any(s.tasks or s.not_measured for v in comparison.variants for s in v.served or ()):
        tables.append(_tasks(comparison, titles))
    why = tuple(reasons(comparison))
    return tuple(
        replace(table, notes=(*table.notes, *why)) if table is tables[-1] else table
        for table in tables
    )


def _corpus(comparison: Comparison, name: str, titles: dict[str, str]) -> TextTable:
    names = comparison.short_names
    rows: list[dict[str, Cell]] = []
    for variant in comparison.variants:
        if name not in variant.corpora or not variant.served:
            continue
        cells: dict[str, Cell] = {
            "model": names[variant.name],
            _FIRST: _divergence(variant.corpora[name]),
        }
        for served in variant.served:
            if served.way.label not in titles:
                continue
            found = served.corpora.get(name)
            added = None if found is None or found.added is None else found.added.kl_divergence
            if found is None or added is None:
                cells[served.way.label] = state(served)
            else:
                cells[served.way.label] = signed(added, near=added_near_floor(found))
        rows.append(cells)
    floors: dict[str, Cell] = {"model": "noise floor"}
    floors |= {label: fmt.divergence(floor) for label, floor in _floors(comparison, name)}
    return TextTable(
        title=f"{name}: the divergence (KLD, nats/token), and what is added to it",
        columns={"model": "model", _FIRST: first_title(comparison), **titles},
        rows=(*rows, floors),
        notes=sentences(comparison, name),  # of every way, also where there is no room
        dropped_first=tuple(reversed(titles)),
        muted=frozenset({len(rows)}),
    )


def _tasks(comparison: Comparison, titles: dict[str, str]) -> TextTable:
    names = comparison.short_names
    rows: list[dict[str, Cell]] = []
    for variant in comparison.variants:
        for task, own in (variant.tasks or {}).items():
            if not variant.served:
                continue
            cells: dict[str, Cell] = {
                "model": names[variant.name],
                "task": task,
                _FIRST: fmt.points_interval(own.expected_difference or own.difference),
            }
            for served in variant.served:
                added = added_points((served.tasks or {}).get(task))
                absent = task in (served.not_measured or {})
                cells[served.way.label] = (
                    _ABSENT
                    if absent
                    else state(served)
                    if added is None
                    else fmt.points_interval(added)
                )
            rows.append(cells)
    return TextTable(
        title="scores: the change, and what is added to it, in points",
        columns={"model": "model", "task": "task", _FIRST: first_title(comparison), **titles},
        rows=tuple(rows),
        notes=("of the expected score, where the task has one",),
        left=("model", "task"),
        dropped_first=tuple(reversed(titles)),
    )


def added_points(task: ServedTask | None) -> Estimate | None:
    """What a way adds to a score: of the expected score, where there is one."""
    return None if task is None else task.expected_added or task.added


def sentences(comparison: Comparison, name: str) -> tuple[str, ...]:
    """What the table of a corpus says, a sentence for each variant, and what a mark means."""
    names = comparison.short_names
    first = comparison.environment.engine.name
    found = []
    for variant in comparison.variants:
        parts = [
            _said(served.way, added, first, near=added_near_floor(one))
            for served in variant.served or ()
            if (one := served.corpora.get(name)) is not None
            and one.added is not None
            and (added := one.added.kl_divergence) is not None
        ]
        if parts:
            own = _divergence(variant.corpora[name]).value
            loses = "the weights lose" if first == _DECODES else f"run by {first} it loses"
            found.append(f"{names[variant.name]}: {loses} {own} nats; {'; '.join(parts)}")
    if any(fmt.NEAR_FLOOR in one for one in found):
        found.append(fmt.near_floor_note(exact=True))
    return tuple(found)


def _said(way: Way, added: Estimate, first: str, *, near: bool) -> str:
    """What a way adds, as a clause."""
    of = "" if way.engine.name == first else f" of {way.engine.name}"
    subject = f"the {way.adds}{of}"
    if way.adds == "engine":
        does = "decodes the file" if way.engine.name == _DECODES else "runs the file itself"
        subject = f"{way.engine.name}, which {does},"
    s = "" if way.adds == "activations" else "s"
    if added.value is None or added.low is None or added.high is None:
        return f"{subject} add{s} {signed(added, near=near)}, of which no interval is known"
    if added.low > 0:
        return f"{subject} add{s} {_marked(fmt.divergence_interval(added), near)}"
    if added.high < 0:
        return f"{subject} take{s} off {_marked(fmt.divergence_interval(added.negated()), near)}"
    return f"{subject} add{s} nothing significant, {signed(added, near=near)}"


def signed(added: Estimate, *, near: bool) -> fmt.IntervalText:
    """A difference of divergences with its sign; `near` the noise floor it has the mark of that."""
    text = fmt.divergence_interval(added)
    if added.value is not None and added.value > 0:
        text = fmt.IntervalText(f"+{text.value}", text.limits)
    return _marked(text, near)


def _marked(text: fmt.IntervalText, near: bool) -> fmt.IntervalText:
    return fmt.near_floor(text) if near else text


def _divergence(result: CorpusComparison) -> fmt.IntervalText:
    return _marked(fmt.divergence_interval(result.kl_divergence.estimate), is_near_floor(result))


def state(served: Served) -> str:
    """Why a way has no number for a variant, in a word or two."""
    if served.error is None:
        return fmt.MISSING
    return _UNSUPPORTED if served.status == "unsupported" else _FAILED


def _floors(comparison: Comparison, name: str) -> Iterator[tuple[str, float | None]]:
    """By column, the noise floor of the way: the largest of its variants'."""
    reference = comparison.reference.corpora[name].noise_floor
    if reference is not None:
        yield _FIRST, reference.kl_divergence
    found_floors: dict[str, float] = {}
    for variant in comparison.variants:
        for served in variant.served or ():
            found = served.corpora.get(name)
            result = None if found is None else found.result
            floor = None if result is None else result.noise_floor
            if floor is not None and floor.kl_divergence is not None:
                label = served.way.label
                found_floors[label] = max(found_floors.get(label, 0), floor.kl_divergence)
    yield from found_floors.items()


def reasons(comparison: Comparison) -> Iterator[str]:
    """Why a variant was not run in a way, or failed in it, or why a task was not measured; once
    for all variants alike.
    """
    first = comparison.environment.engine.name
    by_text: dict[str, list[str]] = {}
    for variant in comparison.variants:
        for served in variant.served or ():
            for task, why in (served.not_measured or {}).items():
                text = (
                    f"{task} {_ABSENT} in {served.way.engine.name}: {_without_name(why, variant)}"
                )
                by_text.setdefault(text, []).append(comparison.short_names[variant.name])
            if served.error is None:
                continue
            what = _UNSUPPORTED if served.status == "unsupported" else _FAILED
            text = _without_name(served.error.message, variant)
            by_text.setdefault(
                f"{what} by {served.way.engine.name}: {text}"
                if served.way.adds == "engine" or served.way.engine.name != first
                else f"{column_title(served.way, first)} {what}: {text}",
                [],
            ).append(comparison.short_names[variant.name])
    for text, names in by_text.items():
        yield f"{fmt.join_words(list(dict.fromkeys(names)))}: {text}"


def _without_name(message: str, variant: VariantResult) -> str:
    """A message without the model's name before it."""
    head, colon, rest = message.partition(": ")
    return rest if colon and variant.name in head else message
