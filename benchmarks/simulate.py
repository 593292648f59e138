"""What simulated caches and activations cost, beside a plain dense pass of the same model.

    python benchmarks/simulate.py MODEL [--precision fp32] [--rounds 7] [--windows 1] [--cpu]

Prints, for every type, the time of the body's forward over the same windows as a ratio to the plain
one's: medians over rounds in which plain and served passes take turns, and the range of the rounds'
own ratios. The target is 1.3. ``--cpu`` takes the process's processor time, which a busy machine
lengthens less than the clock's. Types that the model's sizes do not fit are left out and named.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.memory import reuse_freed_memory
from bitloss.engines.dense.precision import as_precision
from bitloss.errors import BitlossError
from bitloss.formats import open_checkpoint
from bitloss.spec.serving import parse_serving

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
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--windows", type=int, default=1)
    parser.add_argument("--length", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu", action="store_true")
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
    clock = time.process_time if arguments.cpu else time.perf_counter
    graph.hidden(ids)
    print("| served with | plain, s | ratio | rounds' ratios |\n|---|---:|---:|---:|", flush=True)
    for serving in (parse_serving(cache, inputs) for cache, inputs in _types()):
        try:
            graph.load(checkpoint, serving=serving)
        except BitlossError as error:
            print(f"| {serving.label} | left out: {error.message} |")
            continue
        plain, served = _rounds(graph, ids, arguments.rounds, clock)
        ratios = [one / other for one, other in zip(served, plain, strict=True)]
        middle = statistics.median(plain)
        print(
            f"| {serving.label} | {middle:.2f} | {statistics.median(served) / middle:.2f} "
            f"| {min(ratios):.2f}-{max(ratios):.2f} |",
            flush=True,
        )


def _rounds(
    graph: ModelGraph, ids: torch.Tensor, rounds: int, clock: Callable[[], float]
) -> tuple[list[float], list[float]]:
    """Seconds of plain and served passes, in turn; the first round is not counted."""
    plain, served = [], []
    for _ in range(rounds + 1):
        began = clock()
        with graph.simulation.off():
            graph.hidden(ids)
        between = clock()
        graph.hidden(ids)
        plain.append(between - began)
        served.append(clock() - between)
    return plain[1:], served[1:]


def _types() -> list[tuple[str, str]]:
    caches = [(cache, "") for cache in CACHES]
    return [*caches, *(("", inputs) for inputs in ACTIVATIONS), *BOTH]


if __name__ == "__main__":
    main()
