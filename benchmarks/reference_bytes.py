"""How large is the stored reference beside llama.cpp's logits file?

    python benchmarks/reference_bytes.py

Writes hidden states of Llama-3-8B's width for one chunk of the `llama.cpp` protocol through the
store, and counts what llama.cpp's `--kl-divergence-base` writes for the same chunk: for each scored
position 16 bits a token of the vocabulary and a scale and an offset of 32 bits (tools/perplexity,
`log_softmax`: 2 * ((n_vocab + 1) / 2) + 4 values of 16 bits).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import torch

from bitloss.runner import RunStore

VOCABULARY, WIDTH = 128_256, 4_096
SCORED = 255
CHUNKS = 20


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        store.write_states("chunk", torch.zeros(CHUNKS * SCORED, WIDTH, dtype=torch.bfloat16))
        ours = sum(path.stat().st_size for path in (Path(folder) / "states").iterdir())
    theirs = CHUNKS * SCORED * 2 * (2 * ((VOCABULARY + 1) // 2) + 4)
    print(f"bitloss, hidden states in bf16    {ours / CHUNKS / SCORED:10.0f} bytes a position")
    print(f"llama.cpp, logits                 {theirs / CHUNKS / SCORED:10.0f} bytes a position")
    print(f"llama.cpp / bitloss               {theirs / ours:10.1f}")


if __name__ == "__main__":
    main()
