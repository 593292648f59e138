"""A campaign of malformed inputs; prints how many were tried, clean and at fault.

The long form, some minutes: ``make campaign``, or

    PYTHONPATH=src:tests python -m campaigns.malformed [--scale N] [--seed N] [--only TEXT] [-v]

The short form is in `campaigns.parts`. Every reader gets small valid files, made on the
spot, with one thing wrong in them: values of other types and sizes, bytes that were changed or cut
off, nesting, aliases, surrogates, names of 5,000 characters. A fault is a command that ends in any
other way than done or with an error of the usual form (what was expected, what it got, a hint), a
traceback, more than a minute or a gigabyte, or an unfinished file that is left behind.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path

from campaigns.forks import Bounds, Trial, import_all, run_forked, run_trials
from campaigns.malformed_files import files
from campaigns.malformed_models import models
from campaigns.seeds import RUN_WORDS, make_seeds

__all__ = ["campaign", "run_campaign"]


def campaign(scale: int, seed: int) -> list[Trial]:
    """Trials of every reader, about 480 for each unit of `scale`."""
    dice = random.Random(seed)
    return [*models(dice, scale), *files(dice, scale)]


def run_campaign(trials: list[Trial], folder: Path, *, verbose: bool = False) -> list[str]:
    """Make the valid files, run all trials; returns the faults."""
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1", BITLOSS_CACHE=str(folder / "cache"))
    import_all()
    seeds = folder / "seeds"
    seeds.mkdir(parents=True)

    def make() -> int:
        from bitloss.cli.main import main

        make_seeds(seeds)
        os.chdir(seeds)
        return main(list(RUN_WORDS))

    made = run_forked(make, seeds, Bounds(600, 4 << 30))
    if made.status:
        return [f"the valid files: {made.status} {made.err[-2000:]}"]
    return run_trials(trials, seeds, folder / "trials", Bounds(), verbose=verbose)


def main() -> int:
    """Run all of it; the exit status says whether there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=int, default=2, help="about 480 inputs for each of it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--step", type=int, default=1, help="every n-th only")
    parser.add_argument("--only", default="", help="names with this text in them")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    trials = campaign(arguments.scale, arguments.seed)[:: arguments.step]
    trials = [trial for trial in trials if arguments.only in trial.name]
    with tempfile.TemporaryDirectory() as folder:
        faults = run_campaign(trials, Path(folder), verbose=arguments.verbose)
    kinds = Counter(trial.kind for trial in trials)
    wrong = Counter(fault.partition(":")[0] for fault in faults)
    print(*faults, sep="\n")
    print(*(f"{n} {kind} ({wrong[kind]} faults)" for kind, n in kinds.items()), sep=", ")
    print(f"tried {len(trials)}, clean {len(trials) - len(faults)}, faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
