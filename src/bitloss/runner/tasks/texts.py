"""What models write: generated, kept, and graded while the model goes on.

Texts are kept by what was asked (tokens, decoding, seed) and of which model, so tasks that ask the
same share them; grades by texts and task.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, Self

from bitloss.engines.base import Engine
from bitloss.requests import GenerateRequest
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.records import grade_columns, read_grades
from bitloss.sandbox.base import Sandbox
from bitloss.spec.fingerprint import fingerprint
from bitloss.tasks.base import Answer, Grade
from bitloss.types import Progress

__all__ = ["Texts", "Written"]

# Requests kept together: minutes of work at most are lost when a run is killed.
SHARD_REQUESTS = 256


@dataclass(frozen=True, slots=True)
class Written:
    """What a model wrote for a task, and how good it is.

    Attributes:
        texts: by question, one a sample; empty where it was not asked.
        grades: by question; None where it was not asked.
        key: fingerprint of the texts.
    """

    texts: tuple[tuple[str, ...], ...]
    grades: tuple[Grade | None, ...]
    key: str


class Texts:
    """Generates and grades.

    Args:
        store: the run directory.
        sandbox: where programs run.
        progress: where to report.
    """

    def __init__(self, store: RunStore, sandbox: Sandbox, progress: Progress) -> None:
        self._store = store
        self._sandbox = sandbox
        self._progress = progress
        self._graded: _Graded = {}

    def write(
        self, planned: PlannedTask, model: str, name: str, engine: Callable[[], Engine]
    ) -> Written:
        """Let a model write its answers to a task, and grade them.

        Args:
            planned: the task.
            model: fingerprint of model, tokenizer, arithmetic and engine.
            name: of the model, for people.
            engine: loads the model; called only if something is not in the store.

        Raises:
            NumericalError: the model gives NaN or infinite values.
            SandboxError: the sandbox failed.
            StorageError: the run directory cannot be written or read.
        """
        requests = planned.requests()
        samples = planned.task.facts.samples
        size = max(samples, SHARD_REQUESTS // samples * samples)
        shards = [requests[start : start + size] for start in range(0, len(requests), size)]
        keys = [_key(model, [request for _, request in shard]) for shard in shards]
        key = fingerprint(keys)
        graded = fingerprint({"kind": "grades", "texts": key, "task": planned.identity})
        known = read_grades(self._store, graded, planned) if self._store.has_records(graded) else {}
        texts: dict[int, tuple[str, ...]] = {}
        label = f"{name} writes {planned.name}"
        with (
            _Grader(planned, self._sandbox, self._graded) as grader,
            self._progress.task(label, len(requests), "texts") as advance,
        ):
            for shard_key, shard in zip(keys, shards, strict=True):
                for index, written in self._shard(shard_key, shard, samples, engine, advance):
                    texts[index] = written
                    if not known:
                        grader.submit(index, written)
            grades = known or grader.grades()
        if not known:
            found = [grades.get(index) for index in range(len(planned.questions))]
            self._store.write_records(graded, grade_columns(planned, found))
        n = len(planned.questions)
        return Written(
            texts=tuple(texts.get(index, ()) for index in range(n)),
            grades=tuple(grades.get(index) for index in range(n)),
            key=key,
        )

    def _shard(
        self,
        key: str,
        shard: Sequence[tuple[int, GenerateRequest]],
        samples: int,
        engine: Callable[[], Engine],
        advance: Callable[[int], None],
    ) -> Iterator[tuple[int, tuple[str, ...]]]:
        """The texts of each question, as soon as the last of them is written."""
        if self._store.has_records(key):
            kept = self._store.read_records([key], ("text",))["text"]
            for start in range(0, len(shard), samples):
                yield shard[start][0], tuple(str(text) for text in kept[start : start + samples])
            advance(len(shard))
            return
        rows: list[dict[str, Any] | None] = [None] * len(shard)
        for at, generated in engine().generate([request for _, request in shard]):
            rows[at] = asdict(generated)
            advance(1)
            first = at // samples * samples
            own = [row["text"] for row in rows[first : first + samples] if row is not None]
            if len(own) == samples:
                yield shard[first][0], tuple(own)
        columns = {
            name: [row[name] for row in rows if row is not None]
            for name in ("text", "n_tokens", "reason")
        }
        self._store.write_records(key, columns)


_Graded = dict[tuple[str, int, tuple[str, ...]], "Future[Grade]"]
"""By task, question and texts: most of what a good copy writes, the reference wrote before it."""


class _Grader:
    """Grades in threads of its own, one a core, while the model goes on writing.

    The same answer is graded once, so that no program is run again for every model, and none
    passes with one and runs out of time with another.
    """

    def __init__(self, planned: PlannedTask, sandbox: Sandbox, graded: _Graded) -> None:
        self._planned = planned
        self._sandbox = sandbox
        self._graded = graded
        self._pool = ThreadPoolExecutor(os.cpu_count() or 1)
        self._pending: dict[int, Future[Grade]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        # After a fault or Ctrl-C nobody waits for what is still in the queue.
        self._pool.shutdown(wait=kind is None, cancel_futures=kind is not None)

    def submit(self, index: int, texts: tuple[str, ...]) -> None:
        key = self._planned.identity, index, texts
        if key not in self._graded:
            item = self._planned.questions[index].item
            answer = Answer(texts=texts)
            self._graded[key] = self._pool.submit(
                self._planned.task.grade, item, answer, self._sandbox
            )
        self._pending[index] = self._graded[key]

    def grades(self) -> dict[int, Grade]:
        """By question; waits for the last.

        Raises:
            SandboxError: the sandbox failed.
        """
        return {index: future.result() for index, future in self._pending.items()}


def _key(model: str, requests: Sequence[GenerateRequest]) -> str:
    asked = hashlib.sha256()
    for request in requests:
        asked.update(request.prompt.astype("<i4").tobytes())
        asked.update(fingerprint([asdict(request.decoding), request.seed]).encode())
    return fingerprint({"kind": "texts", "model": model, "asked": asked.hexdigest()})
