"""Laws of the windows, for every text and every size.

Each text is made of distinct characters, so that a token is known by its id and the tests can
count how often it was scored.
"""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.errors import CorpusError
from bitloss.protocols import make_protocol, parameters_of
from bitloss.registry import PROTOCOLS
from bitloss.types import Corpus, WindowPlan
from peers.tokenizers import BOS, CharTokenizer

ALPHABET = [chr(0x4E00 + number) for number in range(200)]  # distinct, no white space


def distinct_text(length: int) -> Corpus:
    raw = "".join(ALPHABET[:length])
    return Corpus("toy", "", raw, (raw,), (raw,))


def times_scored(plan: WindowPlan) -> Counter[int]:
    return Counter(int(token) for window in plan.windows for token in window.ids[window.first :])


@st.composite
def sizes(draw: st.DrawFn) -> tuple[int, int, int]:
    length = draw(st.integers(3, 40))
    return draw(st.integers(2, 200)), length, draw(st.integers(1, length))


@pytest.mark.parametrize("adds_bos", [False, True])
@pytest.mark.parametrize("name", PROTOCOLS)
@given(sizes())
def test_windows_are_sound(name: str, adds_bos: bool, size: tuple[int, int, int]) -> None:
    n, length, stride = size
    has_stride = "stride" in parameters_of(make_protocol(name, {}))
    protocol = make_protocol(
        name, {"max_length": length} | ({"stride": stride} if has_stride else {})
    )
    try:
        plan = protocol.plan(distinct_text(n), CharTokenizer(adds_bos=adds_bos))
    except CorpusError:
        assert name in ("gptq", "llama.cpp", "exllamav3")
        assert n + adds_bos < 2 * length or name == "exllamav3"
        return
    read = 1 if name == "lm-eval-wikitext" else 0  # its prefix is extra: L tokens are *read*
    assert plan.windows
    for window in plan.windows:
        assert 2 <= len(window.ids) <= length + read
        assert 1 <= window.first < len(window.ids)
    scored = times_scored(plan)
    if name != "window-mean":
        assert max(scored.values()) == 1
    # Whatever is scored is predicted from the tokens that stand before it in the text.
    text = ([BOS] if adds_bos else []) + [ord(character) for character in ALPHABET[:n]]
    follows = dict(zip(text[1:], text, strict=False))
    for window in plan.windows:
        for before, token in zip(window.ids[1:-1], window.ids[2:], strict=True):
            assert follows[int(token)] == before


@given(sizes())
def test_strided_scores_every_token_but_the_first_once(size: tuple[int, int, int]) -> None:
    n, length, stride = size
    stride = min(stride, length - 1)
    plan = make_protocol("strided", {"max_length": length, "stride": stride}).plan(
        distinct_text(n), CharTokenizer()
    )
    assert times_scored(plan) == Counter(map(ord, ALPHABET[1:n]))


@given(sizes())
def test_window_mean_scores_every_token_but_the_first(size: tuple[int, int, int]) -> None:
    n, length, stride = size
    stride = min(stride, length - 1)
    plan = make_protocol("window-mean", {"max_length": length, "stride": stride}).plan(
        distinct_text(n), CharTokenizer()
    )
    assert set(times_scored(plan)) == set(map(ord, ALPHABET[1:n]))


@given(st.lists(st.integers(1, 60), min_size=1, max_size=3), st.integers(1, 40))
def test_lm_eval_scores_every_token_once(pages: list[int], length: int) -> None:
    bounds = [sum(pages[:index]) for index in range(len(pages) + 1)]
    texts = tuple("".join(ALPHABET[begin:end]) for begin, end in pairwise(bounds))
    corpus = Corpus("toy", "", "".join(texts), texts, texts)
    plan = make_protocol("lm-eval-wikitext", {"max_length": length}).plan(corpus, CharTokenizer())
    assert times_scored(plan) == Counter(map(ord, ALPHABET[: bounds[-1]]))
    for window in plan.windows:  # no window reaches into another page
        page = set(map(ord, texts[window.document])) | {BOS}
        assert set(map(int, window.ids)) <= page
