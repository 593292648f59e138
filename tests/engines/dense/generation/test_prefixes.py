"""Oracles: the prompts themselves, and trees drawn by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from bitloss.engines.dense.generation.prefixes import share_prefixes


def arrays(*prompts):
    return [np.array(list(prompt), dtype=np.int32) for prompt in prompts]


def chain(task):
    return [tuple(node.ids.tolist()) for node in reversed(list(task.own.chain()))]


def test_examples_questions_and_samples():
    """A preamble of 4 tokens, below it two questions of which one is asked three times."""
    preamble, long, short = [1, 2, 3, 4], [5, 6, 7, 8], [9, 8]
    other = [7, 7, 7, 7, 7, 7]
    prompts = arrays(preamble + long, other, preamble + short, preamble + long, preamble + long)
    tasks = share_prefixes(prompts, least=3)
    # Those that share stand together, at the place of the first of them.
    assert [task.index for task in tasks] == [0, 3, 4, 2, 1]
    by_index = {task.index: task for task in tasks}
    # All but the last token of the question is shared, so its own part is empty.
    for index in (0, 3, 4):
        assert chain(by_index[index]) == [(1, 2, 3, 4), (5, 6, 7), ()]
    assert chain(by_index[2]) == [(1, 2, 3, 4), (9,)]
    assert chain(by_index[1]) == [(7,) * 5]
    asked = by_index[0].own.parent
    assert asked is by_index[3].own.parent
    assert (asked.users, asked.parent.users, asked.first, asked.end) == (3, 4, 4, 7)
    assert asked.parent is by_index[2].own.parent
    assert [by_index[i].last for i in range(5)] == [8, 7, 8, 8, 8]


def test_short_ones_are_not_worth_it():
    tasks = share_prefixes(arrays([1, 2, 3, 9], [1, 2, 3, 8], [1, 2, 3]), least=4)
    assert all(task.own.parent is None for task in tasks)
    assert [task.index for task in tasks] == [0, 1, 2]


def test_memory_goes_with_the_last_user():
    (first, second) = share_prefixes(arrays([1, 2, 3, 4], [1, 2, 3, 5]), least=2)
    shared = first.own.parent
    key = np.zeros(0)
    shared.layers[0] = (key, key)
    shared.release()
    assert shared.layers
    second.own.parent.release()
    assert not shared.layers


prompts_lists = st.lists(
    st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=12
)


@given(prompts_lists, st.integers(1, 4))
@settings(deadline=None)
def test_trees_say_what_the_prompts_say(prompts, least):
    tasks = share_prefixes(arrays(*prompts), least=least)
    assert sorted(task.index for task in tasks) == list(range(len(prompts)))
    users: dict[int, list[int]] = {}
    nodes = {}
    for place, task in enumerate(tasks):
        at = 0
        for node in reversed(list(task.own.chain())):
            assert node.first == at
            at = node.end
            if node is not task.own:
                users.setdefault(id(node), []).append(place)
                nodes[id(node)] = node
        tokens = [token for part in chain(task) for token in part]
        assert [*tokens, task.last] == prompts[task.index]
    for name, places in users.items():
        # Worth it, counted right, and the users of each stand together.
        assert nodes[name].users == len(places) >= 2
        assert len(nodes[name].ids) >= least
        assert places == list(range(places[0], places[-1] + 1))
    # Nothing long enough that two prompts have in common is left in their own parts.
    for one in tasks:
        for other in tasks:
            if one is not other and one.own.parent is other.own.parent:
                a, b = one.own.ids.tolist(), other.own.ids.tolist()
                same = 0
                while same < min(len(a), len(b)) and a[same] == b[same]:
                    same += 1
                assert same < least
