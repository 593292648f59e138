"""The published loops, written out here over transformers, give the protocols' numbers.

Oracles: the arithmetic of each upstream script (named in the protocol's docstring) done by
transformers' own loss on a real model, with nothing of bitloss in it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from bitloss.datasets import load_corpus
from bitloss.metrics.perplexity import perplexity
from bitloss.protocols import make_protocol
from bitloss.types import Corpus, WindowPlan
from peers.tokenizers import TransformersTokenizer

LENGTH = 96
STRIDE = 40


@pytest.fixture(scope="module", params=["scribe-4m", "stories260K"])  # the second adds BOS
def model(shared: Path, request: pytest.FixtureRequest) -> tuple[Any, TransformersTokenizer]:
    from transformers import AutoModelForCausalLM

    path = shared / "models" / request.param
    network = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    return network, TransformersTokenizer(path)


@pytest.fixture(scope="module")
def corpus(shared: Path) -> Corpus:
    whole = load_corpus("wikitext-2", data=shared / "data")
    rows = whole.rows[:12]
    return Corpus("start", "", "".join(rows), rows, ("".join(rows),))


def ours(network: Any, plan: WindowPlan) -> float:
    losses, index = [], []
    for number, window in enumerate(plan.windows):
        ids = torch.from_numpy(window.ids.astype(np.int64))
        with torch.inference_mode():
            logits = network(ids[None, :-1]).logits[0, window.first - 1 :]
        losses.append(cross_entropy(logits, ids[window.first :], reduction="none").numpy())
        index.append(np.full(window.n_scored, number, dtype=np.int32))
    return perplexity(np.concatenate(losses), np.concatenate(index), plan.averaging, plan.valid)


def joined_ids(tokenizer: TransformersTokenizer, corpus: Corpus, **options: Any) -> torch.Tensor:
    return tokenizer.peer("\n\n".join(corpus.rows), return_tensors="pt", **options).input_ids


@torch.inference_mode()
def guide(network: Any, ids: torch.Tensor, length: int, stride: int) -> float:
    total, count, previous = 0.0, 0, 0
    for begin in range(0, ids.size(1), stride):
        end = min(begin + length, ids.size(1))
        target = end - previous
        inputs = ids[:, begin:end]
        labels = inputs.clone()
        labels[:, :-target] = -100
        weight = int((labels != -100).sum()) - 1
        total += float(network(inputs, labels=labels).loss) * weight
        count += weight
        previous = end
        if end == ids.size(1):
            break
    return math.exp(total / count)


def test_strided_as_published(model: Any, corpus: Corpus) -> None:
    network, tokenizer = model
    plan = make_protocol("strided-as-published", {"max_length": LENGTH, "stride": STRIDE}).plan(
        corpus, tokenizer
    )
    expected = guide(network, joined_ids(tokenizer, corpus), LENGTH, STRIDE)
    assert len(plan.windows) > 5
    assert ours(network, plan) == pytest.approx(expected, rel=1e-5)


def test_strided_is_not_what_the_guide_publishes(model: Any, corpus: Corpus) -> None:
    network, tokenizer = model
    plan = make_protocol("strided", {"max_length": LENGTH, "stride": STRIDE}).plan(
        corpus, tokenizer
    )
    published = guide(network, joined_ids(tokenizer, corpus), LENGTH, STRIDE)
    assert ours(network, plan) == pytest.approx(published, rel=0.05)
    assert ours(network, plan) != pytest.approx(published, rel=1e-5)


@torch.inference_mode()
def test_window_mean(model: Any, corpus: Corpus) -> None:
    network, tokenizer = model
    ids = joined_ids(tokenizer, corpus)
    losses = []
    for begin in range(0, ids.size(1), STRIDE):
        end = min(begin + LENGTH, ids.size(1))
        inputs = ids[:, begin:end]
        losses.append(network(inputs, labels=inputs).loss)
        if end == ids.size(1):
            break
    plan = make_protocol("window-mean", {"max_length": LENGTH, "stride": STRIDE}).plan(
        corpus, tokenizer
    )
    expected = float(torch.exp(torch.stack(losses).mean()))
    assert ours(network, plan) == pytest.approx(expected, rel=1e-5)


@torch.inference_mode()
def test_gptq(model: Any, corpus: Corpus) -> None:
    network, tokenizer = model
    ids = joined_ids(tokenizer, corpus)
    count = ids.numel() // LENGTH
    losses = []
    for number in range(count):
        batch = ids[:, number * LENGTH : (number + 1) * LENGTH]
        logits = network(batch).logits[:, :-1]
        losses.append(cross_entropy(logits[0], batch[0, 1:]) * LENGTH)
    plan = make_protocol("gptq", {"max_length": LENGTH}).plan(corpus, tokenizer)
    expected = float(torch.exp(torch.stack(losses).sum() / (count * LENGTH)))
    assert ours(network, plan) == pytest.approx(expected, rel=1e-5)


@torch.inference_mode()
def test_exllamav3(model: Any, corpus: Corpus) -> None:
    network, tokenizer = model
    ids = joined_ids(tokenizer, corpus, add_special_tokens=False)
    total, count = 0.0, 0
    for begin in list(range(0, ids.size(1) - LENGTH, LENGTH))[:4]:
        row = ids[:, begin : begin + LENGTH]
        logits = network(row).logits[:, :-1].log_softmax(-1)
        total -= float(logits.gather(2, row[:, 1:, None]).sum())
        count += LENGTH - 1
    plan = make_protocol("exllamav3", {"max_length": LENGTH, "max_windows": 4}).plan(
        corpus, tokenizer
    )
    assert ours(network, plan) == pytest.approx(math.exp(total / count), rel=1e-5)
