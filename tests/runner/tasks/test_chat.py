"""Tasks in their forms for chat models. Oracle: by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bitloss.errors import UsageError
from bitloss.requests import Thinking
from bitloss.runner.tasks.chat import as_asked, chat_settings
from bitloss.runner.tasks.encoding import Encoder
from bitloss.spec.run import RunSpec
from bitloss.tasks.gsm8k import GSM8K
from bitloss.tasks.humaneval import HUMANEVAL
from bitloss.tasks.mmlu import MMLU


class Ends(Encoder):
    """One whose template ends with a text."""

    def __init__(self, end: str) -> None:
        self._end = end

    def ends_with(self, mark: str) -> bool:
        return self._end.endswith(mark)


CHAT = RunSpec(reference="m", chat=True, thinking_budget=7)
PLAIN = RunSpec(reference="m")


def test_without_the_template_nothing_changes() -> None:
    for task in (HUMANEVAL, GSM8K, MMLU):
        assert as_asked(task, PLAIN, Ends("")) is task
    needing = replace(GSM8K, facts=replace(GSM8K.facts, needs_chat=True))
    with pytest.raises(UsageError, match="needs the model's chat template") as caught:
        as_asked(needing, PLAIN, Ends(""))
    assert caught.value.hint.startswith("add --chat")
    assert as_asked(needing, CHAT, Ends("")).facts.name == GSM8K.facts.name
    assert chat_settings(PLAIN) is None


def test_the_chat_form_is_taken_and_thinking_is_told_apart() -> None:
    found = as_asked(HUMANEVAL, CHAT, Ends("")).facts.decoding
    assert found is not None
    assert found.stop == ()
    assert found.thinking == Thinking("<think>", "</think>", 7)
    assert found.keep == ("<think>", "</think>")
    assert found.most_tokens == found.max_new_tokens + 7
    stop = as_asked(GSM8K, CHAT, Ends("")).facts.decoding
    assert stop is not None
    assert GSM8K.facts.decoding is not None
    assert stop.stop == GSM8K.facts.decoding.stop
    assert as_asked(MMLU, CHAT, Ends("")) is MMLU  # options are scored, nothing is written


def test_a_template_may_open_the_thinking() -> None:
    spec = replace(CHAT, thinking_markers="[THINK],[/THINK]")
    found = as_asked(GSM8K, spec, Ends("[THINK]")).facts.decoding
    assert found is not None
    assert found.thinking == Thinking("[THINK]", "[/THINK]", 7, opened=True)
    settings = chat_settings(spec)
    assert settings is not None
    assert settings.thinking_markers == ("[THINK]", "[/THINK]")
