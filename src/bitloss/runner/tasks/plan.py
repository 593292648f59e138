"""The items of every task, chosen by the limit and turned into what models are asked."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from bitloss.errors import TaskDataError, UsageError
from bitloss.metrics.intervals import FEWEST_BLOCKS
from bitloss.requests import Conversation, GenerateRequest
from bitloss.results.values import ChatSettings
from bitloss.runner.draw import draw_items, items_note
from bitloss.runner.tasks.chat import as_asked, chat_settings
from bitloss.runner.tasks.encoding import Encoder
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.run import RunSpec
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Item, Task
from bitloss.tasks.find import resolve_tasks, with_samples
from bitloss.types import IntArray, Progress, Window

__all__ = ["PlannedTask", "Question", "answer_windows", "plan_tasks", "sampled"]


@dataclass(frozen=True, slots=True)
class Question:
    """An item as the models are asked it.

    Attributes:
        item: the item.
        windows: one an option, or one for the gold answer, or those of a text that is read by
            itself; empty where there is neither, or where it does not fit the context.
        prompt: token ids to be continued; None where nothing is generated or nothing fits.
        shots_left_out: solved examples for which there was no room.
        spans_boundary: whether a token spans the border between prompt and answer.
        conversation: what `prompt` is in the chat template; None without one.
    """

    item: Item
    windows: tuple[Window, ...]
    prompt: IntArray | None
    shots_left_out: int
    spans_boundary: bool
    conversation: Conversation | None = None

    @property
    def asked(self) -> bool:
        """Whether it fits the models' context."""
        return self.prompt is not None if not self.item.options else bool(self.windows)


@dataclass(frozen=True, slots=True)
class PlannedTask:
    """A task as every model will be asked it.

    Attributes:
        task: the task.
        choice: as it was asked for.
        questions: those that the limit leaves, in the data's order.
        n_total: items of the data.
        digest: of the data.
        source: where the data was read from.
        notes: what a reader of the result should know.
        seed: of sampling.
        chat: how the chat template is applied; None if it is not.
        places: by item's id, the file and line of tests that nobody has tried.
        identity: fingerprint of everything that decides how an answer is graded.
    """

    task: Task
    choice: TaskChoice
    questions: tuple[Question, ...]
    n_total: int
    digest: str
    source: str
    notes: tuple[str, ...]
    seed: int
    chat: ChatSettings | None = None
    places: Mapping[str, str] = field(default_factory=dict)
    identity: str = field(init=False)

    def __post_init__(self) -> None:
        # Once: every answer that is graded asks for it, and it covers every item.
        facts = self.task.facts
        ids = [question.item.id for question in self.questions]
        graded: list[Any] = [facts.name, facts.version, facts.metrics, self.digest, ids]
        if self.chat is not None:
            graded.append(self.chat.model_dump(mode="json"))
        object.__setattr__(self, "identity", fingerprint(graded))

    @property
    def name(self) -> str:
        """As in the result."""
        return self.task.facts.name

    @property
    def gold(self) -> Literal["option", "answer", "reference"]:
        """What the gold answers are: the correct option, the data's own answers, or, if the data
        has none, what the reference wrote.
        """
        if self.task.facts.decoding is None:
            return "option"
        without = all(question.item.gold_answer is None for question in self.questions)
        return "reference" if without else "answer"

    def described(self) -> dict[str, Any]:
        """The task's part of its entry in the manifest."""
        facts = self.task.facts
        return {
            "capability": facts.capability,
            "metrics": facts.metrics,
            "license": facts.license,
            "source": self.source,
            "digest": self.digest,
            "identity": self.identity,
            "version": facts.version,
            "chance": facts.chance,
            "samples": facts.samples,
            "shots": max(len(question.item.prompt.shots) for question in self.questions),
            "split": facts.data_split,
            "groups": dict(facts.groups),
            "gold": self.gold,
            "chat": self.chat,
            "n_items": len(self.questions),
            "n_total": self.n_total,
            "notes": self.notes,
        }

    def requests(self) -> list[tuple[int, GenerateRequest]]:
        """What is to be generated: indices of questions, one a sample, and the requests."""
        decoding = self.task.facts.decoding
        if decoding is None:
            return []
        return [
            (
                index,
                GenerateRequest(
                    question.prompt,
                    decoding,
                    self._seed(question.item, sample),
                    question.conversation,
                ),
            )
            for index, question in enumerate(self.questions)
            if question.prompt is not None
            for sample in range(self.task.facts.samples)
        ]

    @property
    def tokens(self) -> int:
        """Tokens that a model reads or writes, shared prefixes counted each time."""
        read = sum(len(window.ids) for question in self.questions for window in question.windows)
        requests = [request for _, request in self.requests()]
        return read + sum(len(r.prompt) + r.decoding.most_tokens for r in requests)

    def _seed(self, item: Item, sample: int) -> int:
        """Of one text; 0 where nothing is drawn, so that tasks with equal prompts share texts."""
        decoding = self.task.facts.decoding
        if decoding is None or decoding.temperature == 0:
            return 0
        text = f"{self.seed}/{item.id}/{sample}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def plan_tasks(spec: RunSpec, encoder: Encoder, progress: Progress) -> list[PlannedTask]:
    """Load, choose and encode the items of every task of the run.

    Raises:
        UnknownName: no such task.
        UsageError: a task is named twice, or cannot have the shots or samples asked for.
        TaskDataError: data is missing or damaged, or nothing of a task fits the context.
    """
    planned: dict[str, PlannedTask] = {}
    for choice in spec.tasks:
        for task in resolve_tasks(choice, include_path=spec.include_path, data=spec.data):
            if task.facts.name in planned:
                raise UsageError(f"task `{task.facts.name}` is named twice", hint="name it once")
            planned[task.facts.name] = _plan_task(task, choice, spec, encoder, progress)
    return list(planned.values())


def _plan_task(
    task: Task, choice: TaskChoice, spec: RunSpec, encoder: Encoder, progress: Progress
) -> PlannedTask:
    task = sampled(as_asked(task, spec, encoder), choice, spec)
    loaded = task.load(spec.data, shots=choice.shots)
    chosen = draw_items(loaded.items, spec.limit or choice.limit, seed=spec.seed)
    drawn = [items_note(chosen, loaded.items, spec.seed)] * (len(chosen) < len(loaded.items))
    with progress.task(f"tokenize {task.facts.name}", len(chosen), "items") as advance:
        subjects: dict[str, int] = {}
        questions = []
        for index, item in enumerate(chosen):
            # Windows of one document are kept together: they share the most.
            document = subjects.setdefault(item.subject or str(index), len(subjects))
            questions.append(_question(task, item, encoder, document))
            advance(1)
    if not any(question.asked for question in questions):
        raise TaskDataError(
            f"no question of `{task.facts.name}` fits the model's context",
            hint="omit the task, or use a model with a longer context",
        )
    return PlannedTask(
        task=task,
        choice=choice,
        questions=tuple(questions),
        n_total=len(loaded.items),
        digest=loaded.digest,
        source=loaded.source,
        notes=(*loaded.notes, *drawn, *_notes(questions)),
        seed=spec.seed,
        chat=chat_settings(spec),
        places=dict(zip((item.id for item in loaded.items), loaded.places, strict=False)),
    )


def sampled(task: Task, choice: TaskChoice, spec: RunSpec) -> Task:
    """The task with as many texts for each item as its own entry or the whole run asks for."""
    samples = choice.samples
    if spec.samples is not None and task.facts.sampling == "pass@k":
        samples = spec.samples
    return task if samples is None else with_samples(task, samples)


def answer_windows(item: Item, answer: str, encoder: Encoder, document: int) -> tuple[Window, ...]:
    """The window in which an answer's likelihood is measured; none where it does not fit."""
    if not answer:
        return ()
    fitted = encoder.pairs([item.prompt], [item.delimiter + answer])
    if fitted is None:
        return ()
    (pair,), _ = fitted
    return (Window(pair.ids, pair.first, document),)


def _question(task: Task, item: Item, encoder: Encoder, document: int) -> Question:
    if item.rolling:
        pairs = encoder.rolling(item.options[0])
        windows = tuple(Window(pair.ids, pair.first, document) for pair in pairs)
        return Question(item, windows, None, 0, spans_boundary=False)
    if item.options:
        prompts = item.option_prompts or (item.prompt,) * len(item.options)
        fitting = encoder.pairs(prompts, [item.delimiter + option for option in item.options])
        if fitting is None:
            return Question(item, (), None, 0, spans_boundary=False)
        pairs, left_out = fitting
        windows = tuple(Window(pair.ids, pair.first, document) for pair in pairs)
        return Question(item, windows, None, left_out, any(pair.spans_boundary for pair in pairs))
    assert task.facts.decoding is not None
    fitted = encoder.prompt(item.prompt, task.facts.decoding.most_tokens)
    if fitted is None:
        return Question(item, (), None, 0, spans_boundary=False)
    return Question(
        item,
        answer_windows(item, item.gold_answer or "", encoder, document),
        fitted.ids,
        fitted.left_out,
        spans_boundary=False,
        conversation=fitted.conversation,
    )


def _notes(questions: Sequence[Question]) -> list[str]:
    notes = []
    n = len(questions)
    too_long = sum(not question.asked for question in questions)
    if too_long:
        notes.append(f"{too_long} of {n} items do not fit the model's context and are skipped")
    fewer = [question.shots_left_out for question in questions if question.shots_left_out]
    if fewer:
        notes.append(
            f"{len(fewer)} of {n} prompts are longer than the model's context: up to {max(fewer)} "
            "solved examples left out"
        )
    clusters = len({question.item.belongs_to for question in questions})
    if clusters < n:
        notes.append(
            f"{n:,} items in {clusters:,} clusters that share a passage or the like: intervals and "
            "p-values count clusters"
            + (", of which there are too few for an interval" if clusters < FEWEST_BLOCKS else "")
        )
    spans_boundary = sum(question.spans_boundary for question in questions)
    if spans_boundary:
        notes.append(f"in {spans_boundary} of {n} items a token spans the border before the answer")
    return notes
