"""Which document a window is of. Oracle: texts of one character a token, counted by hand."""

from __future__ import annotations

import pytest

from bitloss.protocols import make_protocol
from bitloss.protocols.windows import documents_of
from bitloss.types import Corpus
from peers.tokenizers import CharTokenizer


def text(*lengths: int) -> Corpus:
    rows = tuple(chr(0x4E00 + number) * length for number, length in enumerate(lengths))
    raw = "\n\n".join(rows)
    return Corpus("toy", "", raw, rows, rows)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("strided", {"max_length": 10, "stride": 10}),
        ("strided-as-published", {"max_length": 20, "stride": 10}),
        ("gptq", {"max_length": 10}),
        ("exllamav3", {"max_length": 10}),
        ("llama.cpp", {"max_length": 10}),
        ("window-mean", {"max_length": 10, "stride": 10}),
    ],
)
def test_a_window_is_of_the_document_in_its_middle(name: str, sizes: dict[str, int]) -> None:
    corpus = text(60, 90, 50)
    plan = make_protocol(name, sizes).plan(corpus, CharTokenizer())
    assert len(plan.documents) == len(plan.windows)
    assert list(plan.documents) == sorted(plan.documents)
    # Windows that score one document alone, and whose neighbors do, have that document's number.
    own = [
        {corpus.rows.index(row) for row in corpus.rows if ord(row[0]) in window.ids[window.first :]}
        for window in plan.windows
    ]
    numbers: dict[int, set[int]] = {0: set(), 1: set(), 2: set()}
    for index, document in enumerate(plan.documents):
        around = own[max(0, index - 1) : index + 2]
        if all(one == around[0] and len(one) == 1 for one in around):
            numbers[min(around[0])].add(document)
    assert [len(found) for found in numbers.values()] == [1, 1, 1]
    assert len(set.union(*numbers.values())) == 3


def test_a_text_of_one_document_has_none() -> None:
    plan = make_protocol("gptq", {"max_length": 10}).plan(text(100), CharTokenizer())
    assert plan.documents == ()


def test_short_documents_are_put_together_until_they_have_two_windows() -> None:
    # Twenty documents of five tokens, windows of ten: each window is of other documents.
    middles = [5.0 + 10 * k for k in range(10)]
    found = documents_of(text(*[5] * 20), CharTokenizer(), 100, middles)
    assert found == (0, 0, 2, 2, 4, 4, 6, 6, 8, 8)
    assert documents_of(text(*[5] * 18), CharTokenizer(), 90, middles[:9]) == (
        0, 0, 2, 2, 4, 4, 6, 6, 6,
    )  # fmt: skip


def test_windows_of_pages_know_their_page() -> None:
    plan = make_protocol("lm-eval-wikitext", {"max_length": 10}).plan(
        text(25, 5, 12), CharTokenizer()
    )
    assert plan.documents == tuple(window.document for window in plan.windows)
    assert plan.documents == (0, 0, 0, 1, 2, 2)
