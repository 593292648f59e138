"""A task's requests, built by the harness, by document: what is asked, with its solved examples."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from bitloss.errors import TaskDataError, UsageError
from bitloss.tasks.base import Prompt
from bitloss.tasks.lm_eval.harness import FEWSHOT_SEED

__all__ = ["Asked", "ask"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A document of the harness as a model is asked it.

    Attributes:
        task: the harness's task.
        requests: of the document, in the harness's order.
        prompts: one a request.
    """

    task: Any
    requests: tuple[Any, ...]
    prompts: tuple[Prompt, ...]

    @property
    def doc(self) -> Any:
        """The document."""
        return self.requests[0].doc


def ask(
    task: Any, *, shots: int | None = None, chat: bool = False, first: int | None = None
) -> list[Asked]:
    """Let the harness build a task's requests.

    Args:
        task: the harness's.
        shots: solved examples; None is the task's own number.
        chat: put everything into a conversation for the model's template, each example a turn of
            its own, as ``lm_eval --apply_chat_template`` does.
        first: so many documents only.

    Raises:
        UsageError: the task has no solved examples, or prefills answers that a template has to
            leave to the model.
        TaskDataError: there are no documents.
    """
    name = task.task_name
    own = task.get_config("num_fewshot")
    if shots and own == 0:
        raise UsageError(
            f"task `lm-eval:{name}` has no solved examples by its own configuration, got {shots}",
            hint="omit the shot count",
        )
    count = (own or 0) if shots is None else shots
    task.set_config("num_fewshot", count)
    task.set_fewshot_seed(seed=FEWSHOT_SEED)
    chatting = {
        "apply_chat_template": True,
        "fewshot_as_multiturn": True,
        "chat_template": _conversation,
    }
    try:
        if len(task.eval_docs) == 0:
            raise TaskDataError(f"task `lm-eval:{name}` has no documents", hint=_NO_DOCUMENTS)
        with _recorded(task) as turns:
            task.build_all_requests(limit=first, **(chatting if chat else {}))
    finally:
        task.set_config("num_fewshot", own)
    groups: dict[Any, list[Any]] = {}
    for request in task.instances:
        groups.setdefault(request.doc_id, []).append(request)
    texts = turns if len(turns) == len(groups) else [[] for _ in groups]
    return [
        Asked(
            task,
            tuple(requests),
            _conversations(name, requests) if chat else _split(requests, own_turns, count),
        )
        for requests, own_turns in zip(groups.values(), texts, strict=True)
    ]


_NO_DOCUMENTS = "check the split and `process_docs` of the task file"


@contextmanager
def _recorded(task: Any) -> Iterator[list[list[str]]]:
    """By document, the texts of its turns: first those of the solved examples.

    The harness gives one text only. Where examples end in it decides what is left out of a prompt
    that is too long.
    """
    turns: list[list[str]] = []
    context, turn = task.fewshot_context, getattr(task, "build_qa_turn", None)

    def recorded_context(*arguments: Any, **keywords: Any) -> Any:
        turns.append([])
        return context(*arguments, **keywords)

    def recorded_turn(*arguments: Any, **keywords: Any) -> Any:
        messages = turn(*arguments, **keywords)  # type: ignore[misc] # only where there is one
        turns[-1].append("".join(message.to_text() for message in messages))
        return messages

    task.fewshot_context = recorded_context
    if turn is not None:
        task.build_qa_turn = recorded_turn
    try:
        yield turns
    finally:
        del task.fewshot_context
        if turn is not None:
            del task.build_qa_turn


def _split(requests: Sequence[Any], turns: Sequence[str], shots: int) -> tuple[Prompt, ...]:
    """The prompts, with their examples apart where that is the very text of the harness."""
    examples = tuple(turns[:shots])
    questions = list(turns[shots:])
    prompts = []
    for index, request in enumerate(requests):
        text = str(request.args[0]) if len(request.args) > 1 else ""
        question = questions[min(index, len(questions) - 1)] if questions else text
        end = "".join(examples) + question
        if examples and text.endswith(end):
            prompts.append(Prompt(question, examples, text.removesuffix(end)))
        else:
            prompts.append(Prompt(text))
    return tuple(prompts)


def _conversation(messages: Sequence[Mapping[str, Any]], *, add_generation_prompt: bool) -> str:
    """Stands for the model's template: the harness hands the text through to the requests."""
    return json.dumps({"messages": list(messages), "open": add_generation_prompt})


def _conversations(name: str, requests: Sequence[Any]) -> tuple[Prompt, ...]:
    prompts = []
    for request in requests:
        if len(request.args) < 2:  # a text by itself
            prompts.append(Prompt(""))
            continue
        asked = json.loads(request.args[0])
        if not asked["open"]:
            raise UsageError(
                f"task `lm-eval:{name}` begins the model's answer itself (`gen_prefix`), which "
                "--chat leaves to the model",
                hint="leave --chat out, or leave the task out",
            )
        messages = tuple(asked["messages"])
        prompts.append(Prompt(messages[-1]["content"], messages=messages))
    return tuple(prompts)
