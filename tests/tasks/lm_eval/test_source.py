"""Tasks ``lm-eval:NAME`` over the stand-in of the harness; expected values are worked out by hand
from the documents in the task files.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import (
    BitlossError,
    HubError,
    MissingDependency,
    TaskDataError,
    UnknownName,
    UsageError,
)
from bitloss.requests import Decoding
from bitloss.sandbox.base import Sandbox
from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Answer, Item, Task
from bitloss.tasks.find import check_task, resolve_tasks
from peers.harness import CAPITALS, SUMS, stand_in, write_task


@pytest.fixture(autouse=True)
def harness() -> Iterator[None]:
    with stand_in():
        yield


def tasks_of(folder: Path, name: str, **choice: Any) -> tuple[Task, ...]:
    wanted = TaskChoice(name=f"lm-eval:{name}", **choice)
    check_task(wanted, include_path=[folder])
    return resolve_tasks(wanted, include_path=[folder])


def task_of(folder: Path, **settings: Any) -> Task:
    write_task(folder, **settings)
    (task,) = tasks_of(folder, settings["task"])
    return task


def grade(task: Task, item: Item, answer: Answer) -> dict[str, float]:
    sandbox: Sandbox = None  # type: ignore[assignment] # no programs are run
    return dict(task.grade(item, answer, sandbox).scores)


# What is asked ------------------------------------------------------------------------------------


def test_options(tmp_path: Path) -> None:
    task = task_of(tmp_path, **CAPITALS)
    loaded = task.load(None)
    first, second = loaded.items
    assert first.id == "capitals/0"
    assert first.prompt.text == (
        "Capitals.\nThe capital of Spain is Madrid\n\nThe capital of Italy is"
    )
    # The examples can be left out of a prompt that is too long: they stand apart.
    assert first.prompt.shots == ("The capital of Spain is Madrid\n\n",)
    assert (first.options, first.delimiter, first.gold) == (("Rome", "Oslo", "Bern"), " ", 0)
    assert second.gold == 1
    assert task.facts.name == "lm-eval:capitals"
    assert task.facts.metrics == ("acc",)
    assert task.facts.decoding is None
    assert task.facts.chance == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert grade(task, first, Answer((-1.0, -2.0, -3.0), (False,) * 3)) == {"acc": 1.0}
    assert grade(task, second, Answer((-1.0, -2.0), (False,) * 2)) == {"acc": 0.0}


def test_the_number_of_shots(tmp_path: Path) -> None:
    task = task_of(tmp_path, **CAPITALS)
    (item, _) = task.load(None, shots=0).items
    assert item.prompt.text == "Capitals.\nThe capital of Italy is"
    never = task_of(tmp_path, **(CAPITALS | {"num_fewshot": 0}))
    with pytest.raises(UsageError, match="no solved examples by its own configuration, got 2"):
        never.load(None, shots=2)


def test_several_right_options(tmp_path: Path) -> None:
    documents = [{"country": "X", "options": ["a", "b", "c"], "gold": [2, 0]}]
    task = task_of(tmp_path, **(CAPITALS | {"documents": documents}))
    (item,) = task.load(None).items
    assert (item.gold, item.also_right) == (2, (0,))
    assert task.facts.chance == pytest.approx(2 / 3)


def test_prompts_that_differ(tmp_path: Path) -> None:
    """As WinoGrande: the options stand in the questions, and one ending is scored behind each."""
    settings = CAPITALS | {
        "contexts": ["{country} one", "{country} two"], "doc_to_target": "ending",
        "documents": [{"country": "Italy", "ending": "end", "gold": 1, "options": ["x", "y"]}],
        "num_fewshot": 0, "description": "",
    }  # fmt: skip
    task = task_of(tmp_path, **settings)
    (item,) = task.load(None).items
    assert [prompt.text for prompt in item.option_prompts] == ["Italy one", "Italy two"]
    assert (item.options, item.gold) == (("end", "end"), 1)


def test_texts(tmp_path: Path) -> None:
    task = task_of(tmp_path, **SUMS)
    first, _ = task.load(None).items
    assert task.facts.decoding == Decoding(5, ("\n",))
    assert (first.prompt.text, first.gold_answer, first.options) == ("1 + 2 =", "3", ())
    assert grade(task, first, Answer(texts=(" 3",))) == {"exact_match": 1.0}
    assert grade(task, first, Answer(texts=("4",))) == {"exact_match": 0.0}


def test_a_likelihood(tmp_path: Path) -> None:
    task = task_of(
        tmp_path, task="word", output_type="loglikelihood", doc_to_text="{before}",
        doc_to_target="after", documents=[{"before": "to be or not", "after": " to be"}],
    )  # fmt: skip
    (item,) = task.load(None).items
    assert (item.options, item.delimiter, item.gold) == (("to be",), " ", 0)
    assert task.facts.metrics == ("acc",)
    assert grade(task, item, Answer((-3.0,), (True,))) == {"acc": 1.0}
    assert task.totals is not None
    assert task.totals([item], [Answer((-3.0,), (True,))]) == {
        "perplexity": pytest.approx(20.0855, rel=1e-5)  # e^3
    }


def test_a_text_by_itself(tmp_path: Path) -> None:
    task = task_of(
        tmp_path, task="pages", output_type="loglikelihood_rolling", doc_to_text="",
        doc_to_target="page", documents=[{"page": "four words of text"}],
    )  # fmt: skip
    (item,) = task.load(None).items
    assert (item.options, item.rolling, item.prompt.text) == (("four words of text",), True, "")
    found = task.grade(item, Answer((-36.0,), (False,)), None)  # type: ignore[arg-type]
    assert found.scores == {"byte_probability": pytest.approx(0.1353353)}  # e^-2: 18 bytes
    assert found.weights == {"byte_probability": 18.0}
    assert task.totals is not None
    assert task.totals([item], [Answer((-36.0,), (False,))]) == {
        "word_perplexity": pytest.approx(8103.08, rel=1e-5)  # e^9: four words
    }


def test_a_conversation(tmp_path: Path) -> None:
    task = task_of(tmp_path, **CAPITALS)
    assert task.chat is not None
    first, _ = task.chat.load(None).items
    assert [dict(message) for message in first.prompt.messages] == [
        {"role": "system", "content": "Capitals.\n"},
        {"role": "user", "content": "The capital of Spain is"},
        {"role": "assistant", "content": "Madrid"},
        {"role": "user", "content": "The capital of Italy is"},
    ]
    assert (first.options, first.delimiter) == (("Rome", "Oslo", "Bern"), "")


# Metrics ------------------------------------------------------------------------------------------


def test_metrics_that_are_no_mean_over_items(tmp_path: Path) -> None:
    listed = [{"metric": one} for one in ("mcc", "percent", "scores")]
    task = task_of(tmp_path, **(CAPITALS | {"metric_list": listed}))
    first, second = task.load(None).items
    assert task.facts.metrics == ("agreement",)
    right, wrong = Answer((-1.0, -2.0, -3.0), (False,) * 3), Answer((-1.0, -2.0), (False,) * 2)
    assert grade(task, first, right) == {"agreement": 1.0}
    assert grade(task, second, wrong) == {"agreement": 0.0}
    assert task.totals is not None
    totals = task.totals([first, second], [right, wrong])
    assert totals == {"mcc": 0.0, "percent": 50.0}


def test_an_item_that_counts_with_its_parts(tmp_path: Path) -> None:
    documents = [{"a": 1, "b": 2, "sum": "3"}, {"a": 9, "b": 5, "sum": "14"}]
    settings = SUMS | {"metric_list": [{"metric": "parts"}], "documents": documents}
    task = task_of(tmp_path, **settings)
    _, second = task.load(None).items
    found = task.grade(second, Answer(texts=("41 4",)), None)  # type: ignore[arg-type]
    assert (found.scores, found.weights) == ({"parts": 1.0}, {"parts": 2.0})


def test_filters_name_metrics(tmp_path: Path) -> None:
    task = task_of(tmp_path, **(SUMS | {"filters": ["none", "upper"]}))
    assert task.facts.metrics == ("exact_match", "exact_match,upper")


def test_a_task_without_such_a_metric_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TaskDataError, match=r"mean over documents.*`word`: 'no number'"):
        task_of(tmp_path, **(CAPITALS | {"metric_list": [{"metric": "word"}]}))


def test_a_score_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    """It shows only with what a model wrote: never a wrong answer."""
    documents = [*SUMS["documents"], {"a": 1, "b": 1, "sum": "2", "surprise": True}]  # type: ignore[misc]
    task = task_of(tmp_path, **(SUMS | {"documents": documents}))
    with pytest.raises(TaskDataError, match=r"sums/2: expected metric `exact_match`.*got nan"):
        grade(task, task.load(None).items[2], Answer(texts=("2",)))


def test_a_task_that_grades_nothing(tmp_path: Path) -> None:
    with pytest.raises(TaskDataError, match="grades no answer: ValueError: what is this"):
        task_of(tmp_path, **(SUMS | {"process_error": "what is this"}))


# Groups -------------------------------------------------------------------------------------------


def write_group(folder: Path, **settings: Any) -> None:
    write_task(folder, **CAPITALS)
    write_task(folder, **(CAPITALS | {"task": "rivers", "metadata": {"version": 2.0}}))
    write_task(folder, group="places", task=["capitals", "rivers"], **settings)


def test_a_group_with_a_number_of_its_own_is_one_task(tmp_path: Path) -> None:
    write_group(tmp_path, aggregate_metric_list=[{"metric": "acc"}])
    (task,) = tasks_of(tmp_path, "places")
    items = task.load(None).items
    assert task.facts.name == "lm-eval:places"
    assert [item.id for item in items] == ["capitals/0", "capitals/1", "rivers/0", "rivers/1"]
    assert [item.subject for item in items] == ["capitals", "capitals", "rivers", "rivers"]


def test_another_group_is_its_members(tmp_path: Path) -> None:
    write_group(tmp_path)
    names = [task.facts.name for task in tasks_of(tmp_path, "places")]
    assert names == ["lm-eval:capitals", "lm-eval:rivers"]


def test_members_that_are_asked_differently_stay_apart(tmp_path: Path) -> None:
    write_task(tmp_path, **CAPITALS)
    write_task(tmp_path, **SUMS)
    write_task(
        tmp_path, group="both", task=["capitals", "sums"],
        aggregate_metric_list=[{"metric": "acc"}],
    )  # fmt: skip
    assert len(tasks_of(tmp_path, "both")) == 2


def test_a_tag_is_its_tasks(tmp_path: Path) -> None:
    write_task(tmp_path, **(CAPITALS | {"tag": "geography"}))
    names = [task.facts.name for task in tasks_of(tmp_path, "geography")]
    assert names == ["lm-eval:capitals"]


# What it is ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "settings", "choice", "expected"),
    [
        ("gsm8k_of_mine", {}, {}, "math"),
        ("something", {}, {}, "other"),
        ("something", {"metadata": {"capability": "code"}}, {}, "code"),
        ("gsm8k_of_mine", {}, {"capability": "logic"}, "logic"),
    ],
)
def test_capability(
    tmp_path: Path, name: str, settings: dict[str, Any], choice: dict[str, Any], expected: str
) -> None:
    write_task(tmp_path, **(SUMS | {"task": name} | settings))
    (task,) = tasks_of(tmp_path, name, **choice)
    assert task.facts.capability == expected


def test_identity(tmp_path: Path) -> None:
    """What decides a number decides the digest, and where files lie does not."""

    def digest(folder: str, **settings: Any) -> str:
        return task_of(tmp_path / folder, **(SUMS | settings)).load(None).digest

    first = digest("one")
    assert digest("two") == first
    assert digest("two", dataset_kwargs={"data_files": "elsewhere"}) == first
    different = [
        {"documents": [*SUMS["documents"], {"a": 0, "b": 0, "sum": "0"}]},  # type: ignore[misc]
        {"doc_to_text": "{a} plus {b} ="},
        {"metadata": {"version": 2.0}},
    ]
    assert len({first, *(digest("three", **one) for one in different)}) == 4
    notes = task_of(tmp_path / "four", **(SUMS | {"metadata": {"version": 2.5}})).load(None).notes
    assert "task sums, version 2.5: configuration" in notes[0]


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    task_of(tmp_path, **CAPITALS).load(None)
    assert capfd.readouterr() == ("", "")


# What is refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "kind", "message", "hint"),
    [
        ({"doc_to_image": "picture"}, UsageError, "is multimodal", "leave the task out"),
        ({"unsafe_code": True}, UsageError, "runs programs", "humaneval"),
        (
            {"metric_list": [{"metric": "acc_mutual_info"}]},
            UsageError, "acc_mutual_info", "copy the task",
        ),
        ({"output_type": "mixed"}, UsageError, "generate_until and loglikelihood", "omit"),
        ({"load_error": "package"}, UsageError, "needs the package `sympy`", "pip install sympy"),
        ({"load_error": "nameless package"}, UsageError, "please install langdetect", "install"),
        ({"load_error": "offline"}, HubError, "cannot get the data", "--include-path"),
        ({"load_error": "file"}, TaskDataError, "Unable to find 'rows.jsonl'", "check"),
        ({"documents": []}, TaskDataError, "has no documents", "check the split"),
    ],
)  # fmt: skip
def test_what_cannot_be_answered_is_refused_by_name(
    tmp_path: Path, settings: dict[str, Any], kind: type[BitlossError], message: str, hint: str
) -> None:
    with pytest.raises(kind, match=message) as found:
        task_of(tmp_path, **(SUMS | settings))
    assert "lm-eval:sums" in found.value.message
    assert "\n" not in found.value.message
    assert hint in found.value.hint


@pytest.mark.parametrize(
    ("gold", "shown"), [(3, "3"), (-1, "-1"), ("", "''"), ("Paris", "'Paris'"), (None, "None")]
)
def test_a_document_without_a_right_option(tmp_path: Path, gold: object, shown: str) -> None:
    documents = [*CAPITALS["documents"], {"country": "?", "options": ["a", "b"], "gold": gold}]  # type: ignore[misc]
    with pytest.raises(TaskDataError, match=f"document 2: expected which.*got {shown}"):
        task_of(tmp_path, **(CAPITALS | {"documents": documents}))


def test_a_document_with_an_empty_option(tmp_path: Path) -> None:
    documents = [{"country": "?", "options": ["a", ""], "gold": 0}]
    settings = CAPITALS | {"documents": documents, "target_delimiter": ""}
    with pytest.raises(TaskDataError, match="document 0: expected options with text"):
        task_of(tmp_path, **settings)


def test_unknown_name(tmp_path: Path) -> None:
    write_task(tmp_path, **CAPITALS)
    with pytest.raises(UnknownName, match="unknown lm-eval task `capitels`") as found:
        tasks_of(tmp_path, "capitels")
    assert found.value.hint.startswith("did you mean `capitals`?")


def test_include_path(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    for name, message in (
        ("missing", "not there"), ("file", "a file"), ("empty", "no .yaml file"),
    ):  # fmt: skip
        with pytest.raises(UsageError, match=message) as found:
            tasks_of(tmp_path / name, "capitals")
        assert found.value.exit_code == 2


def test_task_files_in_the_data_directory(tmp_path: Path) -> None:
    write_task(tmp_path / "lm-eval", **CAPITALS)
    choice = TaskChoice(name="lm-eval:capitals")
    (task,) = resolve_tasks(choice, data=tmp_path)
    assert task.facts.n_items == 2


def test_without_the_harness(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "bitloss.tasks.lm_eval.harness.find_spec",
        lambda name: None if name == "lm_eval" else real(name),
    )
    with pytest.raises(MissingDependency, match="`lm-eval:capitals` needs") as found:
        check_task(TaskChoice(name="lm-eval:capitals"))
    assert found.value.hint == 'pip install "bitloss[lm-eval]"'
    assert "lm_eval" not in sys.modules


def test_options_of_other_tasks(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="`capability` is for tasks of other packages"):
        check_task(TaskChoice(name="mmlu", capability="math"))
    with pytest.raises(UnknownName, match="unknown capability `maths`"):
        check_task(TaskChoice(name="lm-eval:sums", capability="maths"))
