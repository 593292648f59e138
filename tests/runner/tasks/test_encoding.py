"""Prompts in tokens, on a tokenizer simple enough to count by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from bitloss.requests import Conversation
from bitloss.runner.tasks.encoding import Encoder
from bitloss.tasks.base import Prompt
from bitloss.types import IntArray


class Letters:
    """One token a character, but ``ab`` is one token too; BOS (1) in front."""

    bos_id: int | None = 1
    eos_id: int | None = 2
    adds_bos = True
    bos_text = "<s>"

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        ids = [1] if special else []
        at = 0
        if text.startswith("<s>"):
            ids, at = [*ids, 1], 3
        while at < len(text):
            if text[at : at + 2] == "ab":
                ids.append(500)
                at += 2
            else:
                ids.append(ord(text[at]))
                at += 1
        return np.array(ids, dtype=np.int32)

    def chat(self, conversations: Sequence[Conversation]) -> tuple[str, Conversation]:
        one = conversations[0]
        brackets = {"system": "[]", "user": "()"}
        said = "".join(
            str(message["content"]).join(brackets[message["role"]]) for message in one.messages
        )
        extra = "".join(f"{key}={value}" for key, value in one.arguments.items())
        return f"<s>{said}" + "t" * len(one.tools) + extra, one


def codes(text: str) -> list[int]:
    return [ord(character) for character in text]


def test_continuation_follows_the_prompts_own_tokens() -> None:
    encoder = Encoder(Letters(), context=100, chat=False)
    found = encoder.pairs([Prompt("x y")] * 2, [" A", " BC"])
    assert found is not None
    (one, two), left_out = found
    assert left_out == 0
    assert one.ids.tolist() == [1, *codes("x y A")]
    assert two.ids.tolist() == [1, *codes("x y BC")]
    assert one.first == two.first == 4
    assert not one.spans_boundary


def test_white_space_at_the_prompts_end_belongs_to_the_continuation() -> None:
    # lm-eval 0.4.13, api/model.py, _encode_pair: it is moved before encoding.
    ((pair,), _) = Encoder(Letters(), context=100, chat=False).pairs([Prompt("def\n ")], ["x"]) or (
        (None,),
        0,
    )
    assert pair is not None
    assert pair.ids.tolist() == [1, *codes("def\n x")]
    assert pair.first == 4  # BOS, d, e, f


def test_a_token_that_spans_the_border_is_scored_whole() -> None:
    found = Encoder(Letters(), context=100, chat=False).pairs([Prompt("xa")], ["bc"])
    assert found is not None
    ((pair,), _) = found
    assert pair.ids.tolist() == [1, ord("x"), 500, ord("c")]
    assert pair.first == 2
    assert pair.spans_boundary


def test_an_empty_prompt_is_predicted_from_bos() -> None:
    class NoBos(Letters):
        bos_id = None
        bos_text = ""

        def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
            del special
            return Letters.encode(self, text, special=False)

    found = Encoder(NoBos(), context=100, chat=False).pairs([Prompt("")], ["xy"])
    assert found is not None
    ((pair,), _) = found
    assert pair.ids.tolist() == [2, *codes("xy")]  # EOS stands in
    assert pair.first == 1


def test_shots_are_left_out_from_the_first_until_the_longest_option_fits() -> None:
    prompt = Prompt("qq", shots=("one.", "two.", "six."), description="d:")
    # BOS + d: + 4 a shot + qq + option, less the token that is only predicted.
    encoder = Encoder(Letters(), context=1 + 2 + 2 * 4 + 2 + 3 - 1, chat=False)
    found = encoder.pairs([prompt, prompt], ["A", "BCD"])
    assert found is not None
    (short, long), left_out = found
    assert left_out == 1
    assert long.ids.tolist() == [1, *codes("d:two.six.qqBCD")]
    assert short.ids.tolist() == [1, *codes("d:two.six.qqA")]


def test_a_question_that_does_not_fit_is_not_asked() -> None:
    encoder = Encoder(Letters(), context=4, chat=False)
    assert encoder.pairs([Prompt("qqqqq")], ["A"]) is None
    assert encoder.prompt(Prompt("qqqqq"), 1) is None


@pytest.mark.parametrize(("context", "left_out", "text"), [(20, 0, "s.t.qq"), (8, 1, "t.qq")])
def test_prompts_leave_room_for_the_answer(context: int, left_out: int, text: str) -> None:
    found = Encoder(Letters(), context=context, chat=False).prompt(Prompt("qq", ("s.", "t.")), 3)
    assert found is not None
    assert (found.ids.tolist(), found.left_out) == ([1, *codes(text)], left_out)
    assert found.conversation is None


def test_without_shots_the_room_may_be_smaller() -> None:
    found = Encoder(Letters(), context=5, chat=False).prompt(Prompt("qq", ("s.",)), 10)
    assert found is not None
    assert found.ids.tolist() == [1, *codes("qq")]
    assert found.left_out == 1


def test_a_template_stands_around_the_prompt_and_brings_its_own_bos() -> None:
    prompt = Prompt("q", shots=("s.",), description="be brief")
    found = Encoder(Letters(), context=100, chat=True).pairs([prompt], [" A"])
    assert found is not None
    ((pair,), _) = found
    # lm-eval: nothing stands between a template and an option (api/task.py, construct_requests).
    assert pair.ids.tolist() == [1, *codes("[be brief](s.q)A")]


def test_conversation_tools_and_arguments_reach_the_template() -> None:
    prompt = Prompt("b", messages=({"role": "user", "content": "c"},), tools=({}, {}))
    encoder = Encoder(Letters(), context=100, chat=True, arguments={"x": 1})
    found = encoder.prompt(prompt, 1)
    assert found is not None
    assert found.ids.tolist() == [1, *codes("(c)ttx=1")]
    assert found.conversation == Conversation(prompt.messages, prompt.tools, {"x": 1})
    assert encoder.ends_with("x=1")
    assert not encoder.ends_with("x=2")
    assert not Encoder(Letters(), context=100, chat=False).ends_with("?")  # nothing is opened


def test_an_answer_that_is_scored_is_not_taken_for_thinking() -> None:
    """As Qwen3's template writes thinking that is turned off: opened, empty, closed."""
    marks = ("1)", "2)")
    open_end = Encoder(Letters(), context=99, chat=True, arguments={"x": "(1)"}, markers=marks)
    for text, encoder in (
        ("(?)x=(1)\n\n2)\n\nA", open_end),
        ("(?)A", Encoder(Letters(), context=99, chat=True, markers=marks)),
    ):
        found = encoder.pairs([Prompt("?")], [" A"])
        assert found is not None
        assert found[0][0].ids.tolist() == [1, *codes(text)]
    prompt = open_end.prompt(Prompt("?"), 1)
    assert prompt is not None
    assert prompt.ids.tolist() == [1, *codes("(?)x=(1)")]  # the model goes on from there


def test_a_text_by_itself_rolls_over_in_windows() -> None:
    """lm-eval 0.4.13, api/model.py, loglikelihood_rolling: its own example of ten tokens and a
    context of four, the first of them the BOS that its `hf` encodes besides the one it reads first.
    """
    found = Encoder(Letters(), context=4, chat=False).rolling("012345678")
    assert [(pair.ids.tolist(), pair.first) for pair in found] == [
        ([1, 1, *codes("012")], 1),
        (codes("23456"), 1),
        (codes("45678"), 3),
    ]
    assert Encoder(Letters(), context=4, chat=False).rolling("0")[0].ids.tolist() == [1, 1, 48]


def test_what_continues_a_conversation_keeps_its_blank() -> None:
    """Of a conversation the continuation is given as it is; after a prompt in a template nothing
    stands between the two (lm-eval: api/task.py, construct_requests).
    """
    encoder = Encoder(Letters(), context=100, chat=True)
    message = {"role": "user", "content": "q"}
    for prompt, end in ((Prompt("q", messages=(message,)), " x"), (Prompt("q"), "x")):
        found = encoder.pairs([prompt], [" x"])
        assert found is not None
        (pair,), _ = found
        assert pair.ids.tolist() == [1, *codes(f"(q){end}")]
