"""Drafts of tokens that may follow. Expected values by hand."""

from __future__ import annotations

import numpy as np

from bitloss.engines.dense.generation.drafts import Drafter, Share, share_out


def drafter(prompt: list[int], draft: list[int] | None = None) -> Drafter:
    given = None if draft is None else np.array(draft, np.int32)
    return Drafter(np.array(prompt, np.int32), given)


def write(own: Drafter, tokens: list[int]) -> Drafter:
    for token in tokens:
        own.add(token)
    return own


def test_a_given_draft_is_followed_from_its_beginning() -> None:
    own = drafter([1, 2], [10, 11, 12, 13])
    assert own.next(2) == [10, 11]
    assert write(own, [10, 11]).next(5) == [12, 13]
    assert write(own, [12, 13]).next(5) == []


def test_after_parting_it_is_met_again_where_three_tokens_agree() -> None:
    own = write(drafter([1, 2], [10, 11, 12, 13, 14, 15, 16]), [10, 99, 12, 13])
    assert own.next(3) == []
    assert write(own, [14]).next(3) == [15, 16]


def test_of_several_places_the_one_that_stands_nearest_is_meant() -> None:
    given = [1, 2, 3, 50, 9, 9, 1, 2, 3, 60, 9, 9, 1, 2, 3, 70]
    assert write(drafter([0], given), [8, 8, 8, 8, 8, 8, 1, 2, 3]).next(1) == [60]
    assert write(drafter([0], given), [8, 1, 2, 3]).next(1) == [50]


def test_without_one_a_text_repeats_itself_and_its_prompt() -> None:
    own = drafter([5, 6, 7, 8, 9, 5, 6, 7])
    assert own.next(2) == [8, 9]
    assert own.next(7) == [8, 9, 5, 6, 7, 8, 9]  # a loop goes on
    assert write(own, [3]).next(2) == []
    assert drafter([1]).next(2) == []


def test_what_was_accepted_decides_how_much_is_drafted() -> None:
    own = drafter([1], [10, 11, 12])
    before = own.rate
    own.learn(0, 3)
    low = own.rate
    own.learn(3, 3)
    assert low < before
    assert own.rate > low
    own.learn(0, 0)
    assert own.rate > low


def test_a_block_that_is_computed_anyway_is_filled() -> None:
    assert share_out([Share(8, 0.9), Share(8, 0.2)], block=8, room=100) == [6, 0]
    assert share_out([Share(8, 0.5), Share(8, 0.3)], block=8, room=100) == [3, 1]
    assert share_out([Share(2, 0.9), Share(0, 0.9)], block=8, room=100) == [2, 0]
    assert share_out([Share(8, 0.9)], block=8, room=3) == [3]
    assert share_out([], block=8, room=3) == []


def test_a_further_block_has_to_be_worth_it() -> None:
    """Four texts fill a block: of a further one, 0.8 of the rows have to be right."""
    assert share_out([Share(1, 0.9)] * 4, block=4, room=100) == [1] * 4
    assert share_out([Share(1, 0.7)] * 4, block=4, room=100) == [0] * 4
    # Three of four rows taken: the free one, and no more, as the others are not likely enough.
    assert share_out([Share(9, 0.5)] * 3, block=4, room=100) == [1, 0, 0]
    # A text alone: any token that is saved is a whole forward.
    assert sum(share_out([Share(31, 0.97)], block=4, room=100)) > 8
