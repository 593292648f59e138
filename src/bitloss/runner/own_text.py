"""Text that a model writes by itself: what it takes for likely, to calibrate on or to compare with.

Liu et al., LLM-QAT (arXiv 2305.17888), and Williams et al., Self-calibration for Language Model
Quantization and Pruning (arXiv 2410.17170): sampled from the beginning-of-sequence token at
temperature 1.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from bitloss.engines.evaluate import load_engine
from bitloss.errors import UnsupportedModel
from bitloss.requests import Decoding, GenerateRequest
from bitloss.runner.plan import prepare
from bitloss.runner.run import Run
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.writers import text_setup
from bitloss.spec.run import RunSpec
from bitloss.types import IntArray, Progress

__all__ = ["sample_texts"]

_SIDE_BY_SIDE = 32
# A model may end most of its texts at once.
_MOST_ROUNDS = 64


def sample_texts(
    spec: RunSpec, *, tokens: int, length: int, seed: int, progress: Progress
) -> list[str]:
    """Texts of a run's reference, sampled at temperature 1.

    Args:
        spec: whose reference writes; what it scores does not matter.
        tokens: of all texts together, at least; fewer where the model writes next to nothing.
        length: tokens of one at most.
        seed: same seed, same texts.
        progress: where to report.

    Raises:
        UnsupportedModel: its engine cannot write.
        BitlossError: the reference cannot be used.
    """
    own = replace(spec, variants=(), corpora=(), tasks=(), suite=None, corpus_limits={})
    plan = prepare(own, progress=progress)
    engine = load_engine(plan.reference_engine.name)
    if engine.text_model is None:
        raise UnsupportedModel(
            f"engine `{engine.name}` cannot generate text", hint="choose another --engine"
        )
    with tempfile.TemporaryDirectory(prefix="bitloss-") as folder:
        run = Run(plan, RunStore(Path(folder)), progress)
        candidate = run.reference_candidate(run.arithmetic(tokens))
        model = engine.text_model(candidate, text_setup(plan))
        texts: list[str] = []
        written = 0
        prompts = _prompts(plan.reference.tokenizer.bos_id, plan.reference.tokenizer.eos_id)
        with progress.task(f"sample text of {plan.reference.name}", tokens) as advance:
            for turn in range(_MOST_ROUNDS):
                if written >= tokens:
                    break
                requests = [
                    GenerateRequest(
                        prompts, Decoding(length, temperature=1.0), seed=seed + turn * 1000 + index
                    )
                    for index in range(_SIDE_BY_SIDE)
                ]
                found = dict(model.generate(requests))
                texts += [found[index].text for index in sorted(found)]
                new = sum(one.n_tokens for one in found.values())
                written += new
                advance(new)
        del model
        engine.release()
    return [text for text in texts if text.strip()]


def _prompts(bos: int | None, eos: int | None) -> IntArray:
    """What a text begins after: a model without a token for it has often seen the end of another
    text there.
    """
    first = bos if bos is not None else eos
    return np.array([0 if first is None else first], np.int32)
