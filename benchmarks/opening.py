"""How long a checkpoint of many shards takes to open: headers of 200 files with 60,000 tensors.

    python benchmarks/opening.py

The files are made up: tensors of four numbers, under the names of a mixture of experts. Opening
reads headers only, so their sizes do not matter. The aim is 5 seconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

from bitloss.formats import open_checkpoint

LAYERS, EXPERTS, PARTS = 60, 334, ("gate", "up", "down")


def write(folder: Path, shards: int, tensors: int) -> None:
    """A directory as transformers saves it."""
    names = [
        f"model.layers.{layer}.mlp.experts.{expert}.{part}_proj.weight"
        for layer in range(LAYERS)
        for expert in range(EXPERTS)
        for part in PARTS
    ][:tensors]
    weight_map = {}
    for shard in range(shards):
        file = folder / f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        header, size = {}, 0
        for name in names[shard::shards]:
            header[name] = {"dtype": "BF16", "shape": [2, 2], "data_offsets": [size, size + 8]}
            weight_map[name] = file.name
            size += 8
        text = json.dumps(header).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + bytes(size))
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    config = {"model_type": "mixtral", "architectures": ["MixtralForCausalLM"]}
    (folder / "config.json").write_text(json.dumps(config))


def main() -> None:
    """Print the median of some openings."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--shards", type=int, default=200)
    parser.add_argument("--tensors", type=int, default=60_000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write(folder, options.shards, options.tensors)
        taken = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            names = open_checkpoint(folder).names()
            taken.append(time.perf_counter() - start)
    print(f"{len(names):,} tensors in {options.shards} files: {statistics.median(taken):.2f} s")


if __name__ == "__main__":
    main()
