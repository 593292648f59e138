"""Small random models that write, and what they are asked to."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.requests import Decoding, GenerateRequest
from peers.random_models import CONFIGS, MemoryCheckpoint

__all__ = ["CONTEXT", "NARROW", "loaded", "prompts", "requests", "run", "talker", "words"]

CONTEXT = 64
NARROW = {**CONFIGS["gemma2"], "sliding_window": 8, "attn_logit_softcapping": 0.5}


@pytest.fixture
def talker(random_model):
    """Random models whose next token depends on all that was before; else they repeat one."""

    def make(architecture="llama"):
        model, checkpoint = random_model(architecture)
        generator = torch.Generator().manual_seed(5)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator)
                wide = 1.0 if "emb" in name or "wte" in name else 2.5 / parameter.shape[-1] ** 0.5
                small = 0.1 * noise if name.endswith("bias") else 1 + 0.1 * noise
                parameter.copy_(wide * noise if parameter.ndim == 2 else small)
        tied = model.config.tie_word_embeddings
        tensors = {
            name: value.detach().clone()
            for name, value in model.state_dict().items()
            if not (tied and name == "lm_head.weight")
        }
        return model, MemoryCheckpoint(checkpoint.info.name, checkpoint.config, tensors)

    return make


def words(ids):
    """A decoder whose text is the ids themselves."""
    return "".join(f"{token} " for token in ids)


def loaded(checkpoint, precision="fp32"):
    graph = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    graph.load(checkpoint)
    return graph, load_head(checkpoint, precision=precision, device="cpu")


def run(model, requests, **options):
    options = {"decode": words, "eos_ids": (), "context": CONTEXT, **options}
    answers = list(generate(*model, requests, **options))
    assert sorted(index for index, _ in answers) == list(range(len(requests)))
    return [answer for _, answer in sorted(answers, key=lambda pair: pair[0])]


def prompts(sizes, shared=0, seed=0):
    rng = np.random.default_rng(seed)
    beginning = rng.integers(3, 101, shared)
    return [np.concatenate([beginning, rng.integers(3, 101, n)]).astype(np.int32) for n in sizes]


def requests(all_prompts, count=12, **options):
    return [
        GenerateRequest(p, Decoding(count, **options), seed=i) for i, p in enumerate(all_prompts)
    ]
