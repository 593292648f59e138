"""Tasks by name and by path."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import UnknownName, UsageError
from bitloss.registry import TASKS
from bitloss.tasks import resolve_task, with_samples
from bitloss.tasks.custom.examples import write_example


@pytest.mark.parametrize("name", TASKS)
def test_registered_names(name: str) -> None:
    assert resolve_task(name).facts.name == name


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_example("own", "choice", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert resolve_task("own.yaml").facts.name == "own"
    assert resolve_task("./own.yaml") != resolve_task("own.yaml")  # another source
    with pytest.raises(UsageError, match=r"no task file at `owm\.yaml`"):
        resolve_task("owm.yaml")
    (tmp_path / "own.txt").write_text("")
    with pytest.raises(UsageError, match=r"expected a \.yaml or \.jsonl file"):
        resolve_task("./own.txt")
    with pytest.raises(UnknownName, match="did you mean `mmlu`"):
        resolve_task("mmul")


def test_samples(tmp_path: Path) -> None:
    write_example("code", "python_tests", tmp_path)
    write_example("text", "exact_match", tmp_path)
    write_example("scored", "choice", tmp_path)
    code = with_samples(resolve_task(str(tmp_path / "code.yaml")), 10).facts
    assert (code.samples, code.metrics) == (10, ("pass@1", "pass@10"))
    assert code.decoding is not None
    assert code.decoding.temperature == 0.2
    text = with_samples(resolve_task(str(tmp_path / "text.yaml")), 2).facts
    assert (text.samples, text.metrics) == (2, ("exact_match",))
    assert with_samples(resolve_task("humaneval"), 10).facts.metrics == ("pass@1", "pass@10")
    assert with_samples(resolve_task("gsm8k"), 1) is resolve_task("gsm8k")
    own_code = with_samples(resolve_task("pocket_code"), 10)
    assert own_code.grade == resolve_task("pocket_code").grade  # not HumanEval's
    assert own_code.facts.metrics == ("pass@1", "pass@10")
    for name in (str(tmp_path / "scored.yaml"), "gsm8k", "mmlu"):
        with pytest.raises(UsageError):
            with_samples(resolve_task(name), 2)
