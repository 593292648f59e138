"""What every task must keep, whatever it asks: `check(task, data)` runs all of it."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

from bitloss.spec.fingerprint import sha256_text
from bitloss.tasks.base import CAPABILITIES, Answer, Item, Task, TaskItems

__all__ = ["NoSandbox", "answer", "check", "perfect", "texts_digest", "worst"]


class NoSandbox:
    """Stands in for a sandbox where grading has no business to use one."""

    def __getattr__(self, name: str) -> object:
        raise AssertionError(f"grading asked the sandbox for `{name}`")


def check(task: Task, data: Path) -> TaskItems:
    """Run all checks; the items, for checks of one's own."""
    check_facts(task)
    loaded = task.load(data)
    check_items(task, loaded)
    assert task.load(data) == loaded, "loading twice gives the same"
    for item in loaded.items:
        check_item(task, item)
    unanswerable = sum(bool(item.options) and item.gold is None for item in loaded.items)
    assert not unanswerable or any(str(unanswerable) in note for note in loaded.notes)
    return loaded


def check_facts(task: Task) -> None:
    facts = task.facts
    assert facts.name
    assert facts.source
    assert facts.license
    assert facts.capability in CAPABILITIES
    assert facts.metrics
    assert len(set(facts.metrics)) == len(facts.metrics)
    assert facts.n_items > 0
    assert facts.version >= 1
    assert facts.samples >= 1
    assert facts.chance is None or 0 < facts.chance < 1


def check_items(task: Task, loaded: TaskItems) -> None:
    facts = task.facts
    assert loaded.items
    assert len({item.id for item in loaded.items}) == len(loaded.items), "ids are unique"
    assert len(loaded.items) == facts.n_items or loaded.notes, "another count is said"
    assert len(loaded.digest) == 64
    assert loaded.source
    if facts.groups:
        assert {item.subject for item in loaded.items} <= facts.groups.keys()
    # Neighbours share their preamble: no subject comes back once it is left.
    subjects = [item.subject for item in loaded.items]
    changes = sum(here != after for here, after in pairwise(subjects))
    assert changes == len(set(subjects)) - 1


def check_item(task: Task, item: Item) -> None:
    assert item.id
    for prompt in item.option_prompts or (item.prompt,):
        assert prompt.question
        assert prompt.text == prompt.description + "".join(prompt.shots) + prompt.question
    if not item.options:
        assert task.facts.decoding is not None
        return
    assert all(item.options)
    assert len(item.option_prompts) in (0, len(item.options))
    if item.gold is None:  # the data names an answer that is none of the options
        for chosen in range(len(item.options)):
            scores = [-0.001 if i == chosen else -1000.0 for i in range(len(item.options))]
            grade = task.grade(item, answer(*scores, greedy=chosen), NoSandbox())
            assert dict(grade.scores) == dict.fromkeys(task.facts.metrics, 0.0), item.id
        return
    assert 0 <= item.gold < len(item.options)
    for given, score in ((perfect(item), 1.0), (worst(item), 0.0)):
        grade = task.grade(item, given, NoSandbox())
        assert dict(grade.scores) == dict.fromkeys(task.facts.metrics, score), item.id


def answer(*logprobs: float, greedy: int | None = None) -> Answer:
    """Scores of options, one of which greedy decoding writes."""
    return Answer(logprobs=logprobs, greedy=tuple(i == greedy for i in range(len(logprobs))))


def perfect(item: Item) -> Answer:
    """The right option is the likeliest, by its characters too."""
    logprobs = [-1000.0 * len(option) for option in item.options]
    logprobs[item.gold] = -0.001
    return answer(*logprobs, greedy=item.gold)


def worst(item: Item) -> Answer:
    """The right option is the least likely, by its characters too."""
    logprobs = [-0.001 * len(option) for option in item.options]
    logprobs[item.gold] = -1000.0 * len(item.options[item.gold])
    return answer(*logprobs)


def texts_digest(loaded: TaskItems) -> str:
    """Of all that is asked."""
    texts = "".join(f"{item.id}{item.prompt.text}{item.options}" for item in loaded.items)
    return sha256_text(texts)
