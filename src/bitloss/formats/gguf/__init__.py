"""GGUF: llama.cpp's model files, of every type that its Python package can dequantize."""

from __future__ import annotations

from bitloss.formats.gguf.checkpoint import GgufCheckpoint, matches, open_checkpoint
from bitloss.formats.gguf.tokenizer.vocabulary import Vocabulary, read_vocabulary, vocabulary

__all__ = [
    "GgufCheckpoint",
    "Vocabulary",
    "matches",
    "open_checkpoint",
    "read_vocabulary",
    "vocabulary",
]
