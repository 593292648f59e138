"""What act-order buys and costs: GPTQ without it, within groups, and over the whole row."""

from __future__ import annotations

import re

from bitloss.studies.act_order.findings import conclude, without_speed
from bitloss.studies.sweep import recipe_sweep

__all__ = ["ACT_ORDER"]

# A word alone is of GPTQ at 4 bits; another method stands before it: gptq-3-g64-act.
_VALUE = re.compile(r"(?:(?P<method>gptq-[2348](?:-g[1-9]\d*|-row)?)-)?(?P<order>off|aga|act)")
_METHOD = "gptq-4"


def _recipe(value: str) -> str:
    found = _VALUE.fullmatch(value)
    order = "off" if found is None else found["order"]
    return f"{_series(value)}{'' if order == 'off' else f'-{order}'}"


def _series(value: str) -> str:
    found = _VALUE.fullmatch(value)
    return (found and found["method"]) or _METHOD


ACT_ORDER = recipe_sweep(
    name="act-order",
    factor="act-order",
    question="Is act-order worth its cost?",
    values=("off", "aga", "act"),
    columns=("bits_per_weight", "relative_perplexity", "kl_divergence", "loss"),
    recipe=_recipe,
    series=_series,
    pattern=_VALUE.pattern,
    forms="or of another GPTQ: gptq-3-g64-act; AWQ and GGUF have no act-order",
    prepare=without_speed,
    conclude=conclude,
)
