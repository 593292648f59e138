"""Documents of the harness made into items."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bitloss.errors import TaskDataError, UsageError
from bitloss.requests import Decoding
from bitloss.tasks.base import Item
from bitloss.tasks.lm_eval.generation import decoding_of
from bitloss.tasks.lm_eval.requests import Asked

__all__ = ["Kind", "kind_of", "make_items"]

_SHOWN = 5


@dataclass(frozen=True, slots=True)
class Kind:
    """What a model is asked.

    Attributes:
        request: the harness's word for it.
        decoding: how texts are generated; None where likelihoods are asked.
        repeats: answers to each request.
    """

    request: str
    decoding: Decoding | None
    repeats: int


def kind_of(name: str, asked: Sequence[Asked]) -> Kind:
    """What all documents of a task ask for.

    Raises:
        UsageError: likelihoods and texts at once, several texts, or texts that are not all
            generated alike.
    """
    kinds = {request.request_type for one in asked for request in one.requests}
    if len(kinds) > 1:
        raise _refusal(name, f"mixes requests of {' and '.join(sorted(kinds))}")
    (kind,) = kinds
    if kind not in ("loglikelihood", "loglikelihood_rolling", "generate_until"):
        raise _refusal(name, f"asks for `{kind}`")
    repeats = max(int(request.repeats or 1) for one in asked for request in one.requests)
    if kind == "loglikelihood":
        return Kind(kind, None, repeats)
    if any(len(one.requests) > 1 for one in asked):
        raise _refusal(name, "asks for several texts per document")
    if kind == "loglikelihood_rolling":
        return Kind(kind, None, repeats)
    settings = [one.requests[0].args[1] for one in asked]
    if any(own != settings[0] for own in settings):
        raise _refusal(name, "generates its texts in several ways")
    return Kind(kind, decoding_of(name, settings[0]), repeats)


def make_items(asked: Sequence[Asked], kind: Kind, *, subject: str) -> list[Item]:
    """The items of one task, in the order of its documents.

    Args:
        asked: from `ask`.
        kind: from `kind_of`.
        subject: part of the task that they belong to; ``""`` for a task without parts.

    Raises:
        TaskDataError: documents without a right option, or with an empty one: the first of them.
    """
    items, faults = [], []
    for one in asked:
        try:
            items.append(_item(one, kind, subject))
        except _FaultyDocument as error:
            faults.append(f"document {one.requests[0].doc_id}: {error}")
    if faults:
        name = asked[0].task.task_name
        shown = "\n  ".join(faults[:_SHOWN])
        more = f"\n  and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise TaskDataError(
            f"task `lm-eval:{name}` has documents that cannot be graded:\n  {shown}{more}",
            hint="check `doc_to_target` and `doc_to_choice` of the task file, and that the split "
            "has answers",
        )
    return items


class _FaultyDocument(Exception):  # noqa: N818 - never leaves this module
    """Why a document cannot be graded."""


def _item(asked: Asked, kind: Kind, subject: str) -> Item:
    task, name = asked.task, f"{asked.task.task_name}/{asked.requests[0].doc_id}"
    delimiter = str(task.get_config("target_delimiter") or "")
    if kind.request == "generate_until":
        chatting = bool(asked.prompts[0].messages)
        return Item(
            name, asked.prompts[0], subject,
            delimiter="" if chatting else delimiter,
            gold_answer=_written(task, asked.doc), data={"asked": asked},
        )  # fmt: skip
    if kind.request == "loglikelihood_rolling":
        text = str(asked.requests[0].args[0])
        if not text:
            raise _FaultyDocument("expected a text, got nothing")
        return Item(
            name, asked.prompts[0], subject, (text,), delimiter="", gold=0, rolling=True,
            data={"asked": asked},
        )  # fmt: skip
    options = [str(request.args[1]) for request in asked.requests]
    if not all(option.startswith(delimiter) and option != delimiter for option in options):
        delimiter = ""
    options = [option.removeprefix(delimiter) for option in options]
    if not all(options):
        raise _FaultyDocument("expected options with text, got an empty one")
    gold, *others = [0] if len(options) == 1 else _right(asked, options)
    differ = any(prompt != asked.prompts[0] for prompt in asked.prompts)
    return Item(
        name, asked.prompts[0], subject, tuple(options), asked.prompts if differ else (),
        delimiter, gold, tuple(others), data={"asked": asked},
    )  # fmt: skip


def _right(asked: Asked, options: Sequence[str]) -> list[int]:
    """Indices of the right options, as the harness reads them; one at least."""
    task, doc = asked.task, asked.doc
    target = (
        task.doc_to_text(doc) if getattr(task, "multiple_input", 0) else task.doc_to_target(doc)
    )
    has_choices = task.get_config("doc_to_choice") is not None
    choices = list(task.doc_to_choice(doc)) if has_choices else list(options)
    found = []
    for one in target if isinstance(target, list) else [target]:
        if isinstance(one, str):
            at = choices.index(one) if one in choices else -1
        else:
            try:
                at = operator.index(one)
            except TypeError:
                at = -1
        if 0 <= at < len(options):
            found.append(at)
    if not found:
        raise _FaultyDocument(
            f"expected which of its {len(options)} options is right, got {target!r:.80}"
        )
    return list(dict.fromkeys(found))


def _written(task: Any, doc: Any) -> str | None:
    """The right answer in words, if the document has one; any of several."""
    target = task.doc_to_target(doc)
    if isinstance(target, list):
        target = target[0] if target else None
    if isinstance(target, int) and task.get_config("doc_to_choice") is not None:
        choices = task.doc_to_choice(doc)
        target = choices[target] if 0 <= target < len(choices) else None
    return target if isinstance(target, str) and target.strip() else None


def _refusal(name: str, what: str) -> UsageError:
    return UsageError(
        f"task `lm-eval:{name}` {what}, which bitloss does not support", hint="omit the task"
    )
