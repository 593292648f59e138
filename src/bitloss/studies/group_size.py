"""What smaller groups buy: GPTQ at 4 bits, groups of 32, 64, 128 and one per row."""

from __future__ import annotations

from bitloss.studies.sweep import recipe_sweep

__all__ = ["GROUP_SIZE"]

GROUP_SIZE = recipe_sweep(
    name="group-size",
    factor="group size",
    values=("32", "64", "128", "row"),
    columns=("bits_per_weight", "file_size", "relative_perplexity", "kl_divergence", "loss"),
    recipe=lambda value: "gptq-4-row" if value == "row" else f"gptq-4-g{value}",
    pattern=r"row|[1-9]\d*",
)
