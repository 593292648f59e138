"""Tests of programs, tried before a model is run: can they fail, and can they be passed?

A test that never calls the solution passes every program, and one that cannot run fails every one:
either is a number about the test and not about a model.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from bitloss.errors import TaskDataError
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.sandbox.base import BrokenTests, Program, Sandbox, Verdict
from bitloss.tasks.base import Item
from bitloss.types import Progress

__all__ = ["with_tried_tests"]

# What no test may pass: nothing, and the same for everything.
_EMPTY = "def {name}(*arguments, **keywords):\n    return None\n"
_CONSTANT = "def {name}(*arguments, **keywords):\n    return 'the same for every argument'\n"
_PROBES = (
    ("a function that returns nothing", _EMPTY),
    ("a function that returns the same text for every argument", _CONSTANT),
)
# Of the tests' own making: no probe raises any.
_OWN_FAULTS = (
    "NameError", "ImportError", "ModuleNotFoundError", "SyntaxError", "the tests' process ended",
)  # fmt: skip
_SHOWN = 8


def with_tried_tests(planned: PlannedTask, sandbox: Sandbox, progress: Progress) -> PlannedTask:
    """The task, with a note where its own right answers fail tests.

    Args:
        planned: a task; nothing is tried if it runs no programs or its data is as published.
        sandbox: where programs run.
        progress: where to report.

    Raises:
        TaskDataError: tests that cannot run, never call the solution, or pass one that returns
            nothing or the same for everything, with file and line; or that no right answer passes.
        SandboxError: the sandbox failed.
    """
    make = planned.task.program
    items = [q.item for q in planned.questions if q.asked and q.item.id in planned.places]
    if make is None or not items:
        return planned

    with progress.task(f"try the tests of {planned.name}", len(items), "items") as advance:

        def tried(item: Item) -> tuple[str, str]:
            faults = _fault(make, item, sandbox), _gold_fault(make, item, sandbox)
            advance(1)
            return faults

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            found = list(pool.map(tried, items))
    places = [planned.places[item.id] for item in items]
    _refuse([f"{at}: {fault}" for at, (fault, _) in zip(places, found, strict=True) if fault])
    failing = [f"{at}: {gold}" for at, (_, gold) in zip(places, found, strict=True) if gold]
    if not failing:
        return planned
    golds = sum(item.gold_answer is not None for item in items)
    if len(failing) == golds:
        _refuse(failing)
    note = f"the task's own right answer fails the tests of {len(failing)} of {golds} items"
    return replace(planned, notes=(*planned.notes, f"{note}; the first is {failing[0]}"))


def _fault(make: Callable[[Item, str], Program], item: Item, sandbox: Sandbox) -> str:
    """Why nothing can be learned from an item's tests; nothing where it can."""
    program = make(item, "")
    for name, source in _PROBES:
        probe = replace(program, solution=source.format(name=program.entry_point))
        try:
            verdict = sandbox.run(probe)
        except BrokenTests as error:
            return error.message
        if verdict.passed:
            return f"expected tests that fail {name}, got tests that it passes"
        if verdict.reason == "error" and verdict.detail.startswith(_OWN_FAULTS):
            return f"the tests themselves: {verdict.detail}"
    return ""


def _gold_fault(make: Callable[[Item, str], Program], item: Item, sandbox: Sandbox) -> str:
    if item.gold_answer is None:
        return ""
    try:
        verdict: Verdict = sandbox.run(make(item, item.gold_answer))
    except BrokenTests:  # `_fault` has told
        return ""
    if verdict.passed:
        return ""
    return f"the task's own right answer fails its tests ({verdict.reason}: {verdict.detail})"


def _refuse(faults: Sequence[str]) -> None:
    faults = list(dict.fromkeys(faults))  # items may share tests
    if not faults:
        return
    shown = list(faults[:_SHOWN])
    if len(faults) > _SHOWN:
        shown.append(f"and {len(faults) - _SHOWN:,} more")
    text = shown[0] if len(faults) == 1 else "\n  ".join([f"{len(faults)} faulty tests:", *shown])
    raise TaskDataError(
        text,
        hint="correct these tests, or omit the task: they have to call the function (as "
        "`check(f)` at their end does) and to fail a wrong one",
    )
