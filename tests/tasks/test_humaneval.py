"""Oracles: lm-eval 0.4.13's own tasks run on the same files, the paper's formula, and by hand."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from math import comb
from pathlib import Path
from typing import Any

import pytest

from bitloss.datasets import snapshots
from bitloss.datasets.tables import HubTable, Table, table_from_rows
from bitloss.errors import SandboxError, TaskDataError, UsageError
from bitloss.sandbox import Bubblewrap, Program, Verdict
from bitloss.tasks import with_samples
from bitloss.tasks.base import Answer, Item, Task
from bitloss.tasks.gsm8k import GSM8K
from bitloss.tasks.humaneval import HUMANEVAL, HUMANEVAL_PLUS

PROMPT = 'def double(x):\n    """ Twice x. """\n'
ROW = {
    "task_id": "HumanEval/0",
    "prompt": PROMPT,
    "entry_point": "double",
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(2) == 4\n",
}
PLUS_ROW = {**ROW, "base_input": [[2]], "plus_input": [[3]], "atol": 0}


class Fake:
    """Passes what says so; remembers what it was given."""

    def __init__(self) -> None:
        self.programs: list[Program] = []

    def run(self, program: Program) -> Verdict:
        self.programs.append(program)
        if "broken sandbox" in program.solution:
            raise SandboxError("the sandbox did not start")
        passed = "good" in program.solution
        return Verdict(passed, "passed" if passed else "wrong", "" if passed else "AssertionError")


def load(folder: Path, *rows: dict[str, Any], plus: bool = False) -> tuple[Item, ...]:
    (folder / "humaneval").mkdir(exist_ok=True)
    name = "HumanEvalPlus" if plus else "HumanEval"
    with gzip.open(folder / "humaneval" / f"{name}.jsonl.gz", "wt") as file:
        file.write("\n".join(map(json.dumps, rows)))
    return (HUMANEVAL_PLUS if plus else HUMANEVAL).load(folder).items


def test_the_item_and_its_program(tmp_path: Path) -> None:
    (item,) = load(tmp_path, ROW)
    assert (item.id, item.prompt.text, item.delimiter) == ("HumanEval/0", PROMPT, "")
    assert item.gold_answer == "    return 2 * x\n"
    sandbox = Fake()
    grade = HUMANEVAL.grade(item, Answer(texts=("    return 'good'\n",)), sandbox)
    (program,) = sandbox.programs
    assert program.solution == PROMPT + "    return 'good'\n"
    assert program.tests == ROW["test"] + "\ncheck(double)\n"
    assert (program.entry_point, program.support) == ("double", PROMPT)
    assert (dict(grade.scores), grade.detail) == ({"pass@1": 1.0}, "passed")
    wrong = HUMANEVAL.grade(item, Answer(texts=("    return 'bad'\n",)), sandbox)
    assert (dict(wrong.scores), wrong.detail) == ({"pass@1": 0.0}, "wrong: AssertionError")


def test_a_sandbox_that_fails_is_no_wrong_answer(tmp_path: Path) -> None:
    (item,) = load(tmp_path, ROW)
    with pytest.raises(SandboxError):
        HUMANEVAL.grade(item, Answer(texts=("# broken sandbox",)), Fake())


def test_no_text_is_no_grade(tmp_path: Path) -> None:
    (item,) = load(tmp_path, ROW)
    with pytest.raises(ValueError, match="n=0"):
        HUMANEVAL.grade(item, Answer(), Fake())


def test_several_samples(tmp_path: Path) -> None:
    (item,) = load(tmp_path, ROW)
    task = with_samples(HUMANEVAL, 12)
    texts = ("good",) * 3 + ("bad",) * 9
    grade = task.grade(item, Answer(texts=texts), Fake())
    assert dict(grade.scores) == {
        "pass@1": pytest.approx(3 / 12),
        "pass@10": pytest.approx(1 - comb(9, 10) / comb(12, 10)),
    }
    assert grade.detail == "9 wrong, 3 passed"
    assert (task.facts.samples, task.facts.metrics) == (12, ("pass@1", "pass@10"))
    assert with_samples(HUMANEVAL, 9).facts.metrics == ("pass@1",)
    assert with_samples(HUMANEVAL, 200).facts.metrics == ("pass@1", "pass@10", "pass@100")


def test_samples_are_drawn_as_in_lm_eval() -> None:
    # tasks/humaneval/humaneval_64.yaml
    before, after = HUMANEVAL.facts.decoding, with_samples(HUMANEVAL, 64).facts.decoding
    assert before is not None
    assert after == replace(before, temperature=0.2, top_p=0.95)


def test_greedy_decoding_is_that_of_lm_eval() -> None:
    for task in (HUMANEVAL, HUMANEVAL_PLUS):
        decoding = task.facts.decoding
        assert decoding is not None
        assert decoding.stop == ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
        assert (decoding.max_new_tokens, decoding.temperature, decoding.decided) == (1024, 0, None)
        assert task.facts.needs_sandbox


@pytest.mark.parametrize(
    ("task", "n", "message"), [(HUMANEVAL, 0, "got 0"), (GSM8K, 2, "got `gsm8k`")]
)
def test_samples_that_cannot_be(task: Task, n: int, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        with_samples(task, n)


def test_there_are_no_shots(tmp_path: Path) -> None:
    load(tmp_path, ROW)
    assert HUMANEVAL.load(tmp_path, shots=0).items == HUMANEVAL.load(tmp_path).items
    with pytest.raises(UsageError, match="got 1"):
        HUMANEVAL.load(tmp_path, shots=1)


def run_tests(tests: str, double: Callable[[int], int]) -> None:
    exec(tests, {"double": double})


def test_the_release_of_the_plus_tests_is_tested_on_its_inputs(tmp_path: Path) -> None:
    # Its field `test` is HumanEval's, which knows nothing of the added input 3.
    (item,) = load(tmp_path, PLUS_ROW, plus=True)
    run_tests(item.data["tests"], lambda x: 2 * x)
    with pytest.raises(AssertionError, match=r"wrong for \[3\]"):
        run_tests(item.data["tests"], lambda x: 4)


def test_the_hub_has_the_plus_tests_ready_made(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[HubTable] = []

    def hub_table(table: HubTable, *, expected: str, columns: tuple[str, ...]) -> Table:
        asked.append(table)
        assert set(columns) == set(ROW)
        return table_from_rows([ROW], str(table))

    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    monkeypatch.setattr(snapshots, "hub_table", hub_table)
    (item,) = HUMANEVAL_PLUS.load(None).items
    assert item.data["tests"] == ROW["test"] + "\ncheck(double)\n"
    assert asked == [HubTable("evalplus/humanevalplus", None, "test")]


def test_damaged_rows_and_counts_are_said(tmp_path: Path) -> None:
    load(tmp_path, ROW)
    assert "HumanEval: 1 rows, the published files have 164" in HUMANEVAL.load(tmp_path).notes
    with pytest.raises(TaskDataError, match=r"row 2 .*text in `prompt`, got None"):
        load(tmp_path, ROW, {**ROW, "prompt": None})
    with pytest.raises(TaskDataError, match="base_input"):
        load(tmp_path, ROW, plus=True)


def test_the_real_files_are_the_published(shared: Path) -> None:
    for task in (HUMANEVAL, HUMANEVAL_PLUS):
        loaded = task.load(shared / "data")
        assert (len(loaded.items), loaded.notes) == (164, ())
        assert all(item.prompt.text.endswith("\n") for item in loaded.items)


@pytest.mark.parametrize("task", [HUMANEVAL, HUMANEVAL_PLUS], ids=lambda task: task.facts.name)
def test_reference_solutions_pass_in_the_real_sandbox(
    shared: Path, task: Task, sandbox: Bubblewrap
) -> None:
    items = task.load(shared / "data").items
    # Every one of HumanEval's; of its hundredfold a part: all are `campaigns.sandbox --data`.
    # 2 and 38: a tolerance; tests that call the prompt's helpers.
    chosen = items if task is HUMANEVAL else [items[index] for index in (*range(0, 164, 12), 2, 38)]

    def judge(item: Item) -> None:
        right = task.grade(item, Answer(texts=(item.gold_answer or "",)), sandbox)
        assert dict(right.scores) == {"pass@1": 1.0}, right.detail
        wrong = task.grade(item, Answer(texts=("    return None\n",)), sandbox)
        assert dict(wrong.scores) == {"pass@1": 0.0}

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(judge, chosen))


def test_chat_models_are_asked_in_words_and_their_fences_are_read(tmp_path: Path) -> None:
    """evalplus 0.3.1, make_raw_chat_prompt; no stop string of the completion is left."""
    load(tmp_path, ROW)
    chat = HUMANEVAL.chat
    assert chat is not None
    assert chat.facts.decoding is not None
    assert chat.facts.decoding.stop == ()
    assert chat.facts.harness is None
    assert chat.facts.metrics == HUMANEVAL.facts.metrics
    (item,) = chat.load(tmp_path).items
    assert item.prompt.question == (
        "Please provide a self-contained Python script that solves the following problem in a "
        f"markdown code block:\n```\n{PROMPT.strip()}\n```\n"
    )
    box = Fake()
    assert item.gold_answer is not None
    for text in (item.gold_answer, "Sure:\n```python\ndef double(x):\n    return 2 * x\n```"):
        chat.grade(item, Answer(texts=(text,)), box)
    whole, own = box.programs
    assert whole.solution == PROMPT + ROW["canonical_solution"]
    assert own.solution == "def double(x):\n    return 2 * x\n"
    assert whole.entry_point == "double"
    assert whole.support == PROMPT
    assert whole.tests.endswith("check(double)\n")
