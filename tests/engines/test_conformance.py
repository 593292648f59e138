"""Every engine under the checks of `conformance`; the oracle is transformers' own forward."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.engines.dense.plug import DenseEngine


def _neighbour(name: str, path: Path) -> Any:
    """A module by its file: tests are no package."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


_HERE = Path(__file__).parent
conformance = _neighbour("conformance", _HERE / "conformance.py")
random_model = _neighbour("tiny_dense_models", _HERE / "dense" / "conftest.py").random_model

ARCHITECTURES = (
    "llama", "llama-tied", "qwen2", "gpt2", "gemma2", "mistral", "phi", "gpt_neox", "cohere",
)  # fmt: skip


def decode(ids):
    return " ".join(map(str, ids))


def dense(random_model, architecture, **options):
    """The dense engine over a tiny random model, and what transformers says of it."""
    model, checkpoint = random_model(architecture)
    engine = DenseEngine(
        checkpoint,
        precision="fp32",
        decode=decode,
        eos_ids=(1,),
        **{"batch_tokens": 64, **options},
    )

    def logits(ids):
        with torch.no_grad():
            return model(torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    return engine, conformance.Facts(
        vocabulary=101, context=64, logits=logits, decode=decode, eos_ids=(1,)
    )


@pytest.mark.parametrize("check", conformance.SCORE_CHECKS, ids=lambda check: check.__name__)
def test_the_dense_engine_scores(random_model, check):
    engine, facts = dense(random_model, "llama")
    check(engine, facts)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_dense_engine_scores_every_architecture(random_model, architecture):
    engine, facts = dense(random_model, architecture)
    conformance.check_against_full_logits(engine, facts)
    conformance.check_company_changes_nothing(engine, facts)
    conformance.check_choice_only_chooses_the_same(engine, facts)


@pytest.mark.parametrize("check", conformance.GENERATE_CHECKS, ids=lambda check: check.__name__)
def test_the_dense_engine_generates(random_model, check):
    engine, facts = dense(random_model, "llama")
    check(engine, facts)
