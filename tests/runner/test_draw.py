"""What a limit draws. Oracles: hashlib's sha256 of the names, by hand; counting."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.engines.values import digest_windows, window_index
from bitloss.runner.draw import draw_items, draw_windows, items_note
from bitloss.tasks.base import Item, Prompt
from bitloss.types import Window


def text(n: int) -> list[Window]:
    return [Window(np.array([k, k, k]), 1) for k in range(n)]


def items(subjects: str) -> list[Item]:
    return [Item(f"{s}{i}", Prompt("?"), subject=s.strip()) for i, s in enumerate(subjects)]


def ids(found: list[Item]) -> list[str]:
    return [item.id for item in found]


def drawn(n: int, limit: int | None, seed: int = 0, digest: str = "t") -> list[int | None]:
    return [window.place for window in draw_windows(text(n), limit, text=digest, seed=seed)]


# Windows -----------------------------------------------------------------------------------


def test_windows_are_drawn_by_the_sha256_of_seed_text_and_place() -> None:
    lots = {k: hashlib.sha256(f"7\nabc\n{k}".encode()).hexdigest() for k in range(30)}
    assert drawn(30, 4, 7, "abc") == sorted(lots, key=lots.__getitem__)[:4]


def test_drawn_windows_are_the_texts_own_and_know_their_places() -> None:
    found = draw_windows(text(9), 4, text="t", seed=0)
    assert [int(window.ids[0]) for window in found] == [window.place for window in found]
    assert window_index(0, found).tolist() == np.repeat(drawn(9, 4), 2).tolist()


@given(st.integers(2, 40), st.integers(1, 40), st.integers(1, 40), st.integers(0, 9))
def test_a_larger_limit_begins_with_the_smaller_ones_windows(
    n: int, one: int, other: int, seed: int
) -> None:
    small, large = sorted((min(one, n - 1), min(other, n - 1)))
    assert drawn(n, large, seed)[:small] == drawn(n, small, seed)
    assert len(set(drawn(n, large, seed))) == large


@pytest.mark.parametrize("limit", [None, 9, 10])
def test_a_limit_that_leaves_all_draws_nothing(limit: int | None) -> None:
    whole = text(9)
    found = draw_windows(whole, limit, text="t", seed=0)
    assert all(a is b for a, b in zip(found, whole, strict=True))


def test_every_window_is_drawn_equally_often() -> None:
    # 10 of 40 windows, 2,000 seeds: each 500 times, standard deviation sqrt(2000 / 4 * 3 / 4) = 19.
    counts = Counter(place for seed in range(2000) for place in drawn(40, 10, seed))
    assert len(counts) == 40
    assert all(abs(count - 500) < 5 * 19 for count in counts.values())


def test_seeds_and_texts_draw_differently() -> None:
    assert drawn(100, 9, 0) == drawn(100, 9, 0)
    assert len({tuple(drawn(100, 9, s, t)) for s in (0, 1) for t in ("a", "b")}) == 4


def test_the_same_tokens_in_another_place_have_another_digest() -> None:
    # A text may repeat itself, and its records must not be taken for each other's.
    ids = np.array([1, 2, 3])
    digests = {digest_windows([Window(ids, 1, place=place)]) for place in (None, 0, 1)}
    assert len(digests) == 3


# Items -------------------------------------------------------------------------------------


def test_items_without_subjects_are_drawn_by_their_ids_and_stay_in_their_order() -> None:
    everything = items(" " * 20)
    lots = {item.id: hashlib.sha256(f"3\nitem\n{item.id}".encode()).digest() for item in everything}
    chosen = set(sorted(lots, key=lots.__getitem__)[:6])
    assert ids(draw_items(everything, 6, seed=3)) == [i for i in ids(everything) if i in chosen]
    assert ids(draw_items(everything, 6, seed=3)) != ids(everything)[:6]


def test_rows_that_come_do_not_move_the_others() -> None:
    everything = items(" " * 30)
    before, after = draw_items(everything[:20], 10, seed=0), draw_items(everything, 10, seed=0)
    assert [i for i in ids(after) if i in ids(everything[:20])] == [
        i for i in ids(before) if i in ids(after)
    ]
    assert len(set(ids(before)) & set(ids(after))) >= 5


def test_no_limit_or_a_high_one_is_all() -> None:
    everything = items("aabb")
    for limit in (None, 4, 9):
        assert draw_items(everything, limit, seed=0) == everything


SUBJECTS = st.text(alphabet="abcd", min_size=1, max_size=30)


@given(SUBJECTS, st.integers(1, 40), st.integers(0, 3))
def test_counts_of_subjects_differ_by_one_unless_they_run_out(
    subjects: str, limit: int, seed: int
) -> None:
    found = draw_items(items(subjects), limit, seed=seed)
    assert len(found) == min(limit, len(subjects))
    counts = {s: sum(item.subject == s for item in found) for s in set(subjects)}
    unfinished = [n for s, n in counts.items() if n < subjects.count(s)]
    assert all(max(counts.values()) - n <= 1 for n in unfinished)


@given(SUBJECTS, st.integers(1, 40), st.integers(1, 40))
def test_a_larger_limit_contains_the_smaller_ones_items(
    subjects: str, one: int, other: int
) -> None:
    small, large = sorted((one, other))
    everything = items(subjects)
    assert set(ids(draw_items(everything, small, seed=0))) <= set(
        ids(draw_items(everything, large, seed=0))
    )


def test_subjects_are_drawn_too_if_there_are_more_than_items() -> None:
    everything = items("abcdefgh" * 3)
    chosen = [
        {item.subject for item in draw_items(everything, 3, seed=seed)} for seed in range(400)
    ]
    assert all(len(subjects) == 3 for subjects in chosen)
    # Each in 3 of 8 draws: 150 of 400, standard deviation 9.7.
    counts = Counter(subject for subjects in chosen for subject in subjects)
    assert all(abs(count - 150) < 50 for count in counts.values())


@pytest.mark.parametrize(
    ("subjects", "limit", "expected"),
    [
        ("        ", 3, "3 of 8 items, drawn at random (seed 5)"),
        ("aaaabbbb", 4, "4 of 8 items, drawn at random (seed 5), 2 from each of 2 subjects"),
        ("abcdabcd", 3, "3 of 8 items, drawn at random (seed 5), from 3 of 4 subjects"),
        (
            "aaaaaabb", 3,
            "3 of 8 items, drawn at random (seed 5), 1 or 2 from each of 2 subjects: the score is "
            "the mean over these items (micro) and, like the mean over subjects (macro), "
            "estimates the mean over the task's subjects, not over its items",
        ),
        (
            "aaaaaaab", 4,
            "4 of 8 items, drawn at random (seed 5), 1 to 3 from each of 2 subjects: the score is "
            "the mean over these items (micro), in which smaller subjects count more than in the "
            "whole task; the mean over subjects (macro) estimates the task's own",
        ),
    ],
)  # fmt: skip
def test_the_note_says_how_many_and_what_their_averages_estimate(
    subjects: str, limit: int, expected: str
) -> None:
    everything = items(subjects)
    assert items_note(draw_items(everything, limit, seed=5), everything, 5) == expected
