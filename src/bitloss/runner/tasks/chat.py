"""A task in its form for chat models, with thinking separated from answers."""

from __future__ import annotations

from dataclasses import replace

from bitloss.errors import UsageError
from bitloss.requests import Thinking
from bitloss.results.values import ChatSettings
from bitloss.runner.tasks.encoding import Encoder
from bitloss.spec.chat import parse_markers
from bitloss.spec.run import RunSpec
from bitloss.tasks.base import Task

__all__ = ["as_asked", "chat_settings"]


def as_asked(task: Task, spec: RunSpec, encoder: Encoder) -> Task:
    """The task as this run asks it.

    Args:
        task: as it is registered or read.
        spec: the run.
        encoder: knows how the chat template ends: it may open the thinking itself.

    Raises:
        UsageError: the task needs the chat template, which the run does not apply.
    """
    if not spec.chat:
        if task.facts.needs_chat:
            raise UsageError(
                f"task `{task.facts.name}` needs the model's chat template",
                hint="add --chat (in Python: chat=True)",
            )
        return task
    task = task.chat or task
    decoding = task.facts.decoding
    if decoding is None:
        return task
    begin, end = parse_markers(spec.thinking_markers)
    opened = encoder.ends_with(begin)
    decoding = replace(
        decoding,
        thinking=Thinking(begin, end, spec.thinking_budget, opened=opened),
        # Some tokenizers hold the marks for special tokens, which decoding leaves out.
        keep=tuple(dict.fromkeys((begin, end, *decoding.keep))),
    )
    return replace(task, facts=replace(task.facts, decoding=decoding))


def chat_settings(spec: RunSpec) -> ChatSettings | None:
    """How the chat template was applied; None if it was not."""
    if not spec.chat:
        return None
    return ChatSettings(
        template_args=dict(spec.template_args),
        thinking_budget=spec.thinking_budget,
        thinking_markers=parse_markers(spec.thinking_markers),
    )
