"""From a suite and what the user says beside it to the corpora and tasks of a run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bitloss import registry
from bitloss.errors import UnknownName
from bitloss.spec.suite import Suite, TaskChoice
from bitloss.suites.find import load_suite
from bitloss.tasks.find import has_source, is_task_path

__all__ = ["choose"]

_DEFAULT_CORPUS = "wikitext-2"


def choose(
    suite: str | None,
    *,
    corpora: Sequence[str] | None,
    tasks: Sequence[str] | None,
) -> dict[str, Any]:
    """Fields of `bitloss.spec.run.RunSpec`.

    Args:
        suite: name or path; None is no suite.
        corpora: in place of the suite's; without suite and tasks, None is ``wikitext-2``.
        tasks: in place of the suite's; one that the suite names too keeps its limit and shots.

    Raises:
        UnknownName: no such suite or task.
        UsageError: a suite file with mistakes.
    """
    base = Suite(name="none") if suite is None else load_suite(suite)
    if corpora is None and suite is None and tasks is None:
        corpora = (_DEFAULT_CORPUS,)
    known = {choice.name: choice for choice in base.tasks}
    chosen = base.tasks
    if tasks is not None:
        chosen = tuple(known.get(name, TaskChoice(name=_checked(name))) for name in tasks)
    return {
        "suite": suite,
        "corpora": tuple(corpora) if corpora is not None else tuple(c.name for c in base.corpora),
        "corpus_limits": {c.name: c.limit for c in base.corpora if c.limit is not None},
        "tasks": chosen,
    }


def _checked(name: str) -> str:
    """The name, if it can be a task's: a typing error shows before any model is opened."""
    if name not in registry.TASKS and not has_source(name) and not is_task_path(name):
        raise UnknownName("task", name, registry.TASKS)
    return name
