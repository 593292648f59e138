"""`resolve_task`: what a user may write where a task is expected, and how often it is answered."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss import registry
from bitloss.contents.kinds import FileKind, folder_kind
from bitloss.errors import UnknownName, UsageError
from bitloss.tasks.base import CAPABILITIES, Task, TaskSource, Wanted
from bitloss.tasks.pass_at_k import metrics_of_samples

if TYPE_CHECKING:
    from bitloss.spec.suite import TaskChoice

__all__ = [
    "check_task",
    "has_source",
    "is_task_path",
    "resolve_task",
    "resolve_tasks",
    "with_samples",
]

_SUFFIXES = (".yaml", ".yml", ".jsonl", ".jsonl.gz")


def is_task_path(text: str) -> bool:
    """Whether the text names a file: it has a folder or a suffix that task files have."""
    # Not `Path.parts`: it drops the `./` by which a path is told from a name.
    return text.lower().endswith(_SUFFIXES) or "/" in text or os.sep in text


def has_source(text: str) -> bool:
    """Whether the text is ``SOURCE:NAME``, a task of another package."""
    source, colon, name = text.partition(":")
    return bool(colon and name) and source in registry.TASK_SOURCES


def check_task(
    choice: TaskChoice, *, include_path: Sequence[Path] = (), data: Path | None = None
) -> None:
    """Report what is wrong with a choice, as far as that shows without loading another package.

    Args:
        choice: the task, as it was asked for.
        include_path: folders with task files, of the run.
        data: directory with local data.

    Raises:
        UnknownName: neither a registered name, nor a path, nor a task of another package.
        UsageError: no such file, a task file with mistakes, a package that is not installed; or
            options for tasks of another package with a task that is none.
        TaskDataError: the task file's data are missing or damaged.
    """
    if not has_source(choice.name):
        if choice.include_path or choice.capability is not None:
            option = "include_path" if choice.include_path else "capability"
            sources = " or ".join(f"{name}:NAME" for name in registry.TASK_SOURCES)
            raise UsageError(
                f"`{option}` is for tasks of other packages ({sources}), got `{choice.name}`",
                hint=f"remove `{option}`",
            )
        resolve_task(choice.name)
        return
    source, wanted = _wanted(choice, include_path, data)
    source.check(wanted)


def resolve_tasks(
    choice: TaskChoice, *, include_path: Sequence[Path] = (), data: Path | None = None
) -> tuple[Task, ...]:
    """The tasks that a choice stands for: one, or the members of another package's group.

    Args:
        choice: see `check_task`.
        include_path: see there.
        data: see there.

    Raises:
        BitlossError: see `resolve_task`, and `TaskSource.tasks` for a task of another package.
    """
    if not has_source(choice.name):
        return (resolve_task(choice.name),)
    source, wanted = _wanted(choice, include_path, data)
    return source.tasks(wanted)


def _wanted(
    choice: TaskChoice, include_path: Sequence[Path], data: Path | None
) -> tuple[TaskSource, Wanted]:
    name, _, task = choice.name.partition(":")
    if choice.capability is not None and choice.capability not in CAPABILITIES:
        raise UnknownName("capability", choice.capability, CAPABILITIES)
    wanted = Wanted(
        task,
        include_path=(*include_path, *map(Path, choice.include_path)),
        capability=choice.capability,
        data=data,
    )
    source: TaskSource = registry.load("task source", registry.TASK_SOURCES, name)
    return source, wanted


def resolve_task(name_or_path: str) -> Task:
    """The task of a registered name, or that of a user's own file.

    Args:
        name_or_path: ``"mmlu"`` or another name in `bitloss.registry.TASKS`; or the path of a
            ``.yaml``, ``.yml`` or ``.jsonl`` file (`bitloss.tasks.custom.load_task_file`).

    Raises:
        UnknownName: neither a registered name nor a path.
        UsageError: no such file, or a task file with mistakes.
        TaskDataError: the task file's data are missing or damaged.
    """
    if name_or_path in registry.TASKS:
        task: Task = registry.load("task", registry.TASKS, name_or_path)
        return task
    if not is_task_path(name_or_path):
        raise UnknownName("task", name_or_path, registry.TASKS)
    path = Path(name_or_path).expanduser()
    if path.is_dir():
        kind = folder_kind(path) or FileKind("a folder")
        raise UsageError(
            f"expected a task file, got {kind.name} in `{name_or_path}`",
            hint="give a .yaml file; its `data` may be a folder",
        )
    if not path.is_file():
        raise UsageError(
            f"no task file at `{name_or_path}`",
            hint="check the path; `bitloss new-task NAME` writes an example, `bitloss list tasks` "
            "has the names",
        )
    if not name_or_path.lower().endswith(_SUFFIXES):
        raise UsageError(
            f"expected a .yaml or .jsonl file, got `{name_or_path}`",
            hint="give a YAML file beside its data, or JSONL alone",
        )
    from bitloss.tasks.custom import load_task_file

    return load_task_file(path)


def with_samples(task: Task, n: int) -> Task:
    """The same task with `n` texts for each item.

    A task that is scored by pass@k then reports pass@10 and pass@100 as far as there are samples;
    one that is scored by the mean reports the mean over the texts (`TaskFacts.sampling`).

    Raises:
        UsageError: the task takes one text for each item, or less than one was asked for.
    """
    facts = task.facts
    if n < 1:
        raise UsageError(
            f"expected 1 sample or more for task `{facts.name}`, got {n}",
            hint="omit the samples, or give a positive number",
        )
    if n == facts.samples:
        return task
    if facts.sampling is None or facts.decoding is None:
        raise UsageError(
            f"expected a task that takes several texts for each item, got `{facts.name}` "
            f"with {n} samples",
            hint=f"omit the samples of `{facts.name}`",
        )
    decoding = facts.decoding
    if n > 1 and decoding.temperature == 0.0:
        # As lm-eval samples HumanEval; without a temperature all texts are the same.
        decoding = replace(decoding, temperature=0.2, top_p=0.95)
    metrics = metrics_of_samples(n) if facts.sampling == "pass@k" else facts.metrics
    return replace(task, facts=replace(facts, samples=n, decoding=decoding, metrics=metrics))
