"""A tiny quantized model through llama.cpp: whether this build's matrix products are right.

A build for other instructions loads, runs F16 files and then dies in the first quantized product,
so importing it proves nothing. This module is run in a process of its own (`Workers`): the
model is written, quantized and run, and its logits are compared with those of the F16 file.
"""

from __future__ import annotations

import ctypes
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.quantizers.workers import serve
from bitloss.types import FloatArray

__all__ = ["probe"]

_WIDTH, _FEED_FORWARD, _HEADS, _VOCABULARY, _TOKENS = 256, 512, 4, 256, 32
# Type Q8_0 exercises the plain block products, Q4_K the K-quants with their packed scales.
_TYPES = {"q8_0": 7, "q4_k": 14}


def probe(spec: dict[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
    """Relative distance of each quantized file's logits from the F16 file's.

    Returns:
        type -> ||quantized - f16|| / ||f16||, 0.023 (q8_0) and 0.24 (q4_k) in a sound build.
    """
    del spec, report
    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    llama_cpp.llama_backend_init()
    with tempfile.TemporaryDirectory() as folder:
        dense = Path(folder) / "f16.gguf"
        _write_model(dense)
        expected = _logits(llama_cpp, dense)
        distances = {}
        for name, kind in _TYPES.items():
            path = Path(folder) / f"{name}.gguf"
            options = llama_cpp.llama_model_quantize_default_params()
            options.ftype, options.nthread = kind, 1
            status = llama_cpp.llama_model_quantize(
                str(dense).encode(), str(path).encode(), ctypes.byref(options)
            )
            if status != 0:
                raise RuntimeError(f"llama_model_quantize to {name} returned {status}")
            difference = _logits(llama_cpp, path) - expected
            distances[name] = float(np.linalg.norm(difference) / np.linalg.norm(expected))
    return distances


def _write_model(path: Path) -> None:
    """One Llama layer of random weights, with a vocabulary of bare ids."""
    import gguf

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(_TOKENS)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_FEED_FORWARD)
    writer.add_head_count(_HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(_WIDTH // _HEADS)
    writer.add_vocab_size(_VOCABULARY)
    writer.add_tokenizer_model("none")
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    random = np.random.default_rng(0)
    square = (_WIDTH, _WIDTH)
    shapes = {
        "token_embd": (_VOCABULARY, _WIDTH), "output": (_VOCABULARY, _WIDTH),
        "blk.0.attn_q": square, "blk.0.attn_k": square, "blk.0.attn_v": square,
        "blk.0.attn_output": square, "blk.0.ffn_gate": (_FEED_FORWARD, _WIDTH),
        "blk.0.ffn_up": (_FEED_FORWARD, _WIDTH), "blk.0.ffn_down": (_WIDTH, _FEED_FORWARD),
    }  # fmt: skip
    for name, shape in shapes.items():
        weight = random.normal(0, shape[1] ** -0.5, shape).astype(np.float16)
        writer.add_tensor(f"{name}.weight", weight)
    for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm"):
        writer.add_tensor(f"{name}.weight", np.ones(_WIDTH, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _logits(llama_cpp: Any, path: Path) -> FloatArray:
    """Logits after a batch of tokens, shape ``[tokens, vocabulary]``."""
    model_options = llama_cpp.llama_model_default_params()
    model_options.n_gpu_layers = 0
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), model_options)
    options = llama_cpp.llama_context_default_params()
    options.n_ctx = options.n_batch = options.n_ubatch = _TOKENS
    options.n_threads = options.n_threads_batch = 1
    context = llama_cpp.llama_init_from_model(model, options)
    if not context:
        raise RuntimeError(f"llama.cpp cannot load {path.name}")
    batch = llama_cpp.llama_batch_init(_TOKENS, 0, 1)
    for i in range(_TOKENS):
        batch.token[i], batch.pos[i], batch.logits[i] = (i * 37) % _VOCABULARY, i, True
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    batch.n_tokens = _TOKENS
    if (status := llama_cpp.llama_decode(context, batch)) != 0:
        raise RuntimeError(f"llama_decode returned {status}")
    flat = np.ctypeslib.as_array(llama_cpp.llama_get_logits(context), (_TOKENS * _VOCABULARY,))
    logits = flat.astype(np.float64).reshape(_TOKENS, _VOCABULARY)
    llama_cpp.llama_batch_free(batch)
    llama_cpp.llama_free(context)
    llama_cpp.llama_model_free(model)
    return logits


if __name__ == "__main__":
    serve(probe)
