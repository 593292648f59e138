"""What a user says beside a suite, and what comes of it. Oracle: the rules in `choose`'s text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import UnknownName
from bitloss.suites.choose import choose


def chosen(suite: str | None = None, **said: Any) -> dict[str, Any]:
    return choose(suite, **{"corpora": None, "tasks": None, **said})


@pytest.fixture
def suite(tmp_path: Path) -> str:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\n"
        "corpora: [{name: web, limit: 3}, code]\n"
        "tasks: [{name: mmlu, limit: 20, shots: 2}, lambada, humaneval]\n"
    )
    return str(path)


def names(found: dict[str, Any]) -> list[tuple[str, int | None, int | None]]:
    return [(task.name, task.limit, task.shots) for task in found["tasks"]]


def test_nothing_said_is_wikitext() -> None:
    assert chosen() == {
        "suite": None, "corpora": ("wikitext-2",), "corpus_limits": {}, "tasks": (),
    }  # fmt: skip


def test_tasks_alone_bring_no_corpus() -> None:
    found = chosen(tasks=["mmlu"])
    assert found["corpora"] == ()
    assert names(found) == [("mmlu", None, None)]


def test_a_suite_brings_corpora_tasks_and_limits(suite: str) -> None:
    found = chosen(suite)
    assert found["corpora"] == ("web", "code")
    assert found["corpus_limits"] == {"web": 3}
    assert names(found) == [("mmlu", 20, 2), ("lambada", None, None), ("humaneval", None, None)]


def test_tasks_replace_the_suites_and_keep_what_it_says_of_them(suite: str) -> None:
    found = chosen(suite, tasks=["mmlu", "gsm8k"])
    assert found["corpora"] == ("web", "code")
    assert names(found) == [("mmlu", 20, 2), ("gsm8k", None, None)]


def test_a_typing_error_shows_at_once() -> None:
    with pytest.raises(UnknownName, match="mmul") as fault:
        chosen(tasks=["mmul"])
    assert "`mmlu`" in fault.value.hint
