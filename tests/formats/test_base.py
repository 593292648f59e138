"""Model identities. Oracle: the config's own numbers, and the checkpoint's info."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import ModelIdentity, identify
from bitloss.types import ModelInfo

POCKET = Path(__file__).parents[2] / "src" / "bitloss" / "models" / "pocket"
INFO = ModelInfo("m", "d", "gptq", 4, 4.1, 1, 1)


def test_a_checkpoint_is_identified() -> None:
    checkpoint = open_checkpoint(POCKET, name="pocket")
    identity = identify(checkpoint)
    assert identity.info == checkpoint.info
    assert identity.config == checkpoint.config
    assert identity.vocabulary == checkpoint.shape("model.embed_tokens.weight")[0]
    assert identity.context == checkpoint.config["max_position_embeddings"]


@pytest.mark.parametrize(
    "config",
    [
        {"vocab_size": 7, "n_positions": 5},
        {"text_config": {"vocab_size": 7, "max_position_embeddings": 5}},
        {"vocab_size": 9, "text_config": {"vocab_size": 7, "max_position_embeddings": 5}},
    ],
)
def test_sizes_are_those_of_the_language_model(config: dict[str, Any]) -> None:
    identity = ModelIdentity(INFO, config)
    assert (identity.vocabulary, identity.context) == (7, 5)


def test_sizes_that_the_config_does_not_give() -> None:
    identity = ModelIdentity(INFO, {"text_config": None})
    assert identity.context is None
    with pytest.raises(UnsupportedModel, match="vocab_size"):
        _ = identity.vocabulary
