"""What a study of parts saves: each kind and each layer of the bundled model, alone and restored.

    python benchmarks/sensitivity.py [--recipe gguf-q4_k_m] [--corpus pocket-calibration-mixed]

Prints the processor time of the study (prefix states kept, scoring stopped once the ranking is
decided) beside that of scoring the same hybrids in full on the whole text, which is timed on a few
forwards and multiplied up.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from bitloss.engines.dense.batches import batches
from bitloss.engines.dense.swaps.parts import Places, divide
from bitloss.engines.dense.swaps.scorer import Swap, SwapScorer
from bitloss.studies.sensitivity import sensitivity
from bitloss.studies.sensitivity.run import DEFAULT_PARTS
from bitloss.studies.sensitivity.setup import differing, prepare_parts
from bitloss.types import SilentProgress


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", default="pocket")
    options.add_argument("--recipe", default="gguf-q4_k_m")
    options.add_argument("--corpus", default="pocket-calibration-mixed")
    options.add_argument("--forwards", type=int, default=2, help="timed of the whole text")
    given = options.parse_args()
    full, scorer_full = time_full(given, reuse=False)
    kept, _ = time_full(given, reuse=True)
    with tempfile.TemporaryDirectory() as folder:
        began, wall = time.process_time(), time.monotonic()
        result = sensitivity(given.model, [given.recipe], corpora=[given.corpus], out=Path(folder))
        took, wall = time.process_time() - began, time.monotonic() - wall
    print(
        f"{result.work.swaps} hybrids of {given.model} and {given.recipe}, {scorer_full} forwards"
    )
    print(f"every hybrid in full, whole text:   {full:7.1f} s of processor time (extrapolated)")
    print(f"prefix states kept, whole text:     {kept:7.1f} s ({kept / full:.0%})")
    print(
        f"and stopped when decided: the study {took:7.1f} s ({took / full:.0%}), {wall:.0f} s wall"
    )
    print(f"by its own count of products:       {result.work.share_of_full:.0%}")


def time_full(given: argparse.Namespace, *, reuse: bool) -> tuple[float, int]:
    """Processor time of all hybrids on the whole text, and forwards of it."""
    progress = SilentProgress()
    ready = prepare_parts(given.model, [given.recipe], given.corpus, {}, progress)
    weights = ready.weights_of(ready.open(given.recipe, progress))
    scorer = SwapScorer(ready.reference.model, reuse=reuse)
    scorer.load("reference", ready.weights)
    scorer.load("variant", weights)
    places = Places(ready.weights, scorer.stack.path, len(scorer.stack), (weights,))
    changed = differing(ready.weights, weights)
    parts = [p for own in divide(places, DEFAULT_PARTS, changed).values() for p in own]
    swaps = [Swap("reference", "variant", part) for part in parts]
    swaps += [Swap("variant", "reference", part) for part in parts]
    swaps = list({swap.key: swap for swap in swaps}.values())
    forwards = list(batches(ready.windows, ready.spec.tokens_in_forward))
    scorer.score(forwards[0], 0, swaps[:1])  # warm
    began = time.process_time()
    for batch in forwards[: given.forwards]:
        scorer.score(batch, 0, swaps)
    took = time.process_time() - began
    return took / min(given.forwards, len(forwards)) * len(forwards), len(forwards)


if __name__ == "__main__":
    main()
