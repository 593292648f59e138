"""A campaign of commands at the same time in the same places; prints how many were tried, clean and
at fault.

The long form, some minutes: ``make campaign``, or

    PYTHONPATH=src:tests python -m campaigns.two_writers [--times N] [--seed N] [--only TEXT] [-v]

The short form is in `campaigns.parts`. Two or three processes begin the same run in one
directory, share a cache and make the same variant, begin different runs in one directory, quantize
to one place; and others read, report and check what one is writing. Each waits, shares, or refuses
with an error of the usual form.

Oracle: runs that were alone. Records, manifest, comparison and variant are compared byte for byte.
A fault is besides: an internal error, a temporary file, a lock that is held, a process that lives
on.
"""

from __future__ import annotations

import argparse
import random
import re
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from campaigns.forks import Bounds, Outcome, fault_of
from campaigns.runs import (
    COMPARE,
    SHORT,
    Command,
    Place,
    command,
    differences,
    prepare,
    results_of,
    scratch,
)
from campaigns.watching import end_all, held_locks

__all__ = ["Trial", "run_campaign"]

_SECONDS = 240.0  # several runs at once, each a few seconds
_QUANTIZE = ("quantize", "./model", "out.gguf", "--recipe", "gguf-q8_0", "-q")
_READING = (
    ("report", "run", "--format", "json", "--out", "read.json"),
    ("report", "run"),
    ("check", "run", "--max-kld", "100"),
    ("card", "run"),
)
# What a command says that leaves the place to another.
_REFUSALS = re.compile(
    r"another process is writing|holds a result with|is not empty|not a finished run|"
    r"another process has replaced|cannot read run/comparison.json: No such file|"
    r"cannot write .*out.gguf|no comparison"
)


def with_less(words: tuple[str, ...]) -> tuple[str, ...]:
    """A run with fewer tasks than this one."""
    at = words.index("--tasks") + 1
    return (*words[:at], "./options.yaml", *words[at + 1 :])


@dataclass(frozen=True)
class Ended:
    """How a command ended: its words, status and what it wrote."""

    words: tuple[str, ...]
    status: int
    out: str
    err: str

    @property
    def fault(self) -> str:
        """What is wrong with it by itself: it is done, or it says why not in the usual form."""
        fault = fault_of(Outcome(self.status, 0.0, 0, self.out, self.err), Bounds())
        if not fault and self.status == 1 and not _REFUSALS.search(self.err):
            fault = f"fails for another reason: {self.err[-300:]!r}"
        return f"{self.words[0]}: {fault}" if fault else ""


@dataclass(frozen=True)
class Alone:
    """What runs come to that nobody disturbs: the usual one, and the one with less; and a cache
    with the variant.
    """

    words: tuple[str, ...]
    usual: dict[str, bytes]
    other: dict[str, bytes]
    cache: Path


Check = Callable[[Place, Sequence[Ended], Alone], str]


@dataclass(frozen=True)
class Trial:
    """Commands that run at once.

    Attributes:
        name: its kind, a colon, and what is particular.
        commands: their words, and seconds after which each begins.
        check: what is wrong in the end.
        shared: each in a directory of its own, with one cache.
        before: commands that run first, one after the other.
        again: readers begin again until the first command has ended.
        made: whether the variant is in the cache already.
    """

    name: str
    commands: tuple[tuple[tuple[str, ...], float], ...]
    check: Check
    shared: bool = False
    before: tuple[tuple[str, ...], ...] = ()
    again: tuple[tuple[str, ...], ...] = ()
    made: bool = True


def trials(words: tuple[str, ...], times: int, seed: int, seconds: float) -> list[Trial]:
    """So many of each kind, six with different commands."""
    dice = random.Random(seed)

    less = with_less(words)

    def begun(words: tuple[str, ...], count: int) -> tuple[tuple[tuple[str, ...], float], ...]:
        # At once, or while the first does its work.
        most = dice.choice((0.0, 0.1, 0.9 * seconds, 1.2 * seconds))
        return tuple((words, dice.uniform(0.0, most) if n else 0.0) for n in range(count))

    found = []
    for number in range(times):
        count, reader = 2 + number % 2, _READING[number % len(_READING)]
        others = dice.sample([words, less], 2)
        found += [
            Trial(f"one directory: {count} runs, no. {number}", begun(words, count), _one_result),
            Trial(f"one cache: {count} runs, no. {number}", begun(words, count), _all_results,
                  shared=True, made=False),
            Trial(f"different runs: no. {number}",
                  ((others[0], 0.0), (others[1], dice.choice((0.0, 0.3, seconds)))), _either),
            Trial(f"read while written: {reader[0]}, no. {number}", ((words, 0.0),), _one_result,
                  again=(reader,)),
            Trial(f"read while replaced: {reader[0]}, no. {number}", ((words, 0.0),), _either,
                  before=(less,), again=(reader, ("check", "run", "--max-kld", "100"))),
            Trial(f"one file: {count} quantizers, no. {number}", begun(_QUANTIZE, count), _one_file,
                  made=False),
        ]  # fmt: skip
    return found


# What they come to ------------------------------------------------------------------------


def _one_result(place: Place, ended: Sequence[Ended], alone: Alone) -> str:
    if not any(one.words == alone.words and one.status == 0 for one in ended):
        return "no run has ended well"
    return differences(_of_run(results_of(place)), alone.usual)


def _all_results(place: Place, ended: Sequence[Ended], alone: Alone) -> str:
    if any(one.status for one in ended):
        return f"runs ended with {[one.status for one in ended]}"
    return differences(_of_run(results_of(place)), alone.usual)


def _either(place: Place, ended: Sequence[Ended], alone: Alone) -> str:
    if all(one.status for one in ended):
        return "no run has ended well"
    found = _of_run(results_of(place))
    last = "run/comparison.json", "run/manifest.json"
    for whole in (alone.usual, alone.other):
        if all(found.get(name) == whole[name] for name in last):
            # The other's records may be there besides.
            return differences({name: found[name] for name in found if name in whole}, whole)
    return "the result is that of neither run alone"


def _one_file(place: Place, ended: Sequence[Ended], alone: Alone) -> str:
    if all(one.status for one in ended):
        return "no quantizer has ended well"
    (right,) = (content for name, content in alone.usual.items() if name.endswith(".gguf"))
    made = place.folder / "out.gguf"
    return "" if made.is_file() and made.read_bytes() == right else "the file is not right"


def _of_run(found: dict[str, bytes]) -> dict[str, bytes]:
    """Without the page, which `report` writes."""
    return {name: content for name, content in found.items() if not name.endswith(".html")}


# Running them -----------------------------------------------------------------------------


def run_trial(trial: Trial, folder: Path, models: Path, alone: Alone) -> str:
    """Run its commands; returns what is wrong, nothing where nothing is."""
    places = [Place.make(folder / "0", models, made=alone.cache if trial.made else None)]
    for number in range(1, len(trial.commands) if trial.shared else 1):
        places.append(Place.make(folder / str(number), models, cache=places[0].folder / "cache"))
    for words in trial.before:
        with command(words, places[0]) as first:
            if first.wait():
                return f"before: {first.read()[1][-300:]}"
    try:
        ended = _at_once(trial, places)
    except TimeoutError as error:
        return str(error)
    for one in ended:
        if one.fault:
            return one.fault
    if left := end_all(within=15.0):
        return f"left running: {'; '.join(words[:90] for words in left.values())}"
    for place in places:
        wrong = trial.check(place, ended, alone)
        if wrong:
            return f"{wrong} ({[one.status for one in ended]})"
        if held := held_locks(place.folder):
            return f"locks are held: {', '.join(held)}"
        if files := place.leftovers():
            return f"left {', '.join(files[:4])}"
    return ""


def _at_once(trial: Trial, places: Sequence[Place]) -> list[Ended]:
    until = time.monotonic() + _SECONDS
    began = time.monotonic()
    waiting = sorted(trial.commands, key=lambda one: one[1])
    ended: list[Ended] = []
    with ExitStack() as stack:
        stack.callback(_forget_all, running := [])
        while waiting or any(not one.ended() for _, one in running):
            while waiting and time.monotonic() - began >= waiting[0][1]:
                words, _ = waiting.pop(0)
                place = places[len(running) % len(places)]
                running.append((words, Command(words, place)))
            for words in trial.again if not waiting else ():
                with command(words, places[0]) as reader:
                    ended.append(Ended(words, _wait(reader, until), *reader.read()))
            if time.monotonic() > until:
                raise TimeoutError(f"it ran on for {_SECONDS:.0f} s")
            time.sleep(0.005)
        ended += [Ended(words, one.wait(), *one.read()) for words, one in running]
    return ended


def _wait(started: Command, until: float) -> int:
    while not started.ended():
        if time.monotonic() > until:
            raise TimeoutError(f"it ran on for {_SECONDS:.0f} s")
        time.sleep(0.005)
    return started.wait()


def _forget_all(running: list[tuple[tuple[str, ...], Command]]) -> None:
    for _, one in running:
        if not one.ended():
            one.signal(signal.SIGKILL)
            one.wait()
        one.forget()


def _run_alone(words: Sequence[str], place: Place) -> dict[str, bytes]:
    with command(words, place) as running:
        if running.wait():
            raise RuntimeError(running.read()[1][-2000:])
    return results_of(place)


def run_campaign(
    times: int,
    seed: int,
    folder: Path,
    *,
    words: tuple[str, ...] = COMPARE,
    only: str = "",
    verbose: bool = False,
) -> tuple[list[Trial], list[str]]:
    """Try all kinds so many times; returns the trials, and what was wrong, by line."""
    models = prepare(folder)
    first = Place.make(folder / "usual", models)
    usual = _run_alone(words, first)
    cache = first.folder / "cache"
    began = time.monotonic()
    other = _run_alone(with_less(words), Place.make(folder / "other", models, made=cache))
    seconds = time.monotonic() - began
    alone = Alone(words, usual, other, cache)
    tried = [trial for trial in trials(words, times, seed, seconds) if only in trial.name]
    return tried, list(_faults(tried, folder, models, alone, verbose))


def _faults(
    tried: Sequence[Trial], folder: Path, models: Path, alone: Alone, verbose: bool
) -> Iterator[str]:
    for number, trial in enumerate(tried):
        place = folder / f"trial{number}"
        fault = run_trial(trial, place, models, alone)
        if fault:
            yield f"{trial.name}: {fault}"
        if verbose:
            print(f"{trial.name} {fault or 'clean'}", flush=True)
        Place(place).remove()


def main() -> int:
    """Run all of it; the exit status says whether there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=8, help="six trials for each of it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="no variant is made by runs")
    parser.add_argument("--only", default="", help="names with this text in them")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    with scratch() as folder:
        tried, faults = run_campaign(
            arguments.times, arguments.seed, folder, words=SHORT if arguments.short else COMPARE,
            only=arguments.only, verbose=arguments.verbose,
        )  # fmt: skip
    kinds = Counter(trial.name.partition(":")[0] for trial in tried)
    wrong = Counter(fault.partition(":")[0] for fault in faults)
    print(*faults, sep="\n")
    print(*(f"{n} {kind} ({wrong[kind]} faults)" for kind, n in kinds.items()), sep=", ")
    print(f"tried {len(tried)}, clean {len(tried) - len(faults)}, faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
