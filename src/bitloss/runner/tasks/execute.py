"""Tasks in order: texts of every model, scores of every model, then a record file for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from bitloss.engines.base import Engine
from bitloss.engines.dense import DenseEngine, Precision, return_freed_memory
from bitloss.errors import BitlossError, SandboxError, StorageError
from bitloss.runner.arithmetic import first_precision, mean_divergences
from bitloss.runner.candidates import Candidate, Keys, Scores
from bitloss.runner.models import FailedVariant, Model
from bitloss.runner.plan import Plan
from bitloss.runner.scoring import Scorer
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.plan import PlannedTask, answer_windows
from bitloss.runner.tasks.records import item_columns
from bitloss.runner.tasks.scores import TaskWindows, grade_options, lay_out, read_scores
from bitloss.runner.tasks.shown import chosen_options, first_texts, keep_questions
from bitloss.runner.tasks.texts import Texts, Written
from bitloss.sandbox import open_sandbox
from bitloss.sandbox.base import Program, Sandbox, Verdict
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import Progress, Window

__all__ = ["execute_tasks"]

# The noise floor of a task is measured on its first gold answers: so many tokens, read from no
# more than so many.
FLOOR_TOKENS = 256
FLOOR_READ = 2048


@dataclass(slots=True)
class _Asked:
    """What came of asking all models.

    Attributes:
        written: by model's name and task.
        failed: by model's name.
    """

    written: dict[tuple[str, str], Written] = field(default_factory=dict)
    failed: dict[str, BitlossError] = field(default_factory=dict)


class _NoSandbox:
    """Given to tasks that run nothing."""

    def run(self, program: Program) -> Verdict:
        """Refuse."""
        raise SandboxError(
            f"the grading of `{program.entry_point}` runs a program, its task did not say so",
            hint="a task that runs programs sets `needs_sandbox`",
        )


def execute_tasks(
    plan: Plan, store: RunStore, models: Sequence[Model], progress: Progress
) -> tuple[dict[str, Any], list[FailedVariant]]:
    """Ask all models all questions of all tasks.

    Returns:
        The manifest's entries by task, and the variants that could not be asked.

    Raises:
        SandboxError: a program could not be judged.
        BitlossError: the reference cannot be asked, or the run directory not be written.
    """
    if not plan.tasks:
        return {}, []
    run = _Run(plan, store, progress)
    asked = run.texts(models)
    left = [model for model in models if model.name not in asked.failed]
    layout = lay_out(plan.tasks, run.windows_of_own_texts(asked))
    scores = run.score(layout, left)
    entries = run.entries(layout, scores, asked, left)
    failed = [
        FailedVariant(model.name, model.ref, error)
        for model in models
        if (error := asked.failed.get(model.name) or scores.failed.get(run.candidate(model).label))
    ]
    return entries, failed


class _Run:
    """One pass over all tasks in one arithmetic."""

    def __init__(self, plan: Plan, store: RunStore, progress: Progress) -> None:
        self.plan = plan
        self.store = store
        self.progress = progress
        needed = any(planned.task.facts.needs_sandbox for planned in plan.tasks)
        self.sandbox: Sandbox = (
            open_sandbox(unsafe=plan.spec.unsafe_exec) if needed else _NoSandbox()
        )
        parameters = plan.reference.checkpoint.info.parameters
        tokens = _tokens(plan.tasks) * (1 + len(plan.variants))
        self.precision: Precision = first_precision(plan.spec, parameters, tokens)
        self.keys = Keys(
            self.candidate(plan.reference),
            batch_tokens=plan.spec.batch_tokens,
            device=plan.spec.device,
        )

    def candidate(self, model: Model) -> Candidate:
        """The model in this pass's arithmetic."""
        return Candidate(model, self.precision)

    # Texts ---------------------------------------------------------------------------------

    def texts(self, models: Sequence[Model]) -> _Asked:
        """Let every model write for every task that generates."""
        asked = _Asked()
        tasks = [planned for planned in self.plan.tasks if planned.task.facts.decoding is not None]
        writer = Texts(self.store, self.sandbox, self.progress)
        for model in (self.plan.reference, *models):
            engine = self._loader(model)
            try:
                for planned in tasks:
                    asked.written[model.name, planned.name] = writer.write(
                        planned, self._text_key(model), model.name, engine
                    )
            except (SandboxError, StorageError):
                raise
            except BitlossError as error:
                if model is self.plan.reference:
                    raise
                asked.failed[model.name] = error
            del engine  # the model's memory goes before the next one's comes
            return_freed_memory()
        return asked

    def _loader(self, model: Model) -> Callable[[], Engine]:
        tokenizer, reference = self.plan.tokenizer, self.plan.reference

        @cache
        def load() -> Engine:
            return DenseEngine(
                model.checkpoint,
                config=reference.checkpoint.config,
                precision=self.precision,
                device=self.plan.spec.device,
                batch_tokens=self.plan.spec.batch_tokens,
                decode=tokenizer.decode,
                eos_ids=self.plan.eos_ids,
                code=reference.code,
            )

        return load

    def _text_key(self, model: Model) -> str:
        return fingerprint(
            {
                "model": self.keys.model(self.candidate(model)),
                "tokenizer": self.plan.tokenizer.digest,
                "eos": sorted(self.plan.eos_ids),
            }
        )

    # Scores --------------------------------------------------------------------------------

    def windows_of_own_texts(self, asked: _Asked) -> dict[str, list[tuple[Window, ...]]]:
        """For tasks without gold answers, windows of what the reference wrote."""
        found = {}
        for planned in self.plan.tasks:
            if not _has_own_gold(planned):
                continue
            written = asked.written[self.plan.reference.name, planned.name]
            found[planned.name] = [
                answer_windows(question.item, texts[0] if texts else "", self.plan.encoder, index)
                for index, (question, texts) in enumerate(
                    zip(planned.questions, written.texts, strict=True)
                )
            ]
        return found

    def score(self, layout: TaskWindows, models: Sequence[Model]) -> Scores:
        """Score all windows with all models."""
        if not layout.windows:
            return Scores([], {self.candidate(model).label: [] for model in models}, {})
        scorer = self._scorer(self.precision)
        return scorer.score(layout.windows, [self.candidate(model) for model in models])

    def _scorer(self, precision: Precision) -> Scorer:
        spec = self.plan.spec
        return Scorer(
            self.store,
            Candidate(self.plan.reference, precision),
            batch_tokens=spec.batch_tokens,
            device=spec.device,
            progress=self.progress,
            share_prefixes=True,
        )

    def floors(self, layout: TaskWindows) -> dict[str, dict[str, Any]]:
        """By task, the divergence that the arithmetic itself makes on its first gold answers."""
        windows: list[Window] = []
        spans = {}
        for planned in self.plan.tasks:
            own = _first_windows(layout.gold_windows(planned))
            if own:
                spans[planned.name] = len(windows), len(windows) + len(own)
                windows.extend(own)
        if not windows:
            return {}
        alone = self.precision == "fp32"
        rounded = Candidate(self.plan.reference, self.precision, alone=alone)
        records = self._scorer("fp32").score(windows, [rounded]).records_of(rounded)
        means = mean_divergences(self.store, records, spans)
        return {
            name: {"dtype": self.precision, "kl_divergence": abs(mean), "n_scored": n}
            for name, (mean, n) in means.items()
        }

    # Records -------------------------------------------------------------------------------

    def entries(
        self, layout: TaskWindows, scores: Scores, asked: _Asked, models: Sequence[Model]
    ) -> dict[str, Any]:
        """Write the items' records, and say where they are."""
        floors = self.floors(layout) if models else {}
        whole = [m for m in models if self.candidate(m).label not in scores.failed]
        items: dict[str, dict[str, str]] = {planned.name: {} for planned in self.plan.tasks}
        for model in (self.plan.reference, *whole):
            for name, key in self._records(layout, scores, asked, model).items():
                items[name][model.name] = key
        return {
            planned.name: {
                **_describe(planned),
                "dtype": self.precision,
                "noise_floor": floors.get(planned.name),
                "questions": keep_questions(self.store, planned),
                "items": items[planned.name],
            }
            for planned in self.plan.tasks
        }

    def _records(
        self, layout: TaskWindows, scores: Scores, asked: _Asked, model: Model
    ) -> dict[str, str]:
        """By task, the fingerprint of the model's item records."""
        candidate = None if model is self.plan.reference else self.candidate(model)
        names = scores.reference if candidate is None else scores.records_of(candidate)
        keys = {
            planned.name: fingerprint(
                {
                    "kind": "items with answers",
                    "task": planned.identity,
                    "texts": None if written is None else written.key,
                    "scores": names,
                    "span": layout.spans[planned.name],
                }
            )
            for planned in self.plan.tasks
            for written in (asked.written.get((model.name, planned.name)),)
        }
        if all(self.store.has_records(key) for key in keys.values()):
            return keys
        sums = read_scores(self.store, scores, candidate, len(layout.windows))
        for planned in self.plan.tasks:
            own = sums.between(*layout.spans[planned.name])
            written = asked.written.get((model.name, planned.name))
            if written is not None:
                grades, answers = list(written.grades), first_texts(written.texts)
            else:
                ranges = layout.own[planned.name]
                grades = grade_options(planned, ranges, own, self.sandbox)
                answers = chosen_options(planned, ranges, own)
            columns = item_columns(planned, grades, layout.gold(planned), own, answers)
            self.store.write_records(keys[planned.name], columns)
        return keys


def _has_own_gold(planned: PlannedTask) -> bool:
    """Whether the reference's own texts stand in for gold answers that the data does not have."""
    return planned.task.facts.decoding is not None and all(
        question.item.gold_answer is None for question in planned.questions
    )


def _describe(planned: PlannedTask) -> dict[str, Any]:
    facts = planned.task.facts
    gold = "reference" if _has_own_gold(planned) else "answer" if facts.decoding else "option"
    return {
        "capability": facts.capability,
        "metrics": list(facts.metrics),
        "licence": facts.license,
        "source": planned.source,
        "digest": planned.digest,
        "identity": planned.identity,
        "version": facts.version,
        "chance": facts.chance,
        "samples": facts.samples,
        "shots": max(len(question.item.prompt.shots) for question in planned.questions),
        "groups": dict(facts.groups),
        "gold": gold,
        "n_items": len(planned.questions),
        "n_total": planned.n_total,
        "notes": list(planned.notes),
    }


def _first_windows(windows: Sequence[Window]) -> list[Window]:
    chosen: list[Window] = []
    scored = read = 0
    for window in windows:
        read += len(window.ids) - 1
        if chosen and (scored >= FLOOR_TOKENS or read > FLOOR_READ):
            break
        scored += window.n_scored
        chosen.append(window)
    return chosen


def _tokens(tasks: Sequence[PlannedTask]) -> int:
    """Tokens that a model reads or writes, shared prefixes counted each time."""
    questions = [question for task in tasks for question in task.questions]
    read = sum(len(window.ids) for question in questions for window in question.windows)
    written = sum(
        len(request.prompt) + request.decoding.max_new_tokens
        for task in tasks
        for _, request in task.requests()
    )
    return read + written
