"""llama.cpp itself, as an oracle: its token ids of a text, its logits for given ids.

Runs in a process of its own (this file, as a script): an assertion of native code ends that
process and fails the test that asked.
"""

from __future__ import annotations

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["logits", "need_imatrix", "token_ids", "tokenize"]


def logits(
    gguf: Path, windows: list[list[int]], *, keys: str = "f32", values: str = "f32"
) -> list[NDArray[np.float32]]:
    """Logits at every position of each window, shape ``[len(window), vocabulary]`` in float32.

    Every window starts from an empty cache. No flash attention and an F32 cache, so that an F32
    file differs from a float32 forward only by the order of additions. With types of cached keys
    and values there is flash attention, which quantized values take.
    """
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "logits.npz"
        cache = {"keys": keys, "values": values}
        _run({"gguf": str(gguf), "windows": windows, "result": str(result), **cache})
        with np.load(result) as arrays:
            return [arrays[f"arr_{index}"] for index in range(len(windows))]


def tokenize(gguf: Path, text: str) -> list[int]:
    """Token ids of the text with BOS where the file says so, as `llama-perplexity` asks."""
    ids: list[int] = json.loads(_run({"gguf": str(gguf), "text": text}))
    return ids


def token_ids(
    ggufs: list[Path], texts: list[str], *, special: bool, parse_special: bool
) -> list[list[list[int]]]:
    """Token ids of each text under each file's vocabulary, all in one process.

    Args:
        ggufs: files; only their vocabularies are loaded.
        texts: what is encoded.
        special: add BOS and EOS where the file says so.
        parse_special: read the texts of control tokens as these tokens.
    """
    spec = {
        "ggufs": [str(file) for file in ggufs], "texts": texts, "special": special,
        "parse_special": parse_special,
    }  # fmt: skip
    ids: list[list[list[int]]] = json.loads(_run(spec))
    return ids


def need_imatrix(gguf: Path, types: dict[str, int]) -> set[str]:
    """Of the file types (name to number), those for which llama.cpp wants an importance matrix.

    A dry run decides; nothing is quantized.
    """
    return set(json.loads(_run({"gguf": str(gguf), "types": types})))


def _run(spec: dict[str, Any]) -> str:
    done = subprocess.run(
        # -P: this file is called llama_cpp too, and its folder must not come first.
        [sys.executable, "-P", __file__],
        input=json.dumps(spec),
        text=True,
        capture_output=True,
        env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"},
    )
    if done.returncode != 0:
        raise RuntimeError(f"llama.cpp ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout


def _main(spec: dict[str, Any]) -> None:
    import llama_cpp

    llama_cpp.llama_backend_init()
    if "types" in spec:
        print(json.dumps(_need_imatrix(llama_cpp, spec["gguf"], spec["types"])))
        return
    if "ggufs" in spec:
        print(json.dumps(_token_ids(llama_cpp, spec)))
        return
    model_params = llama_cpp.llama_model_default_params()
    model_params.n_gpu_layers = 0
    model_params.vocab_only = "text" in spec
    model = llama_cpp.llama_model_load_from_file(spec["gguf"].encode(), model_params)
    if not model:
        raise SystemExit(f"llama.cpp cannot load {spec['gguf']}")
    vocab = llama_cpp.llama_model_get_vocab(model)
    if "text" in spec:
        print(json.dumps(_tokenize(llama_cpp, vocab, spec["text"].encode())))
        return
    n_vocab = llama_cpp.llama_vocab_n_tokens(vocab)
    longest = max(len(window) for window in spec["windows"])
    params = llama_cpp.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = longest
    params.n_threads = params.n_threads_batch = 1
    types = [getattr(llama_cpp, f"GGML_TYPE_{spec[key].upper()}") for key in ("keys", "values")]
    params.type_k, params.type_v = types
    params.flash_attn_type = int(types != [llama_cpp.GGML_TYPE_F32] * 2)
    context = llama_cpp.llama_init_from_model(model, params)
    if not context:
        raise SystemExit("llama.cpp cannot make a context")
    arrays = [_decode(llama_cpp, context, window, n_vocab) for window in spec["windows"]]
    np.savez(spec["result"], *arrays)


def _need_imatrix(llama_cpp: Any, gguf: str, types: dict[str, int]) -> list[str]:
    log: list[bytes] = []

    @llama_cpp.llama_log_callback
    def on_log(level: int, text: bytes, user_data: Any) -> None:
        log.append(text)

    llama_cpp.llama_log_set(on_log, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.dry_run = True
    found = []
    for name, number in types.items():
        log.clear()
        params.ftype = number
        if llama_cpp.llama_model_quantize(gguf.encode(), b"unused", ctypes.byref(params)) != 0:
            raise SystemExit(f"{name}: {b''.join(log[-5:])!r}")
        if b"will require an imatrix" in b"".join(log):
            found.append(name)
    return found


def _token_ids(llama_cpp: Any, spec: dict[str, Any]) -> list[list[list[int]]]:
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    params.vocab_only = True
    found = []
    for gguf in spec["ggufs"]:
        model = llama_cpp.llama_model_load_from_file(gguf.encode(), params)
        if not model:
            raise SystemExit(f"llama.cpp cannot load {gguf}")
        vocab = llama_cpp.llama_model_get_vocab(model)
        rules = spec["special"], spec["parse_special"]
        found.append([_tokenize(llama_cpp, vocab, text.encode(), *rules) for text in spec["texts"]])
        llama_cpp.llama_model_free(model)
    return found


def _tokenize(
    llama_cpp: Any, vocab: Any, text: bytes, special: bool = True, parse_special: bool = False
) -> list[int]:
    ids = (llama_cpp.llama_token * (len(text) + 3))()
    count = llama_cpp.llama_tokenize(vocab, text, len(text), ids, len(ids), special, parse_special)
    if count < 0:
        raise SystemExit(f"llama_tokenize returned {count}")
    return list(ids[:count])


def _decode(llama_cpp: Any, context: Any, ids: list[int], n_vocab: int) -> NDArray[np.float32]:
    llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(context), True)
    batch = llama_cpp.llama_batch_init(len(ids), 0, 1)
    batch.n_tokens = len(ids)
    for position, token in enumerate(ids):
        batch.token[position] = token
        batch.pos[position] = position
        batch.n_seq_id[position] = 1
        batch.seq_id[position][0] = 0
        batch.logits[position] = True
    status = llama_cpp.llama_decode(context, batch)
    llama_cpp.llama_batch_free(batch)
    if status != 0:
        raise SystemExit(f"llama_decode returned {status}")
    pointer = ctypes.cast(
        llama_cpp.llama_get_logits(context), ctypes.POINTER(ctypes.c_float * (len(ids) * n_vocab))
    )
    # Copied: the next decode overwrites the buffer.
    return np.frombuffer(pointer.contents, np.float32).reshape(len(ids), n_vocab).copy()


if __name__ == "__main__":
    _main(json.load(sys.stdin))
    sys.stdout.flush()
    # The library's teardown decides nothing any more.
    os._exit(0)
