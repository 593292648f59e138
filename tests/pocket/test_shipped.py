"""What is shipped is what the generators write.

Oracle: `pocket.items`, run again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from bitloss.registry import CORPORA, TASKS, load
from bitloss.suites import load_suite
from bitloss.tasks.base import CAPABILITIES
from bitloss.tasks.ifeval.instructions import read_instruction
from pocket.examples import generator
from pocket.items import ITEMS, PACKAGE, count_of, files, rows
from pocket.kinds import KINDS, document


def _task_name(kind: str) -> str:
    return {"arithmetic": "pocket_math"}.get(kind, f"pocket_{kind}")


def test_shipped_files_are_the_generated_ones() -> None:
    written = dict(files())
    for name, text in written.items():
        same = (PACKAGE / name).read_text("utf-8") == text  # pytest's own comparison takes minutes
        assert same, f"{name}: run `python -m pocket.items`"
    there = {
        path.relative_to(PACKAGE).as_posix()
        for folder in ("tasks", "corpora")
        for path in (PACKAGE / folder).iterdir()
    }
    assert there == set(written)


def test_the_suite_has_every_capability_and_enough_items() -> None:
    tasks = [load("task", TASKS, entry.name) for entry in load_suite("pocket").tasks]
    assert {task.facts.capability for task in tasks} == set(CAPABILITIES) - {"other"}
    counts = {}
    for task in tasks:
        loaded = task.load(None)
        assert len(loaded.items) == task.facts.n_items
        assert len({item.prompt.text for item in loaded.items}) == len(loaded.items)
        assert not loaded.notes
        counts[task.facts.name] = len(loaded.items)
    assert counts == {_task_name(name): count_of(name) for name in KINDS}
    assert min(counts.values()) == ITEMS


def test_more_items_leave_the_first_ones_and_keep_the_mix() -> None:
    """Oracle: the shares that the generator itself has, drawn with replacement."""
    every = rows("instructions")
    assert every[:ITEMS] == rows("instructions", ITEMS)
    rng = generator("shares")
    drawn = [KINDS["instructions"].make(rng, "test") for _ in range(4000)]
    for subject in ("bullets", "sentences"):
        # More than a tenth of what is drawn and few: without regard to the subject a sixth of them
        # would not be among the items.
        known = {example.question for example in drawn if example.subject == subject}
        assert {row["question"] for row in every if row["subject"] == subject} == known
    added = [row["subject"] for row in every[ITEMS:]]
    for subject, most in (("short", 0.04), ("comma", 0.01), ("bullets+forbidden", 0.02)):
        share = sum(example.subject == subject for example in drawn) / len(drawn)
        assert abs(added.count(subject) / len(added) - share) < most, subject


@pytest.mark.parametrize("name", KINDS)
def test_prompts_are_in_the_form_of_training(name: str) -> None:
    """A task's description, examples and delimiter, put together, are a document's beginning."""
    kind = KINDS[name]
    item = load("task", TASKS, _task_name(name)).load(None).items[0]
    assert item.delimiter == kind.delimiter
    assert item.prompt.description == kind.description
    assert all(shot.endswith(kind.separator) for shot in item.prompt.shots)
    first = document(name, generator("form"), "train")
    assert (first[0][0] == kind.description) == bool(kind.description)


def test_shipped_instructions_can_be_checked() -> None:
    for line in (PACKAGE / "tasks/instructions.jsonl").read_text("utf-8").splitlines():
        for rule in json.loads(line)["instructions"]:
            read_instruction(*rule)


PROBES = (
    "def {}(*arguments, **keywords):\n    return None\n",
    "def {}(*arguments, **keywords):\n    return 'the same for every argument'\n",
)


def test_shipped_tests_are_passed_by_the_right_answer_and_by_no_probe() -> None:
    """What is tried of a user's tests before a run (`bitloss.runner.tasks.trying`), tried once.

    Oracle: Python, which runs them.
    """
    for line in (PACKAGE / "tasks/code.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        scope: dict[str, object] = {}
        exec(row["question"] + row["answer"] + "\n" + row["tests"], scope)
        for probe in PROBES:
            with pytest.raises((AssertionError, TypeError)):
                exec(probe.format(row["entry_point"]) + row["tests"], {})
    assert load("task", TASKS, "pocket_code").load(None).places == ()


def test_task_files_are_those_that_a_user_could_write() -> None:
    for path in (PACKAGE / "tasks").glob("*.yaml"):
        assert yaml.safe_load(path.read_text("utf-8"))["license"] == "Apache-2.0"


def test_texts() -> None:
    for name in [name for name in CORPORA if name.startswith("pocket-")]:
        corpus = load("corpus", CORPORA, name)(Path("nowhere"))
        assert corpus.name == name
        assert len(corpus.raw) >= 22_000


def test_texts_for_perplexity_were_kept_out_of_training() -> None:
    """No story or function of theirs is drawn for training."""
    for corpus, name in (("prose", "completion"), ("code", "code")):
        text = (PACKAGE / f"corpora/{corpus}.txt").read_text("utf-8")
        rng = generator("texts", name)
        for _ in range(200):
            for piece, _ in document(name, rng, "train"):
                # What is shorter is not a story or function but a name, or what stands between.
                found = len(piece) > 60 and piece in text
                assert not found, piece
