"""Sizes of a model by its config, for estimates: nothing that is measured depends on them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bitloss.formats.base import ModelIdentity, text_config

__all__ = ["Shape", "shape_of"]

_USUAL_WIDTH = 1024


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's sizes, as far as its config has them.

    Attributes:
        width: of its states.
        inner: of its feed-forward layers.
        layers: how many.
        vocabulary: rows of the head.
        body: parameters that every token goes through.
        embedding: parameters of the embedding, of which a token takes one row.
        tied: whether the head is the embedding.
        key_heads: heads of keys and values.
        key_numbers: keys and values of a token, all layers.
    """

    width: int
    inner: int
    layers: int
    vocabulary: int
    body: int
    embedding: int
    tied: bool
    key_heads: int
    key_numbers: int


def shape_of(model: ModelIdentity) -> Shape:
    """The sizes of a model; what its config does not say is taken as is usual."""
    config: Mapping[str, Any] = text_config(model.config)

    def number(*keys: str, default: int) -> int:
        values = (config.get(key) for key in keys)
        return next((v for v in values if isinstance(v, int) and v > 0), default)

    width = number("hidden_size", "n_embd", "d_model", default=_USUAL_WIDTH)
    vocabulary = number("vocab_size", default=0)
    layers = number("num_hidden_layers", "n_layer", default=1)
    heads = number("num_attention_heads", "n_head", default=1)
    key_heads = number("num_key_value_heads", default=heads)
    dim = number("head_dim", default=max(1, width // heads))
    tied = config.get("tie_word_embeddings", model.config.get("tie_word_embeddings")) is not False
    embedding = vocabulary * width
    matrices = 1 if tied else 2
    parameters = model.info.parameters
    return Shape(
        width=width,
        inner=number("intermediate_size", "n_inner", "ffn_dim", default=4 * width),
        layers=layers,
        vocabulary=vocabulary,
        body=max(parameters - matrices * embedding, parameters // 20),
        embedding=embedding,
        tied=tied,
        key_heads=key_heads,
        key_numbers=2 * layers * key_heads * dim,
    )
