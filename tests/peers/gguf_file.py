"""An F32 GGUF of a small Llama with a byte-level BPE tokenizer, written with the library `gguf`.

Independent of bitloss's own converter, and with a say on BOS, which that one takes from the model.
"""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["write_llama"]


def write_llama(model: Path, out: Path, *, add_bos: bool) -> None:
    """Write the model directory's weights in float32 and its tokenizer as one GGUF file."""
    import gguf
    import numpy as np
    from safetensors import safe_open

    config = json.loads((model / "config.json").read_text())
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    layers = config["num_hidden_layers"]

    writer = gguf.GGUFWriter(str(out), "llama")
    writer.add_block_count(layers)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(kv_heads)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_rope_dimension_count(config["head_dim"])

    ids = dict(tokenizer["model"]["vocab"])
    special = {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    ids.update(special)
    tokens = sorted(ids, key=ids.__getitem__)
    types = [
        gguf.TokenType.CONTROL if token in special else gguf.TokenType.NORMAL for token in tokens
    ]
    writer.add_tokenizer_model("gpt2")
    # llama.cpp's name for digits that stand alone before GPT-2's splitting (src/llama-vocab.cpp).
    digits = "Digits" in json.dumps(tokenizer["pre_tokenizer"])
    writer.add_tokenizer_pre("smollm" if digits else "gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in merges])
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(add_bos)

    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, layers)
    with safe_open(model / "model.safetensors", "pt") as tensors:
        for name in tensors.keys():  # noqa: SIM118 - not a mapping
            values = tensors.get_tensor(name).float().numpy()
            if "q_proj" in name or "k_proj" in name:
                # llama.cpp rotates neighbouring rows, transformers the halves of each head.
                count = heads if "q_proj" in name else kv_heads
                halves = values.reshape(count, 2, -1, values.shape[1])
                values = np.ascontiguousarray(halves.swapaxes(1, 2)).reshape(values.shape)
            writer.add_tensor(names.get_name(name, try_suffixes=(".weight",)), values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
