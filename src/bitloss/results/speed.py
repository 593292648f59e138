"""What a model takes to be run: tokens per second beside the reference, memory, time to load."""

from __future__ import annotations

from typing import Annotated

from bitloss.results.values import OMIT_NULL, Estimate, Failure, Frozen

__all__ = ["COLUMN", "Footprint", "ModelSpeed", "SpeedRate", "Workload"]


COLUMN = "speed"
"""Of a run's record: one `ModelSpeed` as JSON."""


class Workload(Frozen):
    """What was timed.

    Attributes:
        prompt: tokens of the prompt that is read.
        new_tokens: tokens written after it, at least 1.
        sequences: texts written side by side.
        rounds: turns of reference and variant, at least 2, after one that does not count.
        context: tokens of context that memory is stated for.
    """

    prompt: int = 256
    new_tokens: int = 16
    sequences: int = 1
    rounds: int = 5
    context: int = 8192


class SpeedRate(Frozen):
    """Tokens per second, in turns with the reference.

    Attributes:
        tokens_per_second: median over the rounds.
        reference: the reference's, in the same rounds.
        ratio: variant over reference, above 1 the variant is faster: the geometric mean of the
            rounds' ratios with its 95% interval (Student's t of their logarithms).
    """

    tokens_per_second: float
    reference: float
    ratio: Estimate


class Footprint(Frozen):
    """What it takes to hold a model, in its own process and in those below it.

    Attributes:
        load_seconds: from the start of loading to the first answer, the import of its library
            included if it is the first of a process; files may have been in the system's cache.
        resident_bytes: at the peak of loading and of the first forward, over what was there before.
        device_bytes: the same on the CUDA device; 0 without one.
    """

    load_seconds: float
    resident_bytes: int
    device_bytes: int


class ModelSpeed(Frozen):
    """A model as it was run on the machine of the run.

    Attributes:
        work: what was timed.
        prefill: of reading a prompt; absent if the engine gives no logits.
        decode: of writing; absent if the engine cannot write.
        footprint: the model's.
        reference: the reference's, run by its own engine.
        cache_bytes: of keys and values for one token of context, in the types of the cache; null if
            the config does not say how large they are.
        beside_bytes: memory beside the file that running it takes with a context of `work.context`
            tokens, by arithmetic: keys and values, of layers with a sliding window no more than
            they keep, buffers, and the tokenizer; absent if the config does not say enough.
        made_in: seconds that making the variant took, on the machine where it was made; null for
            files that were found.
        error: why nothing was measured; absent otherwise.
    """

    work: Workload
    prefill: Annotated[SpeedRate | None, OMIT_NULL] = None
    decode: Annotated[SpeedRate | None, OMIT_NULL] = None
    footprint: Annotated[Footprint | None, OMIT_NULL] = None
    reference: Annotated[Footprint | None, OMIT_NULL] = None
    cache_bytes: int | None = None
    beside_bytes: Annotated[int | None, OMIT_NULL] = None
    made_in: float | None = None
    error: Annotated[Failure | None, OMIT_NULL] = None
