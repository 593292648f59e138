"""How fast a model is beside its reference, and what it takes to hold it.

Clocks, other programs and temperature change a machine's speed by more than most kernels differ. So
reference and candidate are measured in turns, and what is compared is each round's ratio: what
lasts longer than a round moves both. Models are loaded one after the other, each phase with two of
them in memory.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Protocol

import numpy as np

from bitloss.engines.base import LogitsModel, TextModel
from bitloss.engines.evaluate import load_engine
from bitloss.engines.values import Candidate, TextSetup
from bitloss.errors import NumericalError, UnsupportedModel
from bitloss.metrics.intervals import Interval
from bitloss.metrics.student import student_quantile
from bitloss.requests import Decoding, GenerateRequest
from bitloss.results.speed import Footprint, SpeedRate, Workload
from bitloss.results.values import Estimate
from bitloss.types import IntArray, Window

__all__ = ["Speed", "measure_speed", "paired_ratio"]

_LEVEL = 0.95
# Seconds between two looks at how much memory there is.
_PERIOD = 0.01


@dataclass(frozen=True, slots=True)
class Speed:
    """A candidate beside its reference.

    Attributes:
        prefill: tokens of a prompt read per second; None if an engine gives no logits.
        decode: tokens written per second, all texts together; None if an engine cannot write.
        candidate: what it takes.
        reference: what the reference takes.
    """

    prefill: SpeedRate | None
    decode: SpeedRate | None
    candidate: Footprint
    reference: Footprint


def measure_speed(
    reference: Candidate,
    candidate: Candidate,
    setup: TextSetup,
    work: Workload,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Speed:
    """Time both, each run by its own engine.

    Reading is timed through the logits of a window's last token, writing as what a text of
    ``new_tokens + 1`` tokens takes beyond one of a single token.

    Args:
        reference: the reference and how it is run.
        candidate: the candidate and how it is run.
        setup: what text models are given; tokens that end a text are ignored.
        work: what is timed.
        clock: seconds.

    Raises:
        NumericalError: a text is too short to be timed on this machine.
        UnsupportedModel: an engine can neither score nor write, or cannot run its model.
        BitlossError: whatever else is wrong with a model.
    """
    pair = (reference, candidate)
    engines = [load_engine(one.engine) for one in pair]
    endless = replace(setup, eos_ids=())
    window = _window(work, pair)
    prefill = decode = feet = None
    if all(engine.logits is not None for engine in engines):
        make: Callable[[Candidate], _Timed] = partial(_Reader, window=window, setup=setup)
        prefill, feet = _in_turns(pair, make, work.prompt, work.rounds, clock)
    if all(engine.text_model is not None for engine in engines):
        make = partial(_Writer, work=work, setup=endless)
        tokens = work.sequences * work.new_tokens
        decode, own = _in_turns(pair, make, tokens, work.rounds, clock)
        feet = feet or own
    if feet is None:
        names = " and ".join(f"`{engine.name}`" for engine in engines)
        raise UnsupportedModel(
            f"expected engines that both give logits or both write text, got {names}",
            hint="choose another --engine (`bitloss list engines`)",
        )
    return Speed(prefill, decode, candidate=feet[1], reference=feet[0])


def paired_ratio(candidate: Sequence[float], reference: Sequence[float]) -> Interval:
    """The ratio of two speeds measured in turns, from the seconds of each round.

    Args:
        candidate: seconds per round, shape ``[rounds]``.
        reference: seconds of the same rounds.

    Returns:
        Reference seconds over candidate seconds: above 1 the candidate is faster.
    """
    logs = np.log(np.asarray(reference, np.float64)) - np.log(np.asarray(candidate, np.float64))
    mean = float(logs.mean())
    if len(logs) < 2:
        return Interval(math.exp(mean), math.nan, math.nan)
    error = float(logs.std(ddof=1)) / math.sqrt(len(logs))
    half = student_quantile(_LEVEL, len(logs) - 1) * error
    return Interval(math.exp(mean), math.exp(mean - half), math.exp(mean + half))


# What is timed ----------------------------------------------------------------------------------


class _Timed(Protocol):
    def seconds(self, clock: Callable[[], float]) -> float:
        """Seconds of one turn."""


class _Reader:
    """A model that reads a window."""

    def __init__(self, candidate: Candidate, window: Window, setup: TextSetup) -> None:
        load = load_engine(candidate.engine).logits
        assert load is not None
        self._window = window
        self._model: LogitsModel = load(candidate, batch_tokens=setup.batch_tokens)
        self.seconds(time.perf_counter)

    def seconds(self, clock: Callable[[], float]) -> float:
        start = clock()
        for block in self._model.logits(self._window):
            float(block[-1, -1])  # a device has to be done
        return clock() - start


class _Writer:
    """A model that continues prompts; what a text takes beyond its first token."""

    def __init__(self, candidate: Candidate, work: Workload, setup: TextSetup) -> None:
        make = load_engine(candidate.engine).text_model
        assert make is not None
        self._model: TextModel = make(candidate, setup)
        vocabulary = candidate.model.identity.vocabulary
        self._prompts = [_ids(work.prompt, vocabulary, seed) for seed in range(work.sequences)]
        self._new_tokens = work.new_tokens
        self._write(1)

    def seconds(self, clock: Callable[[], float]) -> float:
        start = clock()
        self._write(1)
        middle = clock()
        self._write(1 + self._new_tokens)
        seconds = (clock() - middle) - (middle - start)
        if seconds <= 0:
            raise NumericalError(
                f"writing {1 + self._new_tokens} tokens took no longer than writing one",
                hint="use more new tokens, or a machine that is less busy",
            )
        return seconds

    def _write(self, tokens: int) -> None:
        decoding = Decoding(tokens)
        requests = [GenerateRequest(ids, decoding) for ids in self._prompts]
        for _ in self._model.generate(requests):
            pass


def _in_turns(
    pair: Sequence[Candidate],
    make: Callable[[Candidate], _Timed],
    tokens: int,
    rounds: int,
    clock: Callable[[], float],
) -> tuple[SpeedRate, list[Footprint]]:
    """Load both, time them in turns, and let go of them."""
    loaded, feet = [], []
    for one in pair:
        model, foot = _loaded(partial(make, one), clock)
        loaded.append(model)
        feet.append(foot)
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 1):
        # Each goes first every other time, so that neither always has the other's warm caches.
        for side in (0, 1) if turn % 2 else (1, 0):
            seconds = loaded[side].seconds(clock)
            if turn:
                times[side].append(seconds)
    del loaded, model
    for one in pair:
        load_engine(one.engine).release()
    reference, candidate = (tokens / statistics.median(side) for side in times)
    ratio = Estimate.of(paired_ratio(times[1], times[0]))
    return SpeedRate(tokens_per_second=candidate, reference=reference, ratio=ratio), feet


def _window(work: Workload, pair: Sequence[Candidate]) -> Window:
    vocabulary = min(one.model.identity.vocabulary for one in pair)
    return Window(_ids(work.prompt + 1, vocabulary, 0), work.prompt)


def _ids(count: int, vocabulary: int, seed: int) -> IntArray:
    return np.random.default_rng(seed).integers(0, vocabulary, count).astype(np.int32)


# What it takes ----------------------------------------------------------------------------------


def _loaded(make: Callable[[], _Timed], clock: Callable[[], float]) -> tuple[_Timed, Footprint]:
    """Make it, and say what that took."""
    with _device_peak() as device, _resident_peak() as resident:
        start = clock()
        made = make()
        seconds = clock() - start
    found = Footprint(load_seconds=seconds, resident_bytes=resident[0], device_bytes=device[0])
    return made, found


@contextmanager
def _resident_peak() -> Iterator[list[int]]:
    """What this process and those below it grew by, at the peak; looked at all the time."""
    import psutil

    own = psutil.Process()
    before = peak = _resident(own)
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(_PERIOD):
            peak = max(peak, _resident(own))

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    found = [0]
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found[0] = max(peak, _resident(own)) - before


def _resident(process: object) -> int:
    import psutil

    assert isinstance(process, psutil.Process)
    total = 0
    for one in (process, *process.children(recursive=True)):
        try:
            total += one.memory_info().rss
        except psutil.Error:
            continue  # it has just ended
    return total


@contextmanager
def _device_peak() -> Iterator[list[int]]:
    import torch

    found = [0]
    if not torch.cuda.is_available():
        yield found
        return
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    yield found
    torch.cuda.synchronize()
    found[0] = torch.cuda.max_memory_allocated() - before
