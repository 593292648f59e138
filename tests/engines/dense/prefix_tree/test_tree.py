"""Oracle: a dictionary of all prefixes, and what every window reads, token by token."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bitloss.engines.dense.prefix_tree.forwards import TILE_TOKENS, plan_forwards
from bitloss.engines.dense.prefix_tree.tree import cut, grow
from bitloss.types import Window


@st.composite
def window_lists(draw):
    """Windows over few tokens, many of which begin as an earlier one does."""
    windows = []
    for _ in range(draw(st.integers(1, 12))):
        ids = draw(st.lists(st.integers(0, 2), min_size=2, max_size=9))
        if windows and draw(st.booleans()):
            earlier = draw(st.sampled_from(windows)).ids
            ids = [*earlier[: draw(st.integers(0, len(earlier)))].tolist(), *ids]
        windows.append(Window(np.array(ids, np.int32), draw(st.integers(1, len(ids) - 1))))
    return windows


def visible(tree, i):
    """The tokens that token i sees, itself included."""
    return [j for j in range(i + 1) if i < tree.ends[j]]


@given(window_lists())
def test_every_position_of_every_window_is_in_the_tree(windows):
    tree = grow(windows)
    sequences = [tuple(tree.ids[visible(tree, i)].tolist()) for i in range(tree.tokens)]
    read = [w.ids[:-1].tolist() for w in windows]
    prefixes = {tuple(ids[:n]) for ids in read for n in range(1, len(ids) + 1)}
    assert len(sequences) == len(set(sequences))
    assert set(sequences) == prefixes
    assert tree.positions.tolist() == [len(s) - 1 for s in sequences]
    assert tree.read == sum(map(len, read))
    wanted = [
        tuple(ids[:n]) for w, ids in zip(windows, read, strict=True) for n in
        range(w.first, len(ids) + 1)
    ]  # fmt: skip
    assert [sequences[i] for i in tree.scored[tree.rows]] == wanted
    assert sorted(set(tree.scored.tolist())) == tree.scored.tolist()
    assert set(tree.rows.tolist()) == set(range(len(tree.scored)))


@given(window_lists(), st.integers(1, 20))
def test_forwards_show_each_token_its_own_past_once(windows, batch_tokens):
    tree = grow(windows)
    forwards = plan_forwards(tree, batch_tokens)
    assert [f.start for f in forwards] == [0, *(f.stop for f in forwards[:-1])]
    assert forwards[-1].stop == tree.tokens
    kept: dict[int, int] = {}
    longest = max(len(w.ids) - 1 for w in windows)
    for forward in forwards:
        assert forward.stop - forward.start <= batch_tokens
        assert [a for a, _ in forward.tiles] == [
            forward.start, *(b for _, b in forward.tiles[:-1])
        ]  # fmt: skip
        for start, stop in forward.tiles:
            for i in range(start, stop):
                seen = [j for j in visible(tree, i) if j >= start]
                for link in forward.links:
                    if link.start <= i < link.stop:
                        seen.extend(range(link.key, link.key + link.length))
                        own = forward.start <= link.key
                        assert own or link.length <= kept[link.key]
                        assert not own or link.key + link.length <= i
                assert sorted(seen) == visible(tree, i)
        assert sum(forward.keep.values()) <= longest
        for key, length in forward.keep.items():
            assert key >= forward.start or length <= kept[key]
        kept = forward.keep
    assert kept == {}


def test_a_shared_preamble_is_one_link():
    # By hand: 300 tokens of preamble, 5 questions of 40 to 44; the first one's chain has both.
    preamble = np.arange(300)
    windows = [
        Window(np.concatenate([preamble, np.full(41 + n, 300 + n)]).astype(np.int32), 300)
        for n in range(5)
    ]
    tree = grow(windows)
    assert tree.tokens == 300 + 40 + 41 + 42 + 43 + 44
    (forward,) = plan_forwards(tree, 2048)
    assert [b - a for a, b in forward.tiles] == [340, 41, 42, 43, 44]
    assert [(k.start, k.stop, k.key, k.length) for k in forward.links] == [(340, 510, 0, 300)]


def test_a_context_and_its_short_options_are_one_tile():
    context = np.arange(50)
    windows = [
        Window(np.concatenate([context, np.full(6, 60 + n)]).astype(np.int32), 50) for n in range(4)
    ]
    tree = grow(windows)
    (forward,) = plan_forwards(tree, 2048)
    assert forward.tiles == ((0, 70),)
    assert forward.links == ()
    assert tree.tokens <= TILE_TOKENS


def test_equal_reads_collapse():
    # Four options of one token after one context: one sequence is read, at one position.
    windows = [Window(np.array([5, 6, 7, n], np.int32), 3) for n in range(4)]
    tree = grow(windows)
    assert tree.ids.tolist() == [5, 6, 7]
    assert tree.scored.tolist() == [2]
    assert tree.rows.tolist() == [0, 0, 0, 0]


@given(window_lists(), st.integers(1, 60))
def test_cut_parts_are_in_order_and_small(windows, tokens):
    parts = cut(windows, tokens)
    assert [a for a, _ in parts] == [0, *(b for _, b in parts[:-1])]
    assert parts[-1][1] == len(windows)
    for start, stop in parts:
        part = windows[start:stop]
        most = max(tokens, 4 * (len(part[0].ids) - 1))
        assert len(part) == 1 or grow(part).tokens <= most


def test_what_is_left_of_a_cut_part_is_cut_as_well():
    # By hand: a part that begins with 20 tokens may have 80, and all five windows have 81. The cut
    # falls before the third, which reads a single token: from there on a part may have 4.
    third = np.array([7])
    reads = [
        np.full(20, 1), np.full(20, 2), third, np.r_[third, np.full(30, 3)],
        np.r_[third, np.full(10, 4)],
    ]  # fmt: skip
    windows = [Window(np.r_[ids, 9].astype(np.int32), len(ids)) for ids in reads]
    assert cut(windows, 1) == [(0, 2), (2, 3), (3, 5)]


def test_cut_falls_where_least_is_shared():
    # By hand: two subjects of 6 questions, 20 shared tokens and 10 own ones each: 80 tokens each.
    def subject(n):
        return [
            Window(np.r_[np.full(20, n), np.full(11, 10 + q)].astype(np.int32), 30)
            for q in range(6)
        ]

    windows = [*subject(1), *subject(2)]
    assert cut(windows, 125) == [(0, 6), (6, 12)]
    assert cut(windows, 160) == [(0, 12)]
    assert cut([], 100) == []
