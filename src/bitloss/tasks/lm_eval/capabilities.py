"""`capability_of`: which capability a task of the harness measures, as far as its name says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bitloss.tasks.base import CAPABILITIES, Capability

__all__ = ["capability_of"]

# By the beginning of a name, the first that fits; what is bitloss's own, too, is as there.
_BEGINNINGS: tuple[tuple[str, Capability], ...] = (
    (r"ceval|cmmlu|tmmlu|aclue|agieval_cn|agieval_gaokao", "knowledge (Chinese)"),
    (r"gsm|mgsm|minerva|hendrycks_math|math|asdiv|arithmetic|aime|agieval_(math|aqua|sat_math)|"
     r"mathqa|leaderboard_math|mmlu_(pro_math|.*mathematics)", "math"),
    (r"humaneval|mbpp|code|ds1000|livecodebench", "code"),
    (r"ifeval|leaderboard_ifeval|ifbench", "instruction following"),
    (r"bbh|leaderboard_bbh|leaderboard_musr|logiqa|agieval_(lsat|logiqa)|winogrande|wsc|anli|"
     r"copa|acpbench|inverse_scaling|bigbench", "logic"),
    (r"lambada|hellaswag|piqa|storycloze|xstorycloze|swag|wikitext|pile|paloma|c4|blimp|cloze",
     "text completion"),
    (r"mmlu|arc_|ai2_arc|sciq|openbookqa|boolq|triviaqa|nq_open|webqs|gpqa|leaderboard_gpqa|"
     r"leaderboard_mmlu|truthfulqa|commonsense_qa|social_iqa|medqa|medmcqa|pubmedqa|squad|drop|"
     r"agieval", "knowledge (English)"),
)  # fmt: skip


def capability_of(name: str, metadata: Mapping[str, Any] | None = None) -> Capability:
    """The capability; ``other`` where neither the task file nor the name says.

    Args:
        name: the harness's.
        metadata: of the task file; its key ``capability`` goes first.
    """
    given = (metadata or {}).get("capability")
    for known in CAPABILITIES:
        if given == known:
            return known
    for pattern, capability in _BEGINNINGS:
        if re.match(pattern, name):
            return capability
    return "other"
