"""Tiny random models with a tokenizer, saved as transformers saves them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

__all__ = ["byte_level_tokenizer", "save_pair", "save_tiny"]

VOCABULARY = 320
_SIZES = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
}
_GPT2_SIZES = {
    "vocab_size": VOCABULARY,
    "n_positions": 128,
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
}


def save_tiny(
    folder: Path, kind: str, *, dtype: torch.dtype = torch.float32, **options: Any
) -> Any:
    """Save a random model of a transformers model type, with a byte-level tokenizer.

    Weights are larger than an untrained model's, and biases and norms not trivial: logits then
    depend on every parameter.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    sizes = _GPT2_SIZES if kind == "gpt2" else _SIZES
    config = AutoConfig.for_model(
        kind, **{**sizes, "bos_token_id": 0, "eos_token_id": 1, **options}
    )
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn_like(parameter)
            if parameter.ndim == 2:
                parameter.copy_(
                    noise * (1.0 if "embed" in name else 2.0 / parameter.shape[1] ** 0.5)
                )
            else:
                parameter.copy_((0.0 if name.endswith("bias") else 1.0) + 0.2 * noise)
    model = model.to(dtype)
    model.save_pretrained(folder)
    byte_level_tokenizer().save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(
        '{"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}'
    )
    return model


def byte_level_tokenizer() -> Any:
    """Two special tokens, the 256 bytes and a few merges; fewer tokens than the embedding has."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("t", "h"), ("th", "e"), ("Ġ", "the"), ("i", "n")]
    tokens = ["<s>", "</s>", *letters, *("".join(pair) for pair in merges)]
    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>"])
    return tokenizer


def save_pair(folder: Path) -> Path:
    """Save a tiny Llama as ``reference`` and with noise as ``variant``; the folder."""
    for name in ("reference", "variant"):
        model = save_tiny(folder / name, "llama")
        if name == "variant":
            torch.manual_seed(3)
            with torch.no_grad():
                for weight in model.parameters():
                    weight += 0.03 * torch.randn_like(weight)
            model.save_pretrained(folder / name)
    return folder
