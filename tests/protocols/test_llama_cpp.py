"""Oracle: llama.cpp itself, its tokenizer and logits through the binding, and the arithmetic of
tools/perplexity/perplexity.cpp (`log_softmax`, `perplexity`) written out in its number types.
"""

from __future__ import annotations

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from bitloss.datasets import load_corpus
from bitloss.metrics.perplexity import llama_cpp_error, perplexity
from bitloss.protocols import make_protocol
from bitloss.types import Corpus, IntArray
from peers import llama_cpp
from peers.gguf_file import write_llama
from peers.tokenizers import CharTokenizer, TransformersTokenizer

N_CTX = 128
CHUNKS = 6


@pytest.fixture(scope="module", params=[False, True], ids=["no-bos", "bos"])
def gguf(
    request: pytest.FixtureRequest, pocket: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    if importlib.util.find_spec("llama_cpp") is None or importlib.util.find_spec("gguf") is None:
        pytest.skip("llama-cpp-python or gguf is not installed")
    path = tmp_path_factory.mktemp("gguf") / "pocket-f32.gguf"
    write_llama(pocket, path, add_bos=request.param)
    return path


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    raw = load_corpus("pocket-prose", data=None).raw[2_000:8_000] + "\n\n"
    return Corpus("start", "", raw, (raw,), (raw,))


@dataclass(frozen=True)
class AsTheFileSays:
    """A transformers tokenizer that adds BOS where the GGUF does."""

    peer: TransformersTokenizer
    adds_bos: bool

    @property
    def bos_id(self) -> int | None:
        return self.peer.bos_id

    @property
    def eos_id(self) -> int | None:
        return self.peer.eos_id

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        ids = self.peer.encode(text, special=False, parse_special=parse_special)
        return np.insert(ids, 0, self.bos_id) if special and self.adds_bos else ids


def log_softmax(logits: np.ndarray, token: int) -> float:
    """perplexity.cpp: float32 exponentials, summed in double."""
    shifted = logits - logits.max()
    return float(shifted[token]) - math.log(np.exp(shifted).sum(dtype=np.float64))


def llama_perplexity(gguf: Path, text: str, add_bos: bool, bos: int) -> tuple[float, float]:
    """`perplexity` of perplexity.cpp: the final estimate and its ±."""
    tokens = llama_cpp.tokenize(gguf, text)
    first = N_CTX // 2
    chunks = [tokens[start : start + N_CTX] for start in range(0, CHUNKS * N_CTX, N_CTX)]
    read = [[bos, *chunk[1:]] if add_bos else chunk for chunk in chunks]
    nll = nll2 = 0.0
    count = 0
    for chunk, logits in zip(chunks, llama_cpp.logits(gguf, read), strict=True):
        for position in range(first, N_CTX - 1):
            value = -log_softmax(logits[position], chunk[position + 1])
            nll += value
            nll2 += value * value
            count += 1
    nll, nll2 = nll / count, nll2 / count
    ppl = math.exp(nll)
    return ppl, math.sqrt((nll2 - nll * nll) / (count - 1)) * ppl


def test_our_number_is_llama_perplexitys(gguf: Path, pocket: Path, corpus: Corpus) -> None:
    from transformers import AutoModelForCausalLM

    peer = TransformersTokenizer(pocket)
    text = corpus.raw[:-1]  # llama.cpp takes one trailing newline off the file
    theirs = llama_cpp.tokenize(gguf, text)
    add_bos = theirs[0] == peer.bos_id
    tokenizer = AsTheFileSays(peer, add_bos)
    assert tokenizer.encode(text, special=True).tolist() == theirs

    # The program's --chunks takes the first ones.
    plan = make_protocol("llama.cpp", {"max_length": N_CTX}).plan(corpus, tokenizer)
    windows = plan.windows[:CHUNKS]
    assert {window.n_scored for window in windows} == {N_CTX - 1 - N_CTX // 2}
    model = AutoModelForCausalLM.from_pretrained(pocket, dtype=torch.float32).eval()
    losses = []
    for window in windows:
        ids = torch.from_numpy(window.ids.astype(np.int64))
        with torch.inference_mode():
            logits = model(ids[None, :-1]).logits[0, window.first - 1 :]
        losses.append(
            torch.nn.functional.cross_entropy(logits, ids[window.first :], reduction="none").numpy()
        )
    nll = np.concatenate(losses)
    index = np.repeat(np.arange(CHUNKS, dtype=np.int32), windows[0].n_scored)

    assert peer.bos_id is not None
    expected, error = llama_perplexity(gguf, text, add_bos, peer.bos_id)
    # Equal to the four decimals that llama-perplexity prints.
    assert perplexity(nll, index, plan.averaging) == pytest.approx(expected, rel=0, abs=5e-5)
    assert llama_cpp_error(nll) == pytest.approx(error, rel=0, abs=5e-5)


@dataclass(frozen=True)
class Marked(CharTokenizer):
    """``<s>`` is a token, unless it is to be read as text."""

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        text = text.replace("<s>", "\x01") if parse_special else text
        return CharTokenizer.encode(self, text, special=special)


def test_special_tokens_in_a_text_are_text() -> None:
    """By hand: perplexity.cpp calls `common_tokenize` without ``parse_special``; GPTQ's script
    calls ``tokenizer(text)``, which reads them as tokens.
    """
    text = "a<s>b" * 4
    corpus = Corpus("marked", "", text, (text,), (text,))
    plans = {
        name: make_protocol(name, {"max_length": 4}).plan(corpus, Marked())
        for name in ("llama.cpp", "gptq")
    }
    assert {name: plan.n_tokens for name, plan in plans.items()} == {"llama.cpp": 20, "gptq": 12}
