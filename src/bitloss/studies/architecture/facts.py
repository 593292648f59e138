"""What is known of a model without evaluating it: its config, its weights, its activations."""

from __future__ import annotations

import io
from collections.abc import Mapping
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.datasets import load_corpus
from bitloss.errors import BitlossError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import Checkpoint, text_config
from bitloss.formats.location.locate import locate
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.quantizers.gguf_writer import open_source
from bitloss.quantizers.imatrix import importance_matrix
from bitloss.spec.model import parse_model
from bitloss.types import Progress

__all__ = ["ModelFacts", "activation_outliers", "facts_of", "weight_outliers"]

_TRAINED = ("training_tokens", "num_training_tokens", "n_training_tokens")
_SEQUENCES, _LENGTH = 4, 256


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """Facts of a model; None where they are not known.

    Attributes:
        parameters: their number.
        layers: their number.
        width: of the residual stream.
        norm: kind of normalization.
        tied: whether embedding and head are one matrix.
        vocabulary: tokens.
        trained_on: tokens, if the config has them.
        weight_outliers: median over matrices of the largest weight in standard deviations.
        activation_outliers: median over matrices of the largest input column's root mean square
            over the median column's.
    """

    parameters: int
    layers: int | None
    width: int | None
    norm: str
    tied: bool
    vocabulary: int | None
    trained_on: int | None
    weight_outliers: float | None
    activation_outliers: float | None


def facts_of(model: str, corpus: str, data: Path | None, progress: Progress) -> ModelFacts:
    """The facts of a model.

    Args:
        model: as the user wrote it.
        corpus: whose beginning the model reads for its activations.
        data: directory with local data.
        progress: where to report.

    Raises:
        BitlossError: the model's files cannot be read.
    """
    path = locate(parse_model(model), progress=progress)
    checkpoint = open_checkpoint(path, name=model)
    config = text_config(checkpoint.config)
    tied = checkpoint.config.get("tie_word_embeddings", config.get("tie_word_embeddings"))
    return ModelFacts(
        parameters=checkpoint.info.parameters,
        layers=_whole(config, "num_hidden_layers", "n_layer"),
        width=_whole(config, "hidden_size", "n_embd"),
        norm="RMS" if "rms_norm_eps" in config else "layer",
        tied=bool(tied) if tied is not None else "lm_head.weight" not in checkpoint.names(),
        vocabulary=_whole(config, "vocab_size"),
        trained_on=_whole(checkpoint.config, *_TRAINED),
        weight_outliers=weight_outliers(checkpoint),
        activation_outliers=_activations(path, corpus, data),
    )


def _whole(config: Mapping[str, Any], *keys: str) -> int | None:
    found = next((config[key] for key in keys if key in config), None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def weight_outliers(checkpoint: Checkpoint) -> float | None:
    """Median over the layers' matrices of the largest weight in standard deviations."""
    import torch

    found = []
    for name in checkpoint.names():
        if not name.endswith(".weight") or len(checkpoint.shape(name)) != 2 or not _in_layer(name):
            continue
        weight = checkpoint.read(name, torch.float32)
        found.append(float(weight.abs().max() / weight.std()))
    return float(np.median(found)) if found else None


def _in_layer(name: str) -> bool:
    return any(part.isdecimal() for part in name.split("."))


def _activations(path: Path, corpus: str, data: Path | None) -> float | None:
    """None for an architecture that they cannot be collected of."""
    try:
        text = load_corpus(corpus, data=data).raw[: 32 * _SEQUENCES * _LENGTH]
        ids = load_tokenizer(path).encode(text, special=False)[: _SEQUENCES * _LENGTH]
        rows = [ids[at : at + _LENGTH].tolist() for at in range(0, len(ids), _LENGTH)]
        with redirect_stderr(io.StringIO()):  # transformers' bars are not ours
            return activation_outliers(importance_matrix(open_source(path), rows))
    except BitlossError:
        return None


def activation_outliers(squares: Mapping[str, Any]) -> float | None:
    """From mean squares by matrix and column: the largest column over the median one, as root mean
    squares, and the median of that over the matrices.
    """
    found = [
        float(np.sqrt(columns.max() / median))
        for columns in squares.values()
        if (median := float(np.median(columns))) > 0
    ]
    return float(np.median(found)) if found else None
