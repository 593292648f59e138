"""Every protocol on a text short enough to cut by hand.

Oracles: windows and perplexities worked out by hand from the upstream script that the protocol's
docstring names. A token is a character, BOS is 1 and EOS is 2; losses are 1, 2, 3 ... in the
order in which tokens are scored.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from bitloss.datasets.files import corpus_from_rows, corpus_from_text
from bitloss.errors import CorpusError, UnknownName, UsageError
from bitloss.metrics.perplexity import (
    byte_perplexity,
    llama_cpp_error,
    perplexity,
    word_perplexity,
)
from bitloss.protocols import make_protocol
from bitloss.protocols.lm_eval_wikitext import detokenize
from bitloss.types import Corpus, WindowPlan
from peers.tokenizers import BOS, EOS, CharTokenizer


def text(raw: str) -> Corpus:
    return corpus_from_text("toy", raw, source="test", wikitext=False)


def cut(plan: WindowPlan) -> list[tuple[str, int]]:
    """Windows as readable text (BOS is <, EOS is >) with their first scored index."""
    names = {BOS: "<", EOS: ">"}
    return [
        ("".join(names.get(int(token)) or chr(token) for token in window.ids), window.first)
        for window in plan.windows
    ]


def counted_losses(plan: WindowPlan) -> np.ndarray:
    return np.arange(1, plan.n_scored + 1, dtype=np.float64)


def score(plan: WindowPlan) -> float:
    window = np.repeat(
        np.arange(len(plan.windows), dtype=np.int32), [w.n_scored for w in plan.windows]
    )
    return perplexity(counted_losses(plan), window, plan.averaging, plan.valid)


def test_strided() -> None:
    plan = make_protocol("strided", {"max_length": 4, "stride": 2}).plan(
        text("abcdefg"), CharTokenizer()
    )
    assert cut(plan) == [("abcd", 1), ("cdef", 2), ("efg", 2)]
    # b c d e f g cost 1 2 3 4 5 6: a mean of 21 / 6.
    assert score(plan) == pytest.approx(math.exp(3.5))
    assert (plan.n_tokens, plan.n_bytes, plan.n_scored) == (7, 7, 6)


def test_strided_as_published() -> None:
    plan = make_protocol("strided-as-published", {"max_length": 4, "stride": 2}).plan(
        text("abcdefg"), CharTokenizer()
    )
    assert cut(plan) == [("abcd", 1), ("cdef", 2), ("efg", 2)]
    assert plan.valid == (4, 2, 1)
    # Means 2, 4.5 and 6 with the guide's weights 3, 1 and 0: the last window vanishes.
    assert score(plan) == pytest.approx(math.exp((3 * 2 + 1 * 4.5) / 4))


def test_strided_without_overlap_loses_the_first_token_of_each_window() -> None:
    plan = make_protocol("strided-as-published", {"max_length": 3, "stride": 3}).plan(
        text("abcdefg"), CharTokenizer()
    )
    # The guide's last window would be "g" alone, whose mean loss is over nothing.
    assert cut(plan) == [("abc", 1), ("def", 1)]
    assert plan.valid == (3, 3)


def test_window_mean() -> None:
    plan = make_protocol("window-mean", {"max_length": 4, "stride": 2}).plan(
        text("abcdefg"), CharTokenizer()
    )
    assert cut(plan) == [("abcd", 1), ("cdef", 1), ("efg", 1)]
    # (1 2 3) (4 5 6) (7 8): means 2, 5 and 7.5, all weighing the same.
    assert score(plan) == pytest.approx(math.exp((2 + 5 + 7.5) / 3))


def test_window_mean_stops_at_the_window_that_reaches_the_end() -> None:
    plan = make_protocol("window-mean", {"max_length": 4, "stride": 2}).plan(
        text("abcdefgh"), CharTokenizer()
    )
    assert cut(plan) == [("abcd", 1), ("cdef", 1), ("efgh", 1)]  # and no "gh"


def test_gptq() -> None:
    plan = make_protocol("gptq", {"max_length": 3}).plan(text("abcdefgh"), CharTokenizer())
    assert cut(plan) == [("abc", 1), ("def", 1)]
    assert score(plan) == pytest.approx(math.exp((1 + 2 + 3 + 4) / 4))
    assert plan.notes == ("the last 2 tokens do not fill a window",)


def test_gptq_has_one_bos_before_the_text_and_none_before_a_window() -> None:
    plan = make_protocol("gptq", {"max_length": 3}).plan(
        text("abcdefgh"), CharTokenizer(adds_bos=True)
    )
    assert cut(plan) == [("<ab", 1), ("cde", 1), ("fgh", 1)]
    assert plan.n_tokens == 8  # BOS stands for no text


def test_llama_cpp() -> None:
    plan = make_protocol("llama.cpp", {"max_length": 4}).plan(
        text("abcdefghi\n"), CharTokenizer(adds_bos=True)
    )
    # <abc defg hi: the newline is gone, BOS takes the place of d, only the last token of each
    # chunk of 4 lies behind position n_ctx / 2.
    assert cut(plan) == [("<abc", 3), ("<efg", 3)]
    losses = np.array([2.0, 4.0])
    assert perplexity(losses, np.array([0, 1], dtype=np.int32), plan.averaging) == pytest.approx(
        math.exp(3)
    )
    assert llama_cpp_error(losses) == pytest.approx(math.exp(3) * math.sqrt(1 / 1))
    assert (plan.n_tokens, plan.n_bytes) == (9, 9)


def test_llama_cpp_overwrites_nothing_where_the_tokenizer_adds_no_bos() -> None:
    plan = make_protocol("llama.cpp", {"max_length": 4}).plan(text("abcdefgh\n\n"), CharTokenizer())
    assert cut(plan) == [("abcd", 3), ("efgh", 3)]  # only one of the newlines is taken off
    assert plan.n_tokens == 9


def test_llama_cpp_scores_255_of_512() -> None:
    plan = make_protocol("llama.cpp", {}).plan(text("x" * 1100), CharTokenizer())
    assert [(len(w.ids), w.first, w.n_scored) for w in plan.windows] == [(512, 257, 255)] * 2


def test_exllamav3() -> None:
    tokenizer = CharTokenizer(adds_bos=True)  # which exllamav3's own tokenizer does not ask for
    protocol = make_protocol("exllamav3", {"max_length": 3})
    assert cut(protocol.plan(text("abcdefg"), tokenizer)) == [("abc", 1), ("def", 1)]
    # range(0, N - L, L): a window that ends with the text is not taken.
    assert cut(protocol.plan(text("abcdef"), tokenizer)) == [("abc", 1)]


def test_exllamav3_takes_the_first_hundred() -> None:
    plan = make_protocol("exllamav3", {"max_length": 2}).plan(text("x" * 500), CharTokenizer())
    assert len(plan.windows) == 100
    assert plan.notes == ("the protocol takes 100 of the text's 249 windows",)


def test_lm_eval_wikitext() -> None:
    corpus = corpus_from_rows("toy", ["abcdef", "g h"], source="test")
    plan = make_protocol("lm-eval-wikitext", {"max_length": 4}).plan(corpus, CharTokenizer())
    # The model reads <abc and predicts abcd; then bcde and predicts ef, the remainder.
    assert cut(plan) == [("<abcd", 1), ("bcdef", 3), ("<g h", 1)]
    assert [window.document for window in plan.windows] == [0, 0, 1]
    assert (plan.n_tokens, plan.n_words, plan.n_bytes) == (9, 3, 9)
    mean = float(counted_losses(plan).mean())
    assert word_perplexity(mean, plan.n_tokens, plan.n_words or 0) == pytest.approx(
        math.exp(45 / 3)
    )
    assert byte_perplexity(mean, plan.n_tokens, plan.n_bytes) == pytest.approx(math.exp(45 / 9))


def test_lm_eval_counts_words_and_bytes_of_the_original_page() -> None:
    page = " = T = \n\n1 @,@ 000 \u2013 x"
    corpus = corpus_from_rows("toy", [page], source="test")
    plan = make_protocol("lm-eval-wikitext", {"max_length": 2048}).plan(corpus, CharTokenizer())
    assert cut(plan) == [("< = T =\n\n1,000 \u2013 x", 1)]
    # re.split(r"\s+"): an empty word before " = T = 1 @,@ 000 – x" and its eight words.
    assert (plan.n_words, plan.n_bytes, plan.n_tokens) == (9, 24, 17)


@pytest.mark.parametrize(
    ("page", "expected"),
    [
        ("the players ' own", "the players' own"),
        ("/' 5/", "/'[0-9]/"),
        ("star @-@ crossed 1 @,@ 000 2 @.@ 5", "star-crossed 1,000 2.5"),
        ("a : b ; c . d ! e ? f , g", "a: b; c. d! e? f, g"),
        ("a ( b ) [ c ] { d }", "a (b) [c] {d}"),
        ('a " b c " d', 'a "b c" d'),
        ("a ' b c ' d", "a 'b c' d"),
        ("= = = = a = = = = b = = = c = =", "==== a ==== b === c =="),
        ("20 \u00b0 N of", "20\u00b0N of"),
        ("a \n b", "a\nb"),
        ("at N 3", "at 1 3"),
        ("a dog 's day", "a dog's day"),
    ],
)
def test_detokenizer(page: str, expected: str) -> None:
    """Oracle: output of the harness's `wikitext_detokenizer` (0.4.13) for these pages."""
    assert detokenize(page) == expected


def test_lm_eval_prefixes_eos_where_there_is_no_bos() -> None:
    tokenizer = CharTokenizer(bos_id=None)
    plan = make_protocol("lm-eval-wikitext", {"max_length": 2048}).plan(text("ab"), tokenizer)
    assert cut(plan) == [(">ab", 1)]


def test_lm_eval_scores_the_bos_that_the_tokenizer_adds() -> None:
    tokenizer = CharTokenizer(adds_bos=True)
    protocol = make_protocol("lm-eval-wikitext", {"max_length": 2048})
    assert cut(protocol.plan(text("ab"), tokenizer)) == [("<<ab", 1)]
    # A page that begins with BOS itself is not given another.
    assert cut(protocol.plan(text("\x01ab"), tokenizer)) == [("<<ab", 1)]


def test_lm_eval_needs_a_prefix() -> None:
    tokenizer = CharTokenizer(bos_id=None, eos_id=None)
    with pytest.raises(CorpusError, match="BOS or EOS"):
        make_protocol("lm-eval-wikitext", {"max_length": 2048}).plan(text("ab"), tokenizer)


def test_rows_are_joined_by_a_blank_line() -> None:
    corpus = corpus_from_rows("toy", ["ab\n", "", "c"], source="test")
    for name in ("strided", "strided-as-published", "window-mean"):
        assert cut(make_protocol(name, {}).plan(corpus, CharTokenizer())) == [("ab\n\n\n\n\nc", 1)]


@pytest.mark.parametrize(
    ("name", "length", "needed"),
    [("gptq", 8, 8), ("llama.cpp", 8, 16), ("exllamav3", 8, 9), ("strided", 8, 2),
     ("strided-as-published", 8, 2), ("window-mean", 8, 2)],
)  # fmt: skip
def test_a_text_that_is_too_short_is_an_error(name: str, length: int, needed: int) -> None:
    protocol = make_protocol(name, {"max_length": length} | ({"stride": 4} if needed == 2 else {}))
    assert protocol.plan(text("x" * needed), CharTokenizer()).windows
    with pytest.raises(CorpusError, match=f"at least {needed} tokens, got {needed - 1}"):
        protocol.plan(text("x" * (needed - 1)), CharTokenizer())


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("strided", {"stride": 2000}, "stride of at most the window's 1024 tokens, got 2000"),
        ("window-mean", {"stride": 0}, "`stride` to be an integer of at least 1, got 0"),
        ("gptq", {"max_length": 1}, "`max_length` to be an integer of at least 2, got 1"),
        ("gptq", {"max_length": 8.0}, "got 8.0"),
        ("gptq", {"max_length": True}, "got True"),
        ("llama.cpp", {"max_length": 2}, "at least 3, got 2"),
        ("exllamav3", {"max_windows": 0}, "`max_windows`"),
        ("lm-eval-wikitext", {"max_length": 0}, "at least 1, got 0"),
        ("gptq", {"stride": 4}, "no parameter `stride`\nhint: use one of: max_length"),
    ],
)
def test_parameters_that_cannot_be(name: str, parameters: dict, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        make_protocol(name, parameters)
    assert message in str(caught.value)


def test_an_unknown_protocol_suggests_a_known_one() -> None:
    with pytest.raises(UnknownName, match="did you mean `strided`"):
        make_protocol("stride", {})


def test_parameters_are_recorded() -> None:
    plan = make_protocol("strided", {"stride": 256}).plan(text("abc"), CharTokenizer())
    assert plan.protocol == "strided"
    assert plan.parameters == {"max_length": 1024, "stride": 256}


def test_lm_eval_has_no_window_of_its_own():
    with pytest.raises(UsageError, match="context length"):
        make_protocol("lm-eval-wikitext", {}).plan(text("ab"), CharTokenizer())
