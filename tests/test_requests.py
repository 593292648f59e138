"""What was thought and what was answered. Oracle: by hand."""

from __future__ import annotations

import pytest

from bitloss.requests import Decoding, Thinking

PLAIN = Thinking("<t>", "</t>")
OPENED = Thinking("<t>", "</t>", opened=True)


@pytest.mark.parametrize(
    ("thinking", "text", "thought", "answer"),
    [
        (PLAIN, "four", "", "four"),
        (PLAIN, "", "", ""),
        (PLAIN, "<t>two and two</t>\n\nfour\n", "two and two", "four\n"),
        (PLAIN, "\n<t>\na\n</t>\n    four", "a", "    four"),  # the indentation of code stays
        (PLAIN, "<t>two and", "two and", None),
        (PLAIN, "<t></t>", "", ""),
        (PLAIN, "two</t>four", "two", "four"),  # the prompt opened it, unseen
        (PLAIN, "four <t>", "", "four <t>"),
        (PLAIN, "<t>a</t>b</t>c", "a", "b</t>c"),
        (OPENED, "two and", "two and", None),
        (OPENED, "two</t>four", "two", "four"),
        (OPENED, "<t>two</t>four", "two", "four"),
    ],
)
def test_split(thinking: Thinking, text: str, thought: str, answer: str | None) -> None:
    assert thinking.split(text) == (thought, answer)


def test_most_tokens() -> None:
    assert Decoding(5).most_tokens == 5
    assert Decoding(5, thinking=PLAIN).most_tokens == 5
    assert Decoding(5, thinking=Thinking("a", "b", 7)).most_tokens == 12
