"""A campaign of programs against the sandbox; prints how many were tried, clean and at fault.

The long form, some minutes: ``make campaign``, which is

    PYTHONPATH=src:tests python -m campaigns.sandbox [--data FOLDER]

With a folder of data, all reference solutions of HumanEval and HumanEval+ are tried besides, and
their prompts with an empty body.

The short form is `tests/sandbox/test_campaign.py`. Oracles: right answers pass their tests in plain
Python (tried here as well), attacks and steering answers are no answers, and broken tests are kept
apart from wrong answers. No program may take longer than its limits allow, or end the campaign.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from bitloss.sandbox import BrokenTests, Limits, Program, Sandbox, open_sandbox
from bitloss.sandbox.seccomp import DENIED
from bitloss.tasks.humaneval import HUMANEVAL, HUMANEVAL_PLUS
from campaigns.sandbox_answers import RIGHT
from campaigns.sandbox_steering import BROKEN, STEERING
from peers.attacks import ESCAPES, EXCESSES, FORGERIES, PRELUDE

__all__ = ["CAMPAIGN", "Trial", "faults_of", "in_plain_python", "judge"]

LIMITS = Limits(
    cpu_seconds=1.0, wall_seconds=1.0, memory_bytes=256 << 20, output_bytes=65536,
    file_bytes=1 << 20, open_files=32,
)  # fmt: skip
# A program that is killed runs twice, starts take a while, and machines are busy.
_SLOWEST = 60.0
_COLUMN = 1 if platform.machine() == "aarch64" else 0
_NUMBERS = {name: numbers[_COLUMN] for name, numbers in DENIED.items()} | {
    "clone": (56, 220)[_COLUMN],
    "clone3": 435,
}
_KNOWN = f"CANARY, PORT, VICTIM, NUMBERS = '/etc/passwd', 9, {os.getpid()}, {_NUMBERS}\n"


@dataclass(frozen=True)
class Trial:
    """One program.

    Attributes:
        name: its kind and what it does.
        program: what is run.
        expected: ``"passes"``, ``"fails"``, or ``"broken"`` where the tests are at fault.
    """

    name: str
    program: Program
    expected: str


def _campaign() -> Iterator[Trial]:
    for name, (solution, tests) in RIGHT.items():
        yield _trial(f"right: {name}", solution, tests, "passes")
    for name, (solution, tests) in STEERING.items():
        yield _trial(f"steering: {name}", solution, tests, "fails")
    for name, tests in BROKEN.items():
        yield _trial(f"broken: {name}", "def f(x): return x * x", tests, "broken")
    attacks = FORGERIES | ESCAPES | {name: source for name, (_, source) in EXCESSES.items()}
    for name, source in attacks.items():
        yield _trial(f"hostile: {name}", _KNOWN + PRELUDE + source, "assert f(2) == 4\n", "fails")


def _trial(name: str, solution: str, tests: str, expected: str) -> Trial:
    return Trial(name, Program(solution, "f", tests, limits=LIMITS), expected)


CAMPAIGN = tuple(_campaign())


def _references(data: Path) -> Iterator[Trial]:
    """Every reference solution, and every prompt with an empty body."""
    for task in (HUMANEVAL, HUMANEVAL_PLUS):
        for item in task.load(data).items:
            for body, expected in ((item.gold_answer or "", "passes"), ("    pass\n", "fails")):
                assert task.program is not None
                program = task.program(item, body)
                yield Trial(f"{task.facts.name} {expected}: {item.id}", program, expected)


def judge(sandbox: Sandbox, trial: Trial) -> str:
    """What is wrong with how a program was judged; nothing where nothing is."""
    start = time.monotonic()
    try:
        verdict = sandbox.run(trial.program)
        came = "passes" if verdict.passed else "fails"
        detail = f"{verdict.reason}: {verdict.detail}"
    except BrokenTests as error:
        came, detail = "broken", error.message
    except Exception as error:  # it would have ended the run
        came, detail = "ends the run", f"{type(error).__name__}: {error}"
    took = time.monotonic() - start
    if came != trial.expected:
        return f"{trial.name}: {came} ({detail}), expected: {trial.expected}"
    if took > _SLOWEST and trial.program.limits == LIMITS:
        return f"{trial.name}: took {took:.1f} s"
    return ""


def in_plain_python(trial: Trial) -> str:
    """What plain Python says of a right answer's tests; nothing where they pass."""
    names: dict[str, object] = {"__name__": "solution"}
    module = type(sys)("solution")
    sys.modules["solution"] = module
    limit = sys.getrecursionlimit()
    try:
        module.__dict__.update(names)
        exec(trial.program.solution.removeprefix("\ufeff"), module.__dict__)
        exec(trial.program.tests, {"f": module.__dict__["f"], "__name__": "tests"})
    except SystemExit as error:
        return f"{trial.name}: exit {error.code}" if error.code else ""
    except BaseException as error:
        return f"{trial.name}: {type(error).__name__}: {error}"
    finally:
        sys.setrecursionlimit(limit)
        del sys.modules["solution"]
    return ""


def faults_of(sandbox: Sandbox, trials: Iterable[Trial]) -> list[str]:
    """What is wrong with how programs are judged."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda trial: judge(sandbox, trial), trials))
    return [fault for fault in found if fault]


def main() -> int:
    """Run all of it; the exit status says whether there are faults."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, help="besides, HumanEval and HumanEval+ of this folder"
    )
    parser.add_argument("--only", default="", help="names with this text in them")
    arguments = parser.parse_args()
    everything = [*CAMPAIGN, *(_references(arguments.data) if arguments.data else ())]
    trials = [trial for trial in everything if arguments.only in trial.name]
    plain = [in_plain_python(trial) for trial in trials if trial.name.startswith("right")]
    faults = [fault for fault in plain if fault] + faults_of(open_sandbox(), trials)
    kinds = Counter(trial.name.partition(":")[0] for trial in trials)
    print(*faults, sep="\n")
    print(*(f"{count} {kind}" for kind, count in kinds.items()), sep=", ")
    print(f"tried {len(trials)}, clean {len(trials) - len(faults)}, faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
