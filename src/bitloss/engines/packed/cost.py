"""What work takes with packed kernels: the dense engine's time, and how much slower they are."""

from __future__ import annotations

import sys
from dataclasses import replace

from bitloss.engines.dense.cost import estimate as dense
from bitloss.engines.values import Cost, Work
from bitloss.formats.base import ModelIdentity

__all__ = ["TIMING", "estimate"]

# Speed beside the dense engine in the same arithmetic, docs/decisions/0021: GPTQ at 4 bits through
# the child. AWQ's kernels are slower by up to a third at reading.
_READS, _WRITES = 0.5, 0.16
# Seconds until a child has its libraries and a small model.
_STARTS = 15.0
# The libraries of the child, beside what the dense engine holds.
_LIBRARIES = 512 << 20

TIMING = (
    "times for packed kernels are a guess: the dense engine's divided by 0.5 for reading and by "
    "0.16 for writing, as measured with GPTQ at 4 bits on a CPU"
)


def estimate(
    work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
) -> Cost:
    """See `bitloss.engines.base.Engine.cost`."""

    def cost(part: Work) -> Cost:
        part = replace(part, memory=sys.maxsize)  # never read a layer at a time
        return dense(part, model, arithmetic=arithmetic, device=device, measure=measure)

    parts = (
        (replace(work, written=0, texts=0, longest=0, compared=0, variants=0), _READS),
        (Work(written=work.written, texts=work.texts, longest=work.longest), _WRITES),
        (Work(compared=work.compared, variants=work.variants), 1.0),
    )
    seconds = None
    if measure:
        seconds = _STARTS * bool(work.read or work.written)
        seconds += sum((cost(part).seconds or 0.0) / speed for part, speed in parts)
    whole = cost(work)
    return replace(whole, seconds=seconds, memory_bytes=whole.memory_bytes + _LIBRARIES)
