"""Tiny models in a module graph, plain and with a simulated runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.formats import open_checkpoint
from peers.tiny_architectures import save_tiny

IDS = torch.arange(3, 43).view(2, 20)


@pytest.fixture
def tiny(tmp_path: Path) -> Callable[..., tuple[Any, ModelGraph]]:
    """A function: an architecture to its checkpoint and a graph that it is loaded into."""

    def make(architecture: str) -> tuple[Any, ModelGraph]:
        save_tiny(architecture, tmp_path / architecture)
        checkpoint = open_checkpoint(tmp_path / architecture)
        graph = ModelGraph(dict(checkpoint.config), precision="fp32", device="cpu")
        graph.load(checkpoint)
        return checkpoint, graph

    return make
