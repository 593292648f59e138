"""A part of five campaigns, of each some seconds; prints how many were tried, clean and at fault.

    PYTHONPATH=src:tests python -m campaigns.parts

It is the short form, which `tests/cli/test_disturbed.py` runs: one process, since to import what
commands need takes longer than most of the parts.
"""

from __future__ import annotations

import sys

from campaigns import full_disk, kills, malformed, two_writers
from campaigns.runs import SHORT, scratch

__all__ = ["main"]

_DISKS = ("report json", "stdout: list")


def main() -> int:
    """Run the parts; the exit status says whether there are faults."""
    tried, faults = 0, []
    with scratch() as folder:
        trials = malformed.campaign(1, 0)[::24]
        disks = full_disk.full_disks(2)
        trials += [trial for trial in disks if any(words in trial.name for words in _DISKS)]
        tried += len(trials)
        faults += malformed.run_campaign(trials, folder / "inputs")
        names, found = kills.run_campaign(2, 0, folder / "kills", words=SHORT)
        tried += len(names)
        faults += found
        runs, found = two_writers.run_campaign(
            1, 0, folder / "writers", words=SHORT, only="different runs"
        )
        tried += len(runs)
        faults += found
    print(*faults, sep="\n")
    print(f"tried {tried}, clean {tried - len(faults)}, faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
