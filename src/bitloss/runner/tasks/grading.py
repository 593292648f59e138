"""Grades of what models wrote: in threads, while models go on writing."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Self

from bitloss.errors import SandboxError
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.records import grade_columns, read_grades
from bitloss.runner.tasks.texts import TextShards
from bitloss.sandbox.base import Program, Sandbox, Verdict
from bitloss.spec.fingerprint import fingerprint
from bitloss.tasks.base import Answer, Grade

__all__ = ["Grader", "NoSandbox", "grade_texts", "grades_key"]


class NoSandbox:
    """Given to tasks that run nothing."""

    def run(self, program: Program) -> Verdict:
        """Refuse."""
        raise SandboxError(
            f"the grading of `{program.entry_point}` runs a program, its task did not say so",
            hint="set `needs_sandbox` on a task that runs programs",
        )


class Grader:
    """Grades texts in threads of its own, one per core.

    The same answer to the same question is graded once, so that no program is run again for every
    model, and none passes with one model and runs out of time with another.

    Args:
        sandbox: where programs run.
    """

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self._grades: dict[tuple[str, int, tuple[str, ...]], Future[Grade]] = {}
        # Texts are submitted while a model writes and, in the background, those of another one.
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="grader")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def stop(self) -> None:
        """Drop what is still in the queue: after an error or Ctrl-C nobody waits for it."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def submit(self, planned: PlannedTask, index: int, texts: tuple[str, ...]) -> Future[Grade]:
        """Grade the texts of a question; once, however often it is called."""
        key = planned.identity, index, texts
        with self._lock:
            if key not in self._grades:
                item, answer = planned.questions[index].item, Answer(texts=texts)
                grade = planned.task.grade
                self._grades[key] = self._pool.submit(grade, item, answer, self.sandbox)
            return self._grades[key]


def grades_key(shards: TextShards) -> str:
    """Fingerprint of the grades of a model's texts."""
    task = shards.planned.identity
    return fingerprint({"kind": "grades", "texts": shards.key, "task": task})


def grade_texts(store: RunStore, shards: TextShards, grader: Grader) -> list[Grade | None]:
    """By question, the grade of what a model wrote; None for one that was not evaluated.

    Grades are kept, so that a run that is resumed runs no program again.

    Raises:
        SandboxError: the sandbox failed.
        StorageError: the run directory cannot be written or read.
    """
    planned = shards.planned
    key = grades_key(shards)
    if store.has_records(key):
        known = read_grades(store, key, planned)
        return [known.get(index) for index in range(len(planned.questions))]
    pending = [
        grader.submit(planned, index, texts) if texts else None
        for index, texts in enumerate(shards.read(store))
    ]
    grades = [None if future is None else future.result() for future in pending]
    store.write_records(key, grade_columns(planned, grades))
    return grades
