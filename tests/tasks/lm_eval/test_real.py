"""The bridge over lm-evaluation-harness itself, where it is installed.

Oracle: the harness's own ``simple_evaluate`` with made-up answers: prompts, grades and numbers over
all documents have to be the same, document by document.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import yaml

from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Answer, Item, Task
from bitloss.tasks.find import resolve_tasks
from bitloss.tasks.lm_eval.harness import silenced

_FOUND = find_spec("lm_eval")

pytestmark = [
    pytest.mark.skipif(_FOUND is None or _FOUND.origin is None, reason="lm-eval is not installed"),
    pytest.mark.filterwarnings("default"),  # of the harness and its packages
]

ROWS = [
    {"question": f"{a} + {b} =", "options": [str(a + b), str(a * b + 1), "0"], "gold": 0,
     "answer": f"It is {a + b}.", "label": (a + b) % 2}
    for a in range(1, 5) for b in range(2, 5)
]  # fmt: skip
COMMON = {"dataset_path": "json", "test_split": "test", "metadata": {"version": 1.5}}
TASKS: dict[str, dict[str, Any]] = {
    "local_choice": {
        "output_type": "multiple_choice", "doc_to_text": "Q: {{question}}\nA:",
        "doc_to_choice": "{{options}}", "doc_to_target": "{{gold}}", "num_fewshot": 2,
        "description": "Sums.\n\n", "fewshot_split": "train",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}, {"metric": "brier_score"}],
    },
    "local_labels": {
        "output_type": "multiple_choice", "doc_to_text": "{{question}} odd?",
        "doc_to_choice": ["no", "yes"], "doc_to_target": "{{label}}",
        "metric_list": [{"metric": "mcc"}],
    },
    "local_text": {
        "output_type": "generate_until", "doc_to_text": "{{question}}",
        "doc_to_target": "{{answer.split(' ')[-1][:-1]}}",
        "generation_kwargs": {"until": ["\n\n"], "max_gen_toks": 12},
        "filter_list": [
            {"name": "strict", "filter": [
                {"function": "regex", "regex_pattern": "It is (\\d+)"},
                {"function": "take_first"}]},
            {"name": "last", "filter": [
                {"function": "regex", "regex_pattern": "(\\d+)", "group_select": -1},
                {"function": "take_first"}]},
        ],
        "metric_list": [{"metric": "exact_match", "ignore_punctuation": False}],
    },
    "local_word": {
        "output_type": "loglikelihood", "doc_to_text": "{{question}}",
        "doc_to_target": "{{' ' + options[0]}}",
        "metric_list": [{"metric": "perplexity"}, {"metric": "acc"}],
    },
    "local_pages": {
        "output_type": "loglikelihood_rolling", "doc_to_text": "",
        "doc_to_target": "{{question}} {{answer}}",
        "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
    },
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    lines = "".join(json.dumps(row) + "\n" for row in ROWS)
    (tmp_path / "rows.jsonl").write_text(lines)
    files = {split: str(tmp_path / "rows.jsonl") for split in ("test", "train")}
    kwargs = {"dataset_kwargs": {"data_files": files, "cache_dir": str(tmp_path / "cache")}}
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    for name, settings in TASKS.items():
        text = yaml.safe_dump({"task": name, **COMMON, **kwargs, **settings})
        (tasks / f"{name}.yaml").write_text(text)
    group = {"group": "local_group", "task": ["local_choice"],
             "aggregate_metric_list": [{"metric": "acc_norm", "weight_by_size": True}]}  # fmt: skip
    (tasks / "group.yaml").write_text(yaml.safe_dump(group))
    return tasks


def made_up_model() -> Any:
    """Answers drawn at random, with right ones among them."""
    from lm_eval.api.model import LM

    class MadeUp(LM):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._random = random.Random(0)

        def loglikelihood(self, requests: Any) -> Any:
            return [(-9 * self._random.random(), self._random.random() < 0.5) for _ in requests]

        def loglikelihood_rolling(self, requests: Any) -> Any:
            return [-90 * self._random.random() for _ in requests]

        def generate_until(self, requests: Any) -> Any:
            draw = self._random.choice
            return [draw([r.doc["answer"], f"{r.doc['gold']} or 7", "none"]) for r in requests]

    return MadeUp()


def theirs(folder: Path, name: str) -> Any:
    with silenced():
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        manager = TaskManager(include_path=str(folder), include_defaults=False)
        return simple_evaluate(
            made_up_model(), tasks=[name], task_manager=manager, bootstrap_iters=0
        )


def ours(folder: Path, name: str) -> Task:
    (task,) = resolve_tasks(TaskChoice(name=f"lm-eval:{name}"), include_path=[folder])
    return task


@pytest.mark.parametrize("name", TASKS)
def test_same_prompts_grades_and_numbers(folder: Path, name: str) -> None:
    results, task = theirs(folder, name), ours(folder, name)
    items = {item.id: item for item in task.load(None).items}
    assert len(items) == len(ROWS)
    answers: dict[str, Answer] = {}
    for sample in results["samples"][name]:
        item = items[f"{name}/{sample['doc_id']}"]
        assert _asked(item) == [arguments[: 1 + bool(item.options)] if not item.rolling
                                else arguments for arguments in sample["arguments"]]  # fmt: skip
        answers[item.id] = _answer(task, [own[0] for own in sample["resps"]])
        grade = task.grade(item, answers[item.id], None)  # type: ignore[arg-type]
        for metric in sample["metrics"]:
            key = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
            if key in task.facts.metrics:
                assert grade.scores[key] == pytest.approx(float(sample[metric]))
    totals = (
        {} if task.totals is None else task.totals(list(items.values()), list(answers.values()))
    )
    for key, value in results["results"][name].items():
        metric, _, filtered = key.partition(",")
        own = metric if filtered == "none" else key
        if own in task.facts.metrics:
            grades = [task.grade(items[k], a, None).scores[own] for k, a in answers.items()]  # type: ignore[arg-type]
            assert sum(grades) / len(grades) == pytest.approx(value)
        elif filtered and "stderr" not in metric:
            assert totals[own] == pytest.approx(value)


def _asked(item: Item) -> list[tuple[str, ...]]:
    if item.rolling:
        return [(item.options[0],)]
    if item.options:
        return [(item.prompt.text, item.delimiter + option) for option in item.options]
    return [(item.prompt.text,)]


def _answer(task: Task, given: list[Any]) -> Answer:
    if task.facts.decoding is not None:
        return Answer(texts=(given[0],))
    if isinstance(given[0], float):
        return Answer((given[0],), (False,))
    return Answer(tuple(one for one, _ in given), tuple(one for _, one in given))


def test_a_group(folder: Path) -> None:
    task = ours(folder, "local_group")
    assert task.facts.metrics == ("acc_norm", "acc")
    assert {item.subject for item in task.load(None).items} == {"local_choice"}


def test_a_conversation_is_the_harness_s(folder: Path) -> None:
    task = ours(folder, "local_choice")
    assert task.chat is not None
    item = task.chat.load(None).items[0]
    roles = [message["role"] for message in item.prompt.messages]
    assert roles == ["system", "user", "assistant", "user", "assistant", "user"]
    assert item.delimiter == ""


def test_no_rows(folder: Path) -> None:
    from bitloss.errors import TaskDataError

    (folder.parent / "rows.jsonl").write_text("")
    with pytest.raises(TaskDataError, match="lm-eval:local_text"):
        ours(folder, "local_text")


def test_the_model_is_registered_beside_the_harness_s() -> None:
    with silenced():
        from lm_eval.api.registry import get_model

        from bitloss.lm_eval.model import BitlossLM

        assert get_model("bitloss") is BitlossLM
        assert get_model("dummy").__name__ == "DummyLM"
