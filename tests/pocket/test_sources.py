"""The bundled tasks say where their data is from, and not where bitloss is installed."""

from __future__ import annotations

import pytest

from bitloss import registry
from bitloss.suites import load_suite

TASKS = [task.name for task in load_suite("pocket").tasks]


@pytest.mark.parametrize("name", TASKS)
def test_no_local_path_travels_in_a_source(name: str) -> None:
    task = registry.load("task", registry.TASKS, name)
    source = task.load(None).source
    assert source.startswith("bitloss/pocket/tasks/")
    assert task.facts.source == f"generated, {source}"
