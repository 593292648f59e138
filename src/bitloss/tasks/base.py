"""What a task is: items made from data, and a rule that grades a model's answers to them.

A task knows neither engine nor tokenizer. It says in text what is asked; the runner turns that into
tokens, asks the models, and gives the answers back to be graded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, Protocol, get_args

from bitloss.datasets.tables import HubTable
from bitloss.requests import Decoding
from bitloss.sandbox.base import Program, Sandbox

__all__ = [
    "CAPABILITIES",
    "Answer",
    "Capability",
    "Grade",
    "HarnessTask",
    "Item",
    "Load",
    "Prompt",
    "Task",
    "TaskFacts",
    "TaskItems",
    "TaskSource",
    "Wanted",
    "unfiltered",
]

Capability = Literal[
    "text completion",
    "knowledge (English)",
    "knowledge (Chinese)",
    "instruction following",
    "math",
    "code",
    "logic",
    "other",
]
CAPABILITIES: tuple[Capability, ...] = get_args(Capability)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What stands before the model's answer: ``description + "".join(shots) + question``.

    Where all of it does not fit the model's context, shots are left out, the first ones first; the
    question is never cut.

    Attributes:
        question: the item's own text.
        shots: solved examples, each with the separator that follows it.
        description: what stands before the examples, with its separator.
        messages: a conversation for the chat template (``{"role": ..., "content": ...}``), whose
            last one is to be answered, in place of all the above; empty where there is none.
        tools: what the model may call, as the chat template takes it (OpenAI's form:
            ``{"type": "function", "function": {"name": ..., "parameters": ...}}``).
    """

    question: str
    shots: tuple[str, ...] = ()
    description: str = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()

    @property
    def text(self) -> str:
        """The whole prompt."""
        return self.description + "".join(self.shots) + self.question


@dataclass(frozen=True, slots=True)
class Item:
    """One question.

    Attributes:
        id: unique within the task and the same in every run: ``"anatomy/12"``, ``"HumanEval/0"``.
        prompt: what is asked.
        subject: part of the task that it belongs to (MMLU's subjects); ``""`` where there are none.
        options: continuations to be scored, without `delimiter`; empty where text is generated.
        option_prompts: where the options differ in what stands before them (WinoGrande), a prompt
            for each, used in place of `prompt`; else empty.
        delimiter: stands between the prompt and an option or the gold answer.
        gold: index of the right option; None where there are no options.
        also_right: indices of other right options, if several are.
        rolling: the one option is a text that is read by itself from its beginning, in as many
            windows as the context asks for; `prompt` is empty.
        gold_answer: the right answer's text where text is generated (a reference solution, a worked
            answer), without `delimiter`; None where there is none.
        data: what grading needs besides: plain values, or what a task's source made of them.
        cluster: what it has in common with other items (a passage, a sentence and its twin), whose
            answers therefore depend on each other: the same text for all of them; ``""`` where it
            stands alone. A subject is not such a thing: it is drawn from evenly, or is there in
            full.
    """

    id: str
    prompt: Prompt
    subject: str = ""
    options: tuple[str, ...] = ()
    option_prompts: tuple[Prompt, ...] = ()
    delimiter: str = " "
    gold: int | None = None
    also_right: tuple[int, ...] = ()
    rolling: bool = False
    gold_answer: str | None = None
    data: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    cluster: str = ""

    @property
    def belongs_to(self) -> str:
        """The name of its cluster; its own if it stands alone.

        Items of two tasks with one name (HumanEval's and HumanEval+'s) belong together.
        """
        return self.cluster or self.id


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's answer to an item: scores of its options, or texts.

    Attributes:
        logprobs: of each option with its delimiter, natural log, shape ``[options]``.
        greedy: whether each option is what greedy decoding would have written.
        texts: generated, one a sample.
    """

    logprobs: tuple[float, ...] = ()
    greedy: tuple[bool, ...] = ()
    texts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Grade:
    """How good an answer is.

    Attributes:
        scores: by the names of `TaskFacts.metrics`, from 0 (worst) to 1 (best).
        weights: by metric, where an item counts otherwise than once (instruction-level accuracy
            counts instructions: k of n right is score k/n, weight n).
        detail: the chosen option, the extracted number, why a program failed: for people.
    """

    scores: Mapping[str, float]
    weights: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    detail: str = ""


@dataclass(frozen=True, slots=True)
class HarnessTask:
    """The task of lm-evaluation-harness, release 0.4.13, that a task of bitloss equals.

    ``benchmarks/parity_answers.py`` compares the two.

    Attributes:
        name: the harness's.
        version: the harness's (``metadata: version`` of lm_eval/tasks); None for a task that it
            does not have.
        metrics: its metric and filter, by our metric; those that it reports.
        group: only subjects of this group are in it; None is all.
    """

    name: str
    version: float | None
    metrics: Mapping[str, str]
    group: str | None = None


def unfiltered(*metrics: str) -> Mapping[str, str]:
    """`HarnessTask.metrics` of a task that reports them by our names, without a filter."""
    return MappingProxyType({metric: f"{metric},none" for metric in metrics})


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What is known of a task without its data.

    Attributes:
        name: as in the registry.
        capability: the one it measures.
        metrics: all that it reports, by lm-eval's names; the first is its score, and has to be the
            one that is quoted for the data.
        source: where the data comes from, for people.
        license: of the data.
        n_items: items of the complete task.
        version: raised by hand whenever a change of prompt or grading may change a number.
        decoding: how text is generated; None where options are scored.
        samples: texts for each item.
        sampling: how several texts for an item are scored: by ``pass@k``, whose number a run may
            choose for all such tasks, or by their ``mean``, where the task's own entry in a suite
            asks for it; None takes one text.
        chance: the score of a guess; None where guessing gets nothing.
        groups: by subject, the group that it is reported in (MMLU's four); may be empty.
        needs_sandbox: grading runs what the model wrote.
        needs_chat: it can only be asked through a chat template.
        title: what publications call the data; ``""`` is the name.
        hub: where the data is on the hub; a data set of one configuration per subject has None.
        harness: the task of lm-evaluation-harness that it equals.
    """

    name: str
    capability: Capability
    metrics: tuple[str, ...]
    source: str
    license: str
    n_items: int
    version: int = 1
    decoding: Decoding | None = None
    samples: int = 1
    sampling: Literal["pass@k", "mean"] | None = None
    chance: float | None = None
    groups: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    needs_sandbox: bool = False
    needs_chat: bool = False
    title: str = ""
    hub: HubTable | None = None
    harness: HarnessTask | None = None

    @property
    def data_split(self) -> str:
        """The split of the data that is evaluated; ``""`` for data that is not on the hub."""
        return "" if self.hub is None else self.hub.split


@dataclass(frozen=True, slots=True)
class TaskItems:
    """A task's items, read from its data.

    Attributes:
        items: in the data's order; neighbours share as much of their prompts as possible.
        digest: sha256 (hex) over the data's files.
        source: where it was read from.
        notes: what a reader of the result should know (a row count or digest that is not the
            published one).
        places: by item, the file and line of its tests, where programs are graded by tests that
            nobody has tried; empty where there is nothing to try.
    """

    items: tuple[Item, ...]
    digest: str
    source: str
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


class Load(Protocol):
    """Reads the items of a task."""

    def __call__(self, data: Path | None, *, shots: int | None = None) -> TaskItems:
        """Read the items.

        Args:
            data: directory with local data; None asks ``BITLOSS_DATA``, then the hub.
            shots: solved examples in the prompt; None is the task's own number.

        Raises:
            TaskDataError: files are missing, or a row is damaged (file, line).
            UsageError: the task cannot have that many shots.
        """


@dataclass(frozen=True, slots=True)
class Task:
    """A data set, its prompts and its grading, composed of plain functions.

    Attributes:
        facts: what is known without the data.
        load: reads the items.
        grade: judges an answer; runs programs through the sandbox that it is given, if any. It
            raises what the sandbox raises: a sandbox that fails is never a wrong answer.
        program: the program that a text is to an item; None where answers are not run.
        chat: the same task in its form for chat models, if that differs: other prompts, stop
            strings or grading; None where it does not.
        totals: numbers that are no mean over the items (a perplexity, a correlation), by the names
            of their metrics, from items and a model's answers to them; None where there are none.
    """

    facts: TaskFacts
    load: Load
    grade: Callable[[Item, Answer, Sandbox], Grade]
    program: Callable[[Item, str], Program] | None = None
    chat: Task | None = None
    totals: Callable[[Sequence[Item], Sequence[Answer]], Mapping[str, float]] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """How a task of another package is asked for.

    Attributes:
        name: the package's name of the task.
        include_path: folders with task files of the user's.
        capability: the one that it measures; None leaves it to the source.
        data: directory with local data; None asks ``BITLOSS_DATA``.
    """

    name: str
    include_path: tuple[Path, ...] = ()
    capability: Capability | None = None
    data: Path | None = None


@dataclass(frozen=True, slots=True)
class TaskSource:
    """Tasks that another package defines; a user writes ``SOURCE:NAME``.

    Attributes:
        name: what stands before the colon, as in the registry.
        check: reports at once what is wrong with the wish, without the package's tasks being
            loaded: it is not installed, a folder is not there. Raises `UsageError`.
        tasks: the task, or several where the name stands for a group; raises `UnknownName`,
            `UsageError` for what cannot be answered here, `HubError`, `TaskDataError`.
    """

    name: str
    check: Callable[[Wanted], None]
    tasks: Callable[[Wanted], tuple[Task, ...]]
