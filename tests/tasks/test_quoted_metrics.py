"""The metric that is quoted for a task is its score.

Oracles: the Open LLM Leaderboard, version 1 (src/display/about.py of its space: ARC, HellaSwag,
MMLU, WinoGrande, GSM8K) and version 2 (BBH: `acc_norm`); the papers of the others, whose docstrings
name them.
"""

from __future__ import annotations

import pytest

from bitloss.registry import TASKS
from bitloss.tasks.find import resolve_task

QUOTED = {
    "arc_challenge": "acc_norm",
    "arc_easy": "acc_norm",
    "bbh": "exact_match",
    "bbh_choice": "acc_norm",
    "ceval": "acc",
    "gsm8k": "strict",
    "hellaswag": "acc_norm",
    "humaneval": "pass@1",
    "humaneval_plus": "pass@1",
    "ifeval": "prompt_level_strict_acc",
    "lambada": "acc",
    "logiqa": "acc",
    "mmlu": "acc",
    "winogrande": "acc",
}
# Of data whose published split has no name of its own elsewhere.
SPLITS = {"ceval": "val", "hellaswag": "validation", "ifeval": "train", "winogrande": "validation"}


def test_every_published_task_is_here() -> None:
    assert set(QUOTED) == {name for name in TASKS if not name.startswith("pocket_")}


@pytest.mark.parametrize("name", QUOTED)
def test_the_quoted_metric_is_the_score(name: str) -> None:
    facts = resolve_task(name).facts
    assert facts.metrics[0] == QUOTED[name]
    assert facts.data_split == SPLITS.get(name, "test")


@pytest.mark.parametrize("name", ["arc_challenge", "arc_easy", "hellaswag"])
def test_another_score_is_another_version_and_guessing_is_the_same(name: str) -> None:
    facts = resolve_task(name).facts
    assert (facts.version, facts.chance) == (2, 0.25)
    assert facts.harness is not None
    assert facts.harness.metrics == {"acc": "acc,none", "acc_norm": "acc_norm,none"}
