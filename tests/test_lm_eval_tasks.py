"""Tasks of lm-evaluation-harness through the real command line, over the stand-in of the harness.

Oracle: the variant is the reference's own copy, so nothing may be lost; and the reference's scores
are those of the same questions written as tasks of bitloss's own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

import bitloss
from bitloss.cli.main import main
from bitloss.results import Comparison
from peers.harness import stand_in, write_task

POCKET = Path(bitloss.__file__).parent / "models" / "pocket"
DOCUMENTS = [
    {"question": "2 + 3 =", "options": ["5", "6"], "gold": 0, "answer": "5"},
    {"question": "4 + 4 =", "options": ["9", "8"], "gold": 1, "answer": "8"},
    {"question": "1 + 6 =", "options": ["7", "3"], "gold": 0, "answer": "7"},
    {"question": "3 + 6 =", "options": ["2", "9"], "gold": 1, "answer": "9"},
]

Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def harness() -> Iterator[None]:
    with stand_in():
        yield


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The same questions as tasks of the harness and of bitloss."""
    folder = tmp_path / "tasks"
    common = {"doc_to_text": "{question}", "documents": DOCUMENTS, "metadata": {"version": 1.0}}
    write_task(
        folder, task="chosen", output_type="multiple_choice", doc_to_choice="options",
        doc_to_target="gold", metric_list=[{"metric": "acc"}, {"metric": "mcc"}], **common,
    )  # fmt: skip
    write_task(
        folder, task="written", output_type="generate_until", doc_to_target="answer",
        metric_list=[{"metric": "exact_match"}],
        generation_kwargs={"until": ["\n"], "max_gen_toks": 4}, **common,
    )  # fmt: skip
    write_task(
        folder, task="read", output_type="loglikelihood_rolling", doc_to_target="question", **common
    )
    own = {"capability": "math", "prompt": "{question}", "items": DOCUMENTS}
    rules = {
        "choice": {"options": "{options}", "gold": "gold", "gold_as": "index"},
        "exact_match": {"gold": "answer"},
    }
    for rule, settings in rules.items():
        document = {"name": rule, **own, rule: settings}
        if rule == "exact_match":
            document["generation"] = {"max_new_tokens": 4, "stop": ["\n"]}
        (tmp_path / f"{rule}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")
    return tmp_path


def compare(files: Path, *options: str) -> Comparison:
    copy = files / "copy"
    if not copy.exists():
        shutil.copytree(POCKET, copy)
    words = ["compare", "pocket", str(copy), "--out", str(files / "run"), "--dtype", "fp32"]
    assert main([*words, "--no-report", *options]) == 0
    return Comparison.load(files / "run")


def test_against_tasks_of_bitloss(files: Path, capsys: Captured) -> None:
    names = ["lm-eval:chosen", "lm-eval:written", "lm-eval:read"]
    own = [str(files / "choice.yaml"), str(files / "exact_match.yaml")]
    tasks = ",".join([*names, *own])
    options = ("--tasks", tasks, "--include-path", str(files / "tasks"))
    result = compare(files, *options)
    (variant,) = result.variants
    assert variant.error is None
    assert variant.tasks is not None
    assert result.reference.tasks is not None
    for name, other in (("chosen", "choice"), ("written", "exact_match")):
        ours, theirs = result.reference.tasks[other], result.reference.tasks[f"lm-eval:{name}"]
        assert theirs.score == ours.score
        assert theirs.gold_nll == ours.gold_nll
        assert theirs.gold == ours.gold
        assert variant.tasks[f"lm-eval:{name}"].difference.value == 0
    chosen, read = (result.reference.tasks[f"lm-eval:{name}"] for name in ("chosen", "read"))
    assert chosen.chance == 0.5
    # The stand-in's correlation: 1 for each right answer, -1 for each wrong one.
    assert chosen.totals == {"mcc": pytest.approx(2 * (chosen.score.value or 0) - 1)}
    assert read.totals is not None
    assert read.gold_nll is not None
    words = sum(len(one["question"].split()) for one in DOCUMENTS)  # type: ignore[attr-defined]
    nats = (read.gold_nll.value or 0) * read.gold_tokens
    assert read.totals["word_perplexity"] == pytest.approx(2.718281828 ** (nats / words), rel=1e-5)
    assert variant.tasks["lm-eval:read"].answer_change is not None
    assert variant.tasks["lm-eval:read"].answer_change.value == 0
    shown = capsys.readouterr().out
    assert "lm-eval:chosen" in shown

    before = (files / "run" / "comparison.json").read_bytes()
    for record in sorted((files / "run" / "records").iterdir())[::2]:
        record.unlink()  # as a run that was killed has fewer of them
    compare(files, *options)
    assert (files / "run" / "comparison.json").read_bytes() == before


def test_a_limit(files: Path) -> None:
    options = ("--tasks", "lm-eval:chosen", "--include-path", str(files / "tasks"))
    result = compare(files, *options, "--limit", "3")
    assert result.reference.tasks is not None
    task = result.reference.tasks["lm-eval:chosen"]
    assert (task.n_scored, task.n_items, task.n_total) == (3, 3, 4)


def test_a_suite_file(files: Path) -> None:
    entry = {"name": "lm-eval:chosen", "include_path": "tasks", "capability": "logic", "limit": 2}
    suite = {"name": "mine", "tasks": [entry]}
    (files / "suite.yaml").write_text(yaml.safe_dump(suite), encoding="utf-8")
    result = compare(files, "--suite", str(files / "suite.yaml"))
    assert result.reference.tasks is not None
    task = result.reference.tasks["lm-eval:chosen"]
    assert (task.capability, task.n_items) == ("logic", 2)


@pytest.mark.parametrize(
    ("tasks", "options", "code", "shown"),
    [
        ("lm-eval:choosen", (), 2, "did you mean `chosen`?"),
        ("lm-eval:chosen", ("--include-path", "missing"), 2, "not there"),
        ("lm-evil:chosen", (), 2, "unknown task `lm-evil:chosen`"),
        ("lm-eval:", (), 2, "unknown task `lm-eval:`"),
    ],
)
def test_mistakes(
    files: Path, tasks: str, options: tuple[str, ...], code: int, shown: str, capsys: Captured
) -> None:
    own = options or ("--include-path", str(files / "tasks"))
    words = ["compare", "pocket", "pocket", "--out", str(files / "run"), "--tasks", tasks, *own]
    assert main(words) == code
    err = capsys.readouterr().err
    assert shown in err
    assert "Traceback" not in err
    assert not (files / "run").exists()


def test_exports_have_the_task(files: Path) -> None:
    compare(files, "--tasks", "lm-eval:chosen", "--include-path", str(files / "tasks"))
    run = str(files / "run")
    assert main(["report", run, "--format", "html", "--format", "csv", "--format", "lm-eval"]) == 0
    document = json.loads((files / "run" / "comparison.json").read_text())
    assert document["reference"]["tasks"]["lm-eval:chosen"]["metric"] == "acc"
