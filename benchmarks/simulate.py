"""What simulated caches and activations cost, beside a plain dense pass of the same model.

    python benchmarks/simulate.py MODEL [--precision fp32] [--rounds 5] [--windows 2] [--length 1024]

Prints, for every type, the time of the body's forward over the same windows as a ratio to the plain
one's: medians over rounds in which the plain pass and all types take turns, with the range of the
rounds' own ratios. The target is 1.3. Weights are loaded once for each type in each round, outside
of what is timed. Types that the model's sizes do not fit are left out and named.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path

import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import reuse_freed_memory
from bitloss.engines.dense.precision import as_precision
from bitloss.errors import BitlossError
from bitloss.formats import open_checkpoint
from bitloss.spec.serving import Serving, parse_serving

CACHES = ("f16", "fp8", "fp8-head", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "int8-g64",
          "int4-g32")  # fmt: skip
ACTIVATIONS = ("int8", "int8-tensor", "int8-block64", "fp8", "fp8-block64", "nvfp4", "mxfp8",
               "mxfp4")  # fmt: skip
BOTH = (("q8_0", "int8"), ("fp8", "fp8"))


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    checkpoint = open_checkpoint(arguments.model)
    graph = ModelGraph(
        dict(checkpoint.config), precision=as_precision(arguments.precision), device="cpu"
    )
    graph.load(checkpoint)
    torch.manual_seed(0)
    rows = graph.body.get_input_embeddings().weight.shape[0]
    ids = torch.randint(3, rows, (arguments.windows, arguments.length))
    servings = [parse_serving(cache, inputs) for cache, inputs in _types()]
    times = _measure(graph, checkpoint, servings, ids, arguments.rounds)
    plain = times[Serving()]
    print(f"plain: {statistics.median(plain):.2f} s for {ids.numel()} tokens")
    print("| served with | ratio | rounds' ratios |\n|---|---:|---:|")
    for serving in servings:
        found = times.get(serving)
        if found is not None:
            ratios = [one / other for one, other in zip(found, plain, strict=True)]
            ratio = statistics.median(found) / statistics.median(plain)
            print(f"| {serving.label} | {ratio:.2f} | {min(ratios):.2f}-{max(ratios):.2f} |")


def _types() -> list[tuple[str, str]]:
    caches = [(cache, "") for cache in CACHES]
    return [*caches, *(("", inputs) for inputs in ACTIVATIONS), *BOTH]


def _measure(
    graph: ModelGraph,
    checkpoint: object,
    servings: list[Serving],
    ids: torch.Tensor,
    rounds: int,
) -> dict[Serving, list[float]]:
    """Seconds of each round; the first one warms up and is not counted."""
    times: dict[Serving, list[float]] = {}
    for count in range(rounds + 1):
        for serving in (Serving(), *servings):
            if count and serving not in times:
                continue
            try:
                graph.load(checkpoint, serving=serving)  # type: ignore[arg-type]
            except BitlossError as error:
                print(f"left out: {serving.label}: {error.message}")
                continue
            began = time.perf_counter()
            graph.hidden(ids)
            seconds = time.perf_counter() - began
            times.setdefault(serving, [])
            if count:
                times[serving].append(seconds)
    return times


if __name__ == "__main__":
    main()
