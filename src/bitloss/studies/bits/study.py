"""How much is lost per bit: methods and bit widths against bits per weight."""

from __future__ import annotations

from bitloss.studies.bits.findings import conclude
from bitloss.studies.sweep import recipe_sweep

__all__ = ["BITS"]

BITS = recipe_sweep(
    name="bits",
    factor="bits per weight",
    question="How many bits per weight does this model need?",
    values=(
        "gptq-8", "gptq-4", "gptq-3", "gptq-2",
        "awq-4",
        "gguf-q8_0", "gguf-q6_k", "gguf-q5_k_m", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k",
    ),
    columns=("bits_per_weight", "relative_perplexity", "expected", "kl_divergence", "loss"),
    series=lambda recipe: recipe.partition("-")[0],  # a step to another method is no step in bits
    conclude=conclude,
)  # fmt: skip
