"""Oracle: the contract of `bitloss.tasks.base.Load`."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss import registry
from bitloss.errors import UsageError
from bitloss.tasks.shots import require_shots, resolve_shots


def test_the_task_has_its_own_number() -> None:
    assert resolve_shots("t", None, 5) == 5
    assert resolve_shots("t", 0, 5) == 0
    with pytest.raises(UsageError, match="expected 0 shots or more, got -1"):
        resolve_shots("t", -1, 5)


def test_the_maximum_is_named() -> None:
    require_shots("t", 5, 5)
    with pytest.raises(UsageError, match="`t`: expected at most 5 shots, got 6"):
        require_shots("t", 6, 5)


@pytest.mark.parametrize(
    "name", ["arc_easy", "arc_challenge", "hellaswag", "winogrande", "logiqa", "lambada"]
)
def test_tasks_without_examples_have_none(name: str, tmp_path: Path) -> None:
    task = registry.load("task", registry.TASKS, name)
    with pytest.raises(UsageError, match=f"`{name}`: expected at most 0 shots, got 1"):
        task.load(tmp_path, shots=1)
