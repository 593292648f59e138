"""Simulated caches beside llama.cpp's own, and how much of a difference is rounding that grew.

    python benchmarks/simulate_oracle.py MODEL TEXT [--tokens 400] [--types f16,q8_0,q4_0,int8]

For each type, mean KL divergences over the text's first tokens: what the model loses in either
runtime (from its own plain logits), and between both, where llama.cpp's rounding of queries is
added to the simulation. Beside it stands what the same simulation, with queries rounded for blocks,
differs from itself when the outputs of its linear layers are nudged by 2e-7, as by another order
of additions: numbers between two codes go to the other one, and every layer makes more of them.
The model is written as an F32 GGUF file, and llama.cpp runs in a process of its own. Types of
activations have no column of llama.cpp's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.engines.dense.simulation import cache
from bitloss.engines.dense.simulation.blocks import BLOCK_TYPES, store_blocks
from bitloss.engines.dense.simulation.cache_types import _turn
from bitloss.formats import open_checkpoint
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from bitloss.spec.serving import CACHE_TYPES, Serving, parse_serving

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from peers import llama_cpp

NUDGE = 2e-7


class Simulated:
    """A model in the dense engine, on one sequence."""

    def __init__(self, path: Path, ids: list[int]) -> None:
        self._checkpoint = open_checkpoint(path)
        config = dict(self._checkpoint.config)
        self._graph = ModelGraph(config, precision="fp32", device="cpu")
        self._head = load_head(self._checkpoint, precision="fp32", device="cpu")
        self._ids = torch.tensor([ids])
        heads = config["num_attention_heads"]
        self._size = config.get("head_dim") or config["hidden_size"] // heads
        self._pairs = cache.keys_in_pairs(config["model_type"])

    def logits(self, serving: Serving, *, nudged: bool = False) -> torch.Tensor:
        """Of every position."""
        self._graph.load(self._checkpoint, serving=serving)
        torch.manual_seed(0)
        handles = [
            module.register_forward_hook(
                lambda m, i, out: out * (1 + NUDGE * torch.randn_like(out))
            )
            for module in self._graph.body.modules()
            if nudged and isinstance(module, torch.nn.Linear)
        ]
        states = self._graph.hidden(self._ids)[0]
        for handle in handles:
            handle.remove()
        return self._head.logits(states, 0, self._head.vocabulary)

    def with_queries_rounded(self, serving: Serving, *, nudged: bool = False) -> torch.Tensor:
        """As llama.cpp's CPU kernel, which stores queries as q8_0."""
        original = cache._function
        turn = _turn(self._size, self._pairs, 1 << 30, torch.device("cpu"))

        def function(base: str, module: Any) -> Any:
            def attention(module: Any, query: torch.Tensor, *args: Any, **options: Any) -> Any:
                turned = store_blocks("q8_0", query if turn is None else query @ turn)
                query = turned if turn is None else turned @ turn.T
                return original(base, module)(module, query, *args, **options)

            return attention

        cache._function = function
        try:
            return self.logits(serving, nudged=nudged)
        finally:
            cache._function = original


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("text", type=Path)
    parser.add_argument("--tokens", type=int, default=400)
    parser.add_argument("--types", default="f16,q8_0,q4_0,int8")
    arguments = parser.parse_args()
    text = arguments.text.read_text(encoding="utf-8")[: 20 * arguments.tokens]
    ids = load_tokenizer(arguments.model).encode(text, special=False)[: arguments.tokens].tolist()
    with tempfile.TemporaryDirectory() as folder:
        gguf = _write_f32(arguments.model, Path(folder))
        model = Simulated(Path(folder) / "f32", ids)
        plain, theirs = model.logits(Serving()), _llama_cpp(gguf, ids, "f32")
        print(f"plain: {_divergence(theirs, plain):.2g} between both")
        print("| type | llama.cpp loses | simulated loses | between | nudged |")
        print("|---|---:|---:|---:|---:|")
        for name in arguments.types.split(","):
            is_cache = name in CACHE_TYPES
            serving = parse_serving(name) if is_cache else parse_serving("", name)
            stored = model.logits(serving)
            row = ["", f"{_divergence(plain, stored):.3g}", ""]
            run_as = model.with_queries_rounded if name in BLOCK_TYPES else model.logits
            alike = run_as(serving)
            if is_cache and not name.startswith("fp8"):
                run = _llama_cpp(gguf, ids, name)
                row[0], row[2] = (f"{_divergence(*p):.3g}" for p in ((theirs, run), (run, alike)))
            noise = _divergence(alike, run_as(serving, nudged=True))
            print(f"| {name} | {' | '.join(row)} | {noise:.3g} |", flush=True)


def _write_f32(model: Path, folder: Path) -> Path:
    """The model in float32 under ``folder/f32``, and as a GGUF file, which is returned."""
    checkpoint = open_checkpoint(model)
    (folder / "f32").mkdir()
    tensors = {name: checkpoint.read(name).float().contiguous() for name in checkpoint.names()}
    save_file(tensors, folder / "f32/model.safetensors", {"format": "pt"})
    config = {**checkpoint.config, "dtype": "float32", "torch_dtype": "float32"}
    (folder / "f32/config.json").write_text(json.dumps(config))
    for file in model.glob("*token*"):
        shutil.copy(file, folder / "f32")
    write_gguf(open_source(folder / "f32"), folder / "model.gguf")
    return folder / "model.gguf"


def _llama_cpp(gguf: Path, ids: list[int], kind: str) -> torch.Tensor:
    return torch.from_numpy(llama_cpp.logits(gguf, [ids], keys=kind, values=kind)[0])


def _divergence(reference: torch.Tensor, other: torch.Tensor) -> float:
    p, q = (part.double().log_softmax(-1) for part in (reference, other))
    return float((p.exp() * (p - q)).sum(-1).mean())


if __name__ == "__main__":
    main()
