"""Oracle: the properties that make resuming change no number."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitloss.engines.dense.batches import batches
from bitloss.engines.dense.scoring import shards as module
from bitloss.engines.dense.scoring.shards import forwards, shards
from bitloss.types import Window


def windows_of(sizes):
    return [Window(np.full(n, n, dtype=np.int32), 1) for n in sizes]


@given(st.lists(st.integers(2, 3000), max_size=40), st.integers(1, 9000))
def test_shards_hold_whole_forwards_in_order(sizes, batch_tokens):
    windows = windows_of(sizes)
    pieces = shards(windows, batch_tokens)
    assert [w for piece in pieces for w in piece.windows] == windows
    assert [piece.first for piece in pieces] == [
        sum(len(p.windows) for p in pieces[:i]) for i in range(len(pieces))
    ]
    cut = [[id(w) for w in g] for piece in pieces for g in batches(piece.windows, batch_tokens)]
    assert cut == [[id(w) for w in g] for g in batches(windows, batch_tokens)]
    assert all(p.tokens <= max(module.SHARD_TOKENS, batch_tokens, 3000) for p in pieces)


def test_the_digest_sees_tokens_and_scored_range():
    ids = np.arange(9, dtype=np.int32)
    other = ids.copy()
    other[4] = 0
    digests = {
        shards([window], 100)[0].digest
        for window in (Window(ids, 1), Window(ids, 2), Window(other, 1), Window(ids[:8], 1))
    }
    assert len(digests) == 4


def test_window_index_counts_scored_tokens():
    # By hand: 2 scored tokens in the first window, 1 in the second.
    pieces = shards([Window(np.arange(4), 2), Window(np.arange(4), 3)], 100)
    assert pieces[0].window_index().tolist() == [0, 0, 1]


def test_a_preamble_is_read_once_a_shard(monkeypatch):
    # By hand: 40 shared tokens and 30 questions of 10 are 340 tokens; 200 hold 16 questions.
    monkeypatch.setattr(module, "SHARD_TOKENS", 340)
    preamble = np.arange(40)
    windows = [
        Window(np.r_[preamble, np.full(10, 50 + q), option].astype(np.int32), 50, q)
        for q in range(30)
        for option in range(4)
    ]
    (piece,) = shards(windows, 64, share_prefixes=True)
    assert (piece.tokens, piece.states) == (340, 30)
    assert piece.rows.tolist() == np.repeat(np.arange(30), 4).tolist()
    monkeypatch.setattr(module, "SHARD_TOKENS", 200)
    pieces = shards(windows, 64, share_prefixes=True)
    assert [w for piece in pieces for w in piece.windows] == windows
    assert all(len(piece.windows) % 4 == 0 for piece in pieces)  # a question is never torn apart
    assert [piece.tokens for piece in pieces] == [200, 180]
    assert pieces[1].window_index()[0] == pieces[1].first == len(pieces[0].windows)


def test_running_text_is_in_plain_shards_even_when_sharing():
    rng = np.random.default_rng(0)
    windows = [Window(rng.integers(0, 99, 513).astype(np.int32), 1) for _ in range(40)]
    for piece in shards(windows, 2048, share_prefixes=True):
        assert piece.rows is None
        assert piece.states == sum(w.n_scored for w in piece.windows)


def test_forwards_are_those_of_the_shards(windows, monkeypatch):
    monkeypatch.setattr(module, "SHARD_TOKENS", 150)
    parts = forwards(windows, 64)
    assert [w for part in parts for w in part.windows] == windows
    assert [part.first for part in parts] == np.cumsum(
        [0, *(len(part.windows) for part in parts[:-1])]
    ).tolist()
    whole = [
        part.digest
        for piece in shards(windows, 64)
        for part in forwards(piece.windows, 64, first=piece.first)
    ]
    assert whole == [part.digest for part in parts]
    assert all(part.drawn for part in parts)
