"""Tasks of the domains that are evaluated: those that the user names, or those at home in a text.

A task belongs to the domain whose `capability` it measures, so tasks of the user's take part too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bitloss.errors import BitlossError
from bitloss.sandbox import open_sandbox
from bitloss.studies.base import Subject
from bitloss.studies.calibration.domains import DOMAINS
from bitloss.studies.findings import Finding
from bitloss.tasks.find import resolve_task

__all__ = ["domain_of", "find_tasks"]


def domain_of(capability: str) -> str | None:
    """The domain whose text a capability is at home in; None if it is in none."""
    return next((name for name, one in DOMAINS.items() if one.capability == capability), None)


def find_tasks(domains: Sequence[str], subject: Subject) -> tuple[dict[str, Any], list[Finding]]:
    """The tasks of these domains that can be evaluated here, as keywords of a run.

    Returns:
        Nothing where the user chose what is evaluated. A task whose data or sandbox is not there is
        left out, and the finding says why: nobody asked for it.
    """
    if {"tasks", "suite", "corpora"} & {*subject.options}:
        return {}, []
    found, missing = [], []
    for domain in domains:
        name = DOMAINS[domain].task_for(subject)
        if not name:
            continue
        try:
            _try(name, subject)
        except BitlossError as error:
            missing.append(f"Task `{name}` of {domain} was left out: {error.message}.")
        else:
            found.append(name)
    told = [Finding(name="tasks left out", sentences=tuple(missing))] if missing else []
    return {"tasks": found}, told


def _try(name: str, subject: Subject) -> None:
    """Read the data, and open a sandbox if programs are run."""
    task = resolve_task(name)
    data = subject.options.get("data")
    task.load(None if data is None else Path(data))
    if task.facts.needs_sandbox:
        with closing(open_sandbox(unsafe=bool(subject.options.get("unsafe_exec")))):
            pass
