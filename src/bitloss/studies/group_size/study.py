"""What smaller groups buy: groups of 32, 64, 128 and one per row, GPTQ at 4 bits."""

from __future__ import annotations

import re

from bitloss.studies.group_size.findings import conclude
from bitloss.studies.sweep import recipe_sweep

__all__ = ["GROUP_SIZE"]

# A number alone is of GPTQ at 4 bits; another method stands before it: gptq-3-g64.
_VALUE = re.compile(
    r"(?P<method>gptq-[2348]|awq-4)-(?:g(?P<size>[1-9]\d*)|row)|(?P<alone>[1-9]\d*)|row"
)
_METHOD = "gptq-4"


def _recipe(value: str) -> str:
    found = _VALUE.fullmatch(value)
    size = None if found is None else found["size"] or found["alone"]
    return f"{_series(value)}-{f'g{size}' if size else 'row'}"


def _series(value: str) -> str:
    found = _VALUE.fullmatch(value)
    return (found and found["method"]) or _METHOD


GROUP_SIZE = recipe_sweep(
    name="group-size",
    factor="group size",
    question="Which group size pays for this model?",
    values=("32", "64", "128", "row"),
    columns=("bits_per_weight", "file_size", "relative_perplexity", "kl_divergence", "loss"),
    recipe=_recipe,
    series=_series,
    pattern=_VALUE.pattern,
    forms="or another number of columns, or of another method: gptq-3-g64, awq-4-row; types of "
    "GGUF have groups of a fixed size",
    conclude=conclude,
)
