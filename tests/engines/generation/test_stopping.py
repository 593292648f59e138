"""Oracles: a reader who looks at the whole text a character or a token at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bitloss.engines.generation.stopping import Transcript, cut_at_stop
from bitloss.requests import Decoding, Generated, StopReason, Thinking

PIECES = [b"a", b"b", b"ab", b"\n", b"\nb", "é".encode(), b"\xe2", b"\x82", b"\xac", b" a\xe2\x82"]


def lossy(ids: Sequence[int]) -> str:
    """Byte-level tokens; bytes that are no character become U+FFFD."""
    return b"".join(PIECES[i] for i in ids).decode("utf-8", "replace")


def byte_fallback() -> Callable[[Sequence[int]], str]:
    """Llama's decoder: pieces with ▁ and single bytes, the first blank stripped."""
    from tokenizers import decoders

    pieces = ["▁a", "b", "▁", "\n", "<0xE2>", "<0x82>", "<0xAC>", "<0x61>", "a▁b", "▁b"]
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    decoder = decoders.Sequence([*steps, decoders.Strip(" ", 1, 0)])
    return lambda ids: decoder.decode([pieces[i] for i in ids])


def tidy(ids: Sequence[int]) -> str:
    """A decoder that takes away blanks which it wrote before."""
    pieces = ["a", " ", "b", ".", "\n", "ab", " .", "a ", "b.", ""]
    return "".join(pieces[i] for i in ids).replace(" .", ".").replace(" \n", "\n")


DECODERS = {"lossy": lossy, "bytes": byte_fallback(), "tidy": tidy}
ids_lists = st.lists(st.integers(0, len(PIECES) - 1), max_size=40)
stops = st.lists(st.text("ab\n €é.", min_size=1, max_size=4), max_size=3)


def character_by_character(text: str, stop: Sequence[str]) -> str:
    for end in range(len(text) + 1):
        found = [s for s in stop if text[:end].endswith(s)]
        if found:
            return text[: end - max(map(len, found))]
    return text


def written(
    decode: Callable[[Sequence[int]], str], ids: Sequence[int], decoding: Decoding
) -> tuple[Transcript, str | None]:
    transcript = Transcript(decode, decoding)
    for token in ids:
        reason = transcript.add(token)
        if reason is not None:
            return transcript, reason
    return transcript, None


@given(st.text("ab\n", max_size=30), stops)
def test_the_stop_string_that_is_complete_first(text: str, stop: list[str]) -> None:
    assert text[: cut_at_stop(text, stop)] == character_by_character(text, stop)


@given(st.text("ab\n ", max_size=30), st.lists(st.sampled_from(["aa", "\n\n", "b b"]), max_size=3))
def test_like_splitting_where_nothing_overlaps(text: str, stop: list[str]) -> None:
    """lm-eval 0.4.13 (models/utils.py, postprocess_generated_text) splits at one after the other;
    these strings have no character in common, so no two of them overlap."""
    expected = text
    for string in stop:
        expected = expected.split(string)[0]
    assert text[: cut_at_stop(text, stop)] == expected


@pytest.mark.parametrize("name", DECODERS)
@given(ids=ids_lists, stop=stops)
@example(ids=[0, 6, 7, 8, 0], stop=["€"])
@example(ids=[4, 5, 6, 4, 5, 6, 1], stop=["€b"])
@example(ids=[0, 1, 3, 0], stop=["a."])
@settings(max_examples=150, deadline=None)
def test_text_is_the_whole_text_cut(name: str, ids: list[int], stop: list[str]) -> None:
    decode = DECODERS[name]
    decoding = Decoding(99, stop=tuple(stop))
    transcript, reason = written(decode, ids, decoding)
    answer = transcript.answer("length", len(transcript.ids))
    given_ids = ids[: len(transcript.ids)]
    assert answer.text == character_by_character(decode(given_ids), stop)
    assert answer.reason == (
        "stop" if cut_at_stop(decode(given_ids), stop) is not None else "length"
    )
    # It ends at the first token after which the text, read from its beginning, has a stop string.
    first = next(
        (
            n
            for n in range(1, len(ids) + 1)
            if cut_at_stop(decode(ids[:n]).rstrip("\ufffd"), stop) is not None
        ),
        None,
    )
    assert (reason == "stop") == (first is not None)
    assert len(given_ids) == (first or len(ids))
    if name == "lossy":  # whose text only grows: the cut is that of the text never stopped
        assert answer.text == character_by_character(decode(ids), stop)


def test_decided_sees_only_the_text_so_far() -> None:
    """By hand: the bytes E2 82 are not yet a character."""
    decoding = Decoding(99, decided=r" a$|€$|\ufffd")
    transcript, reason = written(lossy, [1, 9, 8, 0], decoding)
    assert (reason, len(transcript.ids)) == ("decided", 2)
    transcript, reason = written(lossy, [1, 6, 7, 8, 0], decoding)
    assert (reason, len(transcript.ids)) == ("decided", 4)
    assert transcript.answer("decided", 4).text == "b€"


def test_a_stop_string_goes_before_decided() -> None:
    transcript, reason = written(lossy, [0, 3], Decoding(99, stop=("\n",), decided="\n"))
    assert reason == "stop"
    assert transcript.answer("stop", 2).text == "a"


def test_bytes_that_never_become_a_character_are_shown_at_last() -> None:
    transcript, reason = written(lossy, [6] * 30 + [0], Decoding(99, stop=("a",)))
    assert reason == "stop"
    assert transcript.answer("stop", 31).text == "\ufffd" * 30


def test_work_does_not_grow_with_the_text() -> None:
    sizes: list[int] = []

    def decode(ids: Sequence[int]) -> str:
        sizes.append(len(ids))
        return lossy(ids)

    transcript = Transcript(decode, Decoding(999, stop=("never",)))
    for n in range(500):
        transcript.add(n % 3)
    assert max(sizes) <= 3
    assert len(sizes) <= 2 * 500


def test_nothing_is_decoded_where_nothing_can_stop() -> None:
    def decode(ids: Sequence[int]) -> str:
        raise AssertionError

    assert Transcript(decode, Decoding(9, stop=("",))).add(1) is None


# Thinking ---------------------------------------------------------------------------------------

THINK = Thinking("<think>", "</think>", budget=40)


def letters(ids: Sequence[int]) -> str:
    return "".join(chr(i) for i in ids)


def written_letters(text: str, decoding: Decoding, *, limit: int = 10_000) -> Generated:
    """As the loops use a transcript: until it ends or its tokens are spent, or the text is over."""
    transcript = Transcript(letters, decoding)
    reason: StopReason | None = "eos"
    for character in text[:limit]:
        reason = transcript.add(ord(character)) or ("length" if transcript.exhausted else None)
        if reason is not None:
            break
    return transcript.answer(reason or "eos", len(transcript.ids))


def test_stop_strings_and_decided_are_for_the_answer_alone() -> None:
    text = "<think>a\n\nb 12</think>\n\nso 34\nmore"
    found = written_letters(text, Decoding(50, stop=("\n",), thinking=THINK))
    assert (found.text, found.thinking, found.reason) == ("so 34", "a\n\nb 12", "stop")
    assert found.n_thinking == text.index("</think>") + len("</think>")
    found = written_letters(text, Decoding(50, decided=r"\d\d", thinking=THINK))
    assert (found.text, found.reason) == ("so 34", "decided")
    plain = written_letters("x\n<think>y", Decoding(50, stop=("\n",), thinking=THINK))
    assert (plain.text, plain.thinking, plain.n_thinking) == ("x", "", 0)


def test_thinking_and_answer_have_limits_of_their_own() -> None:
    endless = written_letters("<think>" + "x" * 90, Decoding(5, thinking=THINK))
    assert (endless.text, endless.reason, endless.n_tokens) == ("", "length", 40)
    assert not endless.answered
    assert endless.n_thinking == 40
    long = written_letters("<think>x</think>" + "y" * 90, Decoding(5, thinking=THINK))
    assert (long.text, long.reason, long.n_tokens - long.n_thinking) == ("yyyyy", "length", 5)
    # Without a budget thinking takes the answer's tokens.
    joint = replace(THINK, budget=None)
    shared = written_letters("<think>x</think>" + "y" * 90, Decoding(20, thinking=joint))
    assert (shared.text, shared.n_tokens) == ("yyyy", 20)
    # A model that does not think spends nothing of the budget.
    none = written_letters("y" * 90, Decoding(5, thinking=THINK))
    assert (none.text, none.n_tokens) == ("yyyyy", 5)


def test_thinking_that_the_prompt_opens() -> None:
    opened = replace(THINK, opened=True)
    found = written_letters("hm\n</think>4\n", Decoding(9, stop=("\n",), thinking=opened))
    assert (found.text, found.thinking) == ("4", "hm")
    endless = written_letters("x" * 90, Decoding(5, thinking=opened))
    assert (endless.answered, endless.n_tokens) == (False, 40)


@given(st.text("a<>/think\n", max_size=60), st.booleans())
@example("<think>a</think>\n\nb\n", False)
@example("\n<think>\n</think>\n", False)
@settings(max_examples=300, deadline=None)
def test_pieces_are_split_as_the_whole_text_is(text: str, opened: bool) -> None:
    thinking = replace(THINK, budget=None, opened=opened)
    found = written_letters(text, Decoding(1000, thinking=thinking))
    thought, answer = thinking.split(text)
    assert (found.thinking, found.text, found.answered) == (
        thought, answer or "", answer is not None,
    )  # fmt: skip
    end = text.find("</think>")
    assert found.n_thinking == (end + 8 if end >= 0 else 0 if found.answered else len(text))


def test_special_tokens_stay_where_they_are_kept() -> None:
    def decode(ids: Sequence[int], *, keep: Sequence[str] = ()) -> str:
        return "".join("[T]" * ("[T]" in keep) if i == 1 else chr(i) for i in ids)

    for keep, text in (((), "a"), (("[T]",), "[T]a")):
        transcript = Transcript(decode, Decoding(9, keep=keep))
        for token in (1, ord("a")):
            transcript.add(token)
        assert transcript.answer("eos", 2).text == text
