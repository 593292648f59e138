"""A campaign of kills; prints how many moments were tried, clean and at fault.

The long form, some minutes: ``make campaign``, or

    PYTHONPATH=src:tests python -m campaigns.kills [--moments N] [--seed N] [--only TEXT] [-v]

The short form is in `campaigns.parts`. A run of everything (a text, a task of each
kind, a variant that is made) is ended by SIGKILL, SIGTERM or SIGINT to its whole group: at moments
spread over its time, and at named events as they happen in its directories (a record is begun,
written, the manifest replaced, a variant half-made), a little later at times. Then the same command
is run to its end.

Oracle: a run that nobody disturbed. Its records, manifest, comparison and variant are compared byte
for byte (times in a variant's record aside). A fault is besides: a process that lives on, a lock
that is held, a temporary file, an end that is not said as an interruption is.
"""

from __future__ import annotations

import argparse
import random
import shutil
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
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
from campaigns.watching import Event, Watch, end_all, held_locks

__all__ = ["Moment", "Undisturbed", "run_campaign"]

_SECONDS = 120.0  # a run takes a few
_PATIENCE = 15.0  # for processes to notice that what started them is gone
_SIGNALS = (signal.SIGKILL, signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_ORDERLY = {signal.SIGINT: 130, signal.SIGTERM: 143}
_LATER = 0.08  # seconds, at most, after an event


@dataclass(frozen=True)
class Moment:
    """When a run is ended, and how.

    Attributes:
        number: the signal.
        event: of this kind; empty for a moment of time alone.
        count: the event's number of its kind, from 1.
        later: seconds after the event, or after the beginning.
        made: whether the variant is there already. Making it takes three times as long as the rest.
    """

    number: signal.Signals
    event: str
    count: int
    later: float
    made: bool

    @property
    def name(self) -> str:
        """What the campaign prints; its kind is before the colon."""
        kind = self.event or "time"
        count = f" no. {self.count}" if self.event else ""
        return f"{kind}:{count} {self.number.name} after {1000 * self.later:.0f} ms"


@dataclass(frozen=True)
class Undisturbed:
    """Runs to their end: what they came to, where; what happened, and how long it took, first with
    the variant to be made and then without.
    """

    words: tuple[str, ...]
    results: dict[str, bytes]
    place: Place
    events: tuple[tuple[Event, ...], tuple[Event, ...]]
    seconds: tuple[float, float]


def undisturbed(words: tuple[str, ...], models: Path, folder: Path) -> Undisturbed:
    """Run it, twice.

    Raises:
        RuntimeError: it fails, or leaves something unfinished, or comes to something else again.
    """
    first = Place.make(folder / "first", models)
    second = Place.make(folder / "second", models)
    events, seconds = _run_through(words, first)
    shutil.copytree(first.variants, second.variants, dirs_exist_ok=True)
    again, faster = _run_through(words, second)
    results = results_of(first)
    if wrong := differences(results_of(second), results):
        raise RuntimeError(f"the same run again: {wrong}")
    return Undisturbed(words, results, first, (events, again), (seconds, faster))


def _run_through(words: tuple[str, ...], place: Place) -> tuple[tuple[Event, ...], float]:
    events: list[Event] = []
    with Watch(place.watched()) as watch:
        began = time.monotonic()
        with command(words, place) as running:
            while not running.ended():
                events += watch.wait(0.01)
            seconds = time.monotonic() - began
            events += watch.wait(0)
            left = place.leftovers()
            if running.status or left:
                raise RuntimeError(f"{running.status} {left} {running.read()[1][-2000:]}")
    return tuple(events), seconds


def moments(whole: Undisturbed, count: int, seed: int) -> list[Moment]:
    """Moments: all kinds of events in turn, and every fourth one of time alone."""
    dice = random.Random(seed)
    kinds = [Counter(event.kind for event in events) for events in whole.events]
    names = list(kinds[0])
    dice.shuffle(names)
    timed = (count + 3) // 4
    found = []
    for number in range(count):
        sent = dice.choice(_SIGNALS)
        if number % 4 == 3:
            made = bool(number // 4 % 2)
            part = (number // 4 + dice.random()) / timed
            found.append(Moment(sent, "", 0, 0.99 * whole.seconds[made] * part, made))
            continue
        kind = names[number % len(names)]
        made = kind in kinds[1] and "tmp/" not in kind
        later = dice.choice((0.0, dice.uniform(0.0, _LATER)))
        if "making" in kind:  # making a variant takes longer than writing a file
            later = dice.uniform(0.0, 0.7 * whole.seconds[0])
        found.append(Moment(sent, kind, dice.randint(1, kinds[made][kind]), later, made))
    return found


def disturb(words: tuple[str, ...], place: Place, moment: Moment) -> tuple[int, str]:
    """Run the command and end it at a moment; its exit status, and what it wrote to stderr."""
    until = time.monotonic() + (_SECONDS if moment.event else moment.later)
    counts: dict[str, int] = defaultdict(int)
    with Watch(place.watched()) as watch, command(words, place) as running:
        while not running.ended() and (left := until - time.monotonic()) > 0:
            for event in watch.wait(min(left, 0.2)):
                counts[event.kind] += 1
            if moment.event and counts[moment.event] >= moment.count:
                time.sleep(moment.later)
                break
        if not running.ended():
            running.signal(moment.number)
        _wait(running)
        return running.wait(), running.read()[1]


def _wait(running: Command) -> None:
    until = time.monotonic() + _SECONDS
    while not running.ended():
        if time.monotonic() > until:
            running.signal(signal.SIGKILL)
            running.wait()
            raise TimeoutError(f"it ran on for {_SECONDS:.0f} s")
        time.sleep(0.005)


def fault_after(place: Place, moment: Moment, status: int, err: str) -> str:
    """What is wrong right after the end; nothing where nothing is."""
    if left := end_all(within=_PATIENCE):
        return f"left running: {'; '.join(words[:90] for words in left.values())}"
    if held := held_locks(place.folder):
        return f"locks are held: {', '.join(held)}"
    if "Traceback" in err or "internal error" in err or "Exception ignored" in err:
        return f"exit status {status}, {err.strip()[-300:]!r}"
    if moment.number == signal.SIGKILL or status == 0:
        return "" if status in (0, -signal.SIGKILL) else f"exit status {status}: {err[-300:]}"
    if status == -moment.number and "written to" in err:
        return ""  # all was done, and Python on its way out: a shell sees the same status
    if status != _ORDERLY[moment.number]:
        return f"exit status {status}, expected {_ORDERLY[moment.number]}: {err[-300:]!r}"
    if not err.strip().endswith("rerun the same command to resume"):
        return f"says {err[-300:]!r}"
    left_files = place.leftovers()
    return f"left {', '.join(left_files[:4])}" if left_files else ""


def fault_of_rest(place: Place, whole: Undisturbed, *, reported: bool) -> str:
    """What is wrong with a run that is taken up again; nothing where nothing is."""
    if reported:
        words = ["report", "run", "--format", "json", "--out", "early.json"]
        with command(words, place) as reading:
            _wait(reading)
            out, err = reading.read()
        outcome = Outcome(reading.wait(), 0.0, 0, out, err)
        if fault := fault_of(outcome, Bounds()):
            return f"report: {fault}"
    with command(whole.words, place) as running:
        _wait(running)
        if running.wait():
            return f"the rerun ends with {running.status}: {running.read()[1][-300:]!r}"
    if left := end_all(within=_PATIENCE):
        return f"the rerun left running: {'; '.join(words[:90] for words in left.values())}"
    if wrong := differences(results_of(place), whole.results):
        return wrong
    left_files = place.leftovers()
    return f"after the rerun: left {', '.join(left_files[:4])}" if left_files else ""


def run_trial(place: Place, whole: Undisturbed, tried: Iterable[Moment], number: int) -> str:
    """End a run at these moments, one after the other, and then let it finish."""
    for moment in tried:
        try:
            status, err = disturb(whole.words, place, moment)
        except TimeoutError as error:
            return str(error)
        if fault := fault_after(place, moment, status, err):
            return fault
    return fault_of_rest(place, whole, reported=number % 5 == 0)


def run_campaign(
    count: int,
    seed: int,
    folder: Path,
    *,
    words: tuple[str, ...] = COMPARE,
    only: str = "",
    verbose: bool = False,
) -> tuple[list[str], list[str]]:
    """Try so many moments; returns their names, and what was wrong, by line."""
    models = prepare(folder)
    whole = undisturbed(words, models, folder / "whole")
    if verbose:
        print(f"{len(whole.events[0])} events in {whole.seconds[0]:.1f} s, "
              f"{len(whole.events[1])} in {whole.seconds[1]:.1f} s", flush=True)  # fmt: skip
    names, faults = [], []
    for number, tried in enumerate(_in_groups(moments(whole, count, seed))):
        name = " + ".join(moment.name for moment in tried)
        if only not in name:
            continue
        cache = whole.place.folder / "cache" if all(moment.made for moment in tried) else None
        place = Place.make(folder / f"trial{number}", models, made=cache)
        fault = run_trial(place, whole, tried, number)
        names += [moment.name for moment in tried]
        faults += [f"{name}: {fault}"] if fault else []
        if verbose:
            print(f"{name} {fault or 'clean'}", flush=True)
        place.remove()
    return names, faults


def _in_groups(tried: list[Moment]) -> Iterator[list[Moment]]:
    """Most alone; some runs are ended several times before they finish."""
    while tried:
        size = 3 if len(tried) % 10 == 0 else 1
        yield tried[:size]
        tried = tried[size:]


def main() -> int:
    """Run all of it; the exit status says whether there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--moments", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--short", action="store_true", help="no variant is made")
    parser.add_argument("--only", default="", help="names with this text in them")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    with scratch() as folder:
        names, faults = run_campaign(
            arguments.moments, arguments.seed, folder, words=SHORT if arguments.short else COMPARE,
            only=arguments.only, verbose=arguments.verbose,
        )  # fmt: skip
    kinds = Counter(name.partition(":")[0] for name in names)
    print(*faults, sep="\n")
    print(*(f"{n} {kind}" for kind, n in kinds.items()), sep=", ")
    print(f"tried {len(names)}, clean {len(names) - len(faults)}, faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
