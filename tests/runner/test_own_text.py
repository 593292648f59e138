"""Text that a model writes by itself. Oracles: what sampling promises, and the bundled model's own
loss on what it wrote.
"""

from __future__ import annotations

import pytest

import bitloss
from bitloss import api
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.runner.own_text import sample_texts
from bitloss.types import SilentProgress


def sample(seed: int, tokens: int = 300) -> list[str]:
    spec = api.make_spec("pocket", corpora=[])
    return sample_texts(spec, tokens=tokens, length=24, seed=seed, progress=SilentProgress())


@pytest.fixture(scope="module")
def texts() -> list[str]:
    return sample(1)


def test_as_many_tokens_as_asked_in_texts_no_longer_than_allowed(texts, pocket) -> None:
    tokenizer = load_tokenizer(pocket)
    counts = [len(tokenizer.encode(text, special=False)) for text in texts]
    assert sum(counts) >= 0.8 * 300  # text that is read back may take fewer tokens
    assert max(counts) <= 24 + 2
    assert all(text.strip() for text in texts)


def test_the_seed_decides(texts) -> None:
    assert sample(1) == texts
    assert sample(2) != texts


def test_it_is_likelier_to_the_model_than_its_words_in_another_order(texts, tmp_path) -> None:
    """Sampled at temperature 1, so it is typical; shuffled words are not."""
    own, shuffled = tmp_path / "own.txt", tmp_path / "shuffled.txt"
    own.write_text("\n\n".join(texts))
    words = "\n\n".join(texts).split()
    shuffled.write_text(" ".join(sorted(words)))
    losses = [
        bitloss.evaluate_perplexity("pocket", corpus=path, max_length=64, stride=64)
        for path in (own, shuffled)
    ]
    assert losses[0] < losses[1] / 2
