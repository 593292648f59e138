"""Tasks of the domains. Oracle: what tasks say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import SandboxError
from bitloss.studies.base import Subject
from bitloss.studies.calibration import tasks
from bitloss.studies.calibration.domains import DOMAINS
from bitloss.studies.calibration.tasks import domain_of, find_tasks
from bitloss.tasks.base import CAPABILITIES
from bitloss.tasks.find import resolve_task


def subject(folder: Path, model: str = "pocket", **options: object) -> Subject:
    return Subject(model, (), options, folder)


def test_a_domains_tasks_measure_its_capability() -> None:
    for domain in DOMAINS.values():
        for name in filter(None, (domain.task, domain.bundled_task)):
            assert resolve_task(name).facts.capability == domain.capability
            assert domain_of(domain.capability) == domain.name
    assert {one.capability for one in DOMAINS.values()} <= {*CAPABILITIES, ""}
    assert domain_of("logic") is None


def test_tasks_that_write_have_to_be_asked_for() -> None:
    """The bundled model's texts are short; another's would take hours."""
    for domain in DOMAINS.values():
        assert not domain.task or resolve_task(domain.task).facts.decoding is None


def test_the_tasks_of_the_domains_at_hand(tmp_path: Path) -> None:
    found, told = find_tasks(("math", "chinese", "random"), subject(tmp_path))
    assert found == {"tasks": ["pocket_math", "pocket_knowledge_zh"]}
    assert told == []


@pytest.mark.parametrize("chosen", ["tasks", "suite", "corpora"])
def test_what_the_user_chooses_is_left_alone(tmp_path: Path, chosen: str) -> None:
    assert find_tasks(("math",), subject(tmp_path, **{chosen: ["mine"]})) == ({}, [])


def test_a_task_without_data_is_left_out_and_named(tmp_path: Path) -> None:
    asked = subject(tmp_path, model="org/model", data=str(tmp_path))
    found, (told,) = find_tasks(("prose", "code"), asked)
    assert found == {"tasks": []}
    (sentence,) = told.sentences
    assert sentence.startswith("Task `lambada` of prose was left out: ")
    assert sentence.endswith(".")
    assert not sentence.endswith("..")


def test_a_task_without_a_sandbox_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(*, unsafe: bool) -> None:
        raise SandboxError("there is no bubblewrap", hint="install it")

    monkeypatch.setattr(tasks, "open_sandbox", none)
    found, (told,) = find_tasks(("prose", "code"), subject(tmp_path))
    assert found == {"tasks": ["pocket_completion"]}
    assert "there is no bubblewrap" in told.sentences[0]
