"""A byte-level BPE of the pocket model's own, trained on generated text.

Digits stand alone, and the rest is split as GPT-2 does; llama.cpp calls that ``smollm``. Texts
begin with ``<s>`` and end with ``</s>``.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from pocket.examples import generator
from pocket.kinds import CROWD, KINDS, document, prose_text

__all__ = ["BOS", "CONTEXT", "EOS", "PAD", "VOCABULARY", "train_tokenizer", "write_tokenizer"]

VOCABULARY = 2048
CONTEXT = 1024
BOS, EOS, PAD = 0, 1, 2
_SPECIAL = ("<s>", "</s>", "<pad>")
_DOCUMENTS = 1500
"""Of each kind, for the merges."""


def train_tokenizer(seed: int = 0, documents: int = _DOCUMENTS) -> Tokenizer:
    """Train it: the same seed gives the same tokenizer."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(_SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, documents), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", BOS)]
    )
    return tokenizer


def _texts(seed: int, documents: int) -> Iterator[str]:
    for name in KINDS:
        rng = generator("tokenizer", seed, name)
        for _ in range(documents):
            drawn = CROWD if name == "completion" else name
            yield "".join(text for text, _ in document(drawn, rng, "train"))
    rng = generator("tokenizer", seed, "prose")
    for _ in range(documents):
        yield "".join(text for text, _ in prose_text(rng, "train"))


def write_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write ``tokenizer.json`` and ``tokenizer_config.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "bos_token": _SPECIAL[BOS],
        "clean_up_tokenization_spaces": False,
        "eos_token": _SPECIAL[EOS],
        "model_max_length": CONTEXT,
        "pad_token": _SPECIAL[PAD],
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
