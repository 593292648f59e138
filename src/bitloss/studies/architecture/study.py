"""Which models lose least under the same recipes, beside what is known of how they are built."""

from __future__ import annotations

from bitloss.studies.architecture.ranks import rank_models
from bitloss.studies.sweep import recipe_sweep

__all__ = ["ARCHITECTURE"]

ARCHITECTURE = recipe_sweep(
    name="architecture",
    factor="model",
    question="Which of these models lose least under the same recipes?",
    values=("gptq-4", "gguf-q4_k_m", "gguf-q2_k"),
    columns=("bits_per_weight", "relative_perplexity", "kl_divergence", "loss"),
    series=str,  # recipes are no steps of each other
    across=rank_models,
)
