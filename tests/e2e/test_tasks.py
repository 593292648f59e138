"""Tasks from beginning to end through the command line, on tasks that `new-task` writes.

Oracles: a copy of the reference loses exactly nothing; the shipped schema; lm-eval's rule that the
most likely option is chosen, recomputed from transformers' own logits.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bitloss.cli.main import main
from bitloss.results.schema import PATH

Captured = pytest.CaptureFixture[str]

KINDS = ("choice", "exact_match", "contains", "gold_likelihood")
NAMES = [kind.replace("_", "-") for kind in KINDS]
WORDS = [
    "compare", "./tiny", "./copy", "./noisy", "--out", "run", "--quiet",
    *(word for name in NAMES for word in ("--tasks", f"{name}.yaml")),
]  # fmt: skip


@pytest.fixture
def tasks(here: Path) -> Path:
    shutil.copytree(here / "tiny", here / "copy")
    for name, kind in zip(NAMES, KINDS, strict=True):
        assert main(["new-task", name, "--kind", kind]) == 0
    return here


def read(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "comparison.json").read_text())
    return result


def test_own_tasks_are_asked_scored_and_compared(tasks: Path, capsys: Captured) -> None:
    assert main(WORDS) == 0
    shown = capsys.readouterr().out
    result = read(tasks / "run")
    jsonschema.Draft202012Validator(json.loads(PATH.read_text())).validate(result)
    reference, (copy, noisy) = result["reference"], result["variants"]
    assert list(reference["tasks"]) == NAMES
    assert reference["corpora"] == {}
    for name, task in copy["tasks"].items():
        assert name in shown
        assert task["n_scored"] == task["n_items"] == task["n_total"] > 0
        assert task["score"] == reference["tasks"][name]["score"]
        assert task["kl_divergence"]["value"] == 0.0
        assert task["gold_nll_difference"]["value"] == 0.0
        if task.get("flips"):
            assert task["flips"]["right_to_wrong"] == task["flips"]["wrong_to_right"] == 0
    assert all(task["kl_divergence"]["value"] > 0 for task in noisy["tasks"].values())
    for capability in noisy["capabilities"]:
        assert capability.split()[0] in shown

    before = (tasks / "run" / "comparison.json").read_bytes()
    records = {path.name: path.stat().st_mtime_ns for path in (tasks / "run/records").iterdir()}
    assert main(WORDS) == 0
    assert (tasks / "run" / "comparison.json").read_bytes() == before
    after = {path.name: path.stat().st_mtime_ns for path in (tasks / "run/records").iterdir()}
    assert after == records  # nothing was asked again


def test_questions_and_answers_are_kept_in_words(tasks: Path) -> None:
    from bitloss.analysis.collect import collect
    from bitloss.runner import RunStore

    assert main(WORDS) == 0
    store = RunStore(tasks / "run")
    manifest = store.read_manifest()
    for name, entry in manifest.tasks.items():
        kept = store.read_records([entry.questions], ("item", "question", "options", "gold"))
        assert all(kept["question"])
        assert all(kept["gold"])
        for model, key in entry.items.items():
            columns = store.read_records(
                [key], ("item", "answer", "detail", f"score:{entry.metrics[0]}")
            )
            assert columns["item"].tolist() == kept["item"].tolist()
            if name == "choice":
                right = columns["answer"] == kept["gold"]
                assert right.tolist() == (columns["score:acc"] == 1).tolist(), model
                # Where the other metric takes another option, the detail names both.
                said = [text.partition("; ")[0] for text in columns["detail"].tolist()]
                chosen = [text.removeprefix("acc: ") for text in said]
                assert columns["answer"].tolist() == chosen
    assert collect(store, manifest).to_json() == (tasks / "run/comparison.json").read_text()


def test_a_chosen_option_is_the_one_that_transformers_finds_most_likely(here: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    rows = [
        {
            "question": f"{n} foxes jump over",
            "options": ["the dog", "a fox", "lazy"],
            "answer": n % 3,
        }
        for n in range(12)
    ]
    (here / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (here / "foxes.yaml").write_text(
        "name: foxes\ncapability: logic\ndata: rows.jsonl\nprompt: '{question}'\n"
        "choice: {options: '{options}', gold_as: index, gold: answer}\n"
    )
    assert (
        main(["compare", "./tiny", "./noisy", "--tasks", "foxes.yaml", "--out", "run", "-q"]) == 0
    )
    result = read(here / "run")
    for folder, scored in (("tiny", result["reference"]), ("noisy", result["variants"][0])):
        model = AutoModelForCausalLM.from_pretrained(here / folder, dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(here / folder)
        right = 0
        for row in rows:
            found = []
            prompt = tokenizer(row["question"])["input_ids"]
            for option in row["options"]:
                ids = tokenizer(f"{row['question']} {option}")["input_ids"]
                with torch.no_grad():
                    logs = model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
                found.append(sum(float(logs[i - 1, ids[i]]) for i in range(len(prompt), len(ids))))
            right += found.index(max(found)) == row["answer"]
        assert scored["tasks"]["foxes"]["score"]["value"] == pytest.approx(right / len(rows))


def test_limits_spread_and_are_said(tasks: Path, capsys: Captured) -> None:
    assert main(["compare", "./tiny", "./copy", "--tasks", "choice.yaml", "--limit", "2"]) == 0
    assert "2 of " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--tasks", "mmul"], 2, "did you mean `mmlu`"),
        (["--suite", "standart"], 2, "did you mean `standard`"),
        (["--tasks", "./none.yaml"], 2, "no task file at"),
        (["--tasks", "lambada", "--data", "."], 1, "lambada"),
        (["--tasks", "choice.yaml,choice.yaml"], 2, "named twice"),
        (["--tasks", "choice.yaml", "--chat"], 2, "template"),
    ],
)
def test_what_people_get_wrong(
    tasks: Path, capsys: Captured, words: list[str], code: int, said: str
) -> None:
    assert main(["compare", "./tiny", "./copy", *words]) == code
    captured = capsys.readouterr()
    assert said in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""
