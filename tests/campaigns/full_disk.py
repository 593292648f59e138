"""A campaign of full disks; prints how many moments were tried, clean and at fault.

The long form, some minutes: ``make campaign``, or

    PYTHONPATH=src:tests python -m campaigns.full_disk [--steps N] [--only TEXT] [-v]

The short form is in `campaigns.parts`. Every command that writes runs where there is no
room: on file systems of many sizes (by root only, who may mount them), under limits of a file's
size, with stdout on a full device, and with too little address space. A fault is a command that
does not end with the usual form of an error, leaves something half-written, or changes what was
there.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from campaigns.forks import Trial
from campaigns.malformed import run_campaign
from campaigns.seeds import RUN_WORDS

__all__ = ["full_disks"]

_SMALLEST, _LARGEST = 1 << 10, 3 << 20
After = Callable[[int, Path], str]
Words = Callable[[Path, str], list[str]]
"""The command from the folder of valid files and the place it is to write to."""


_DRAWING = ("report html", "report markdown")


def full_disks(steps: int) -> list[Trial]:
    """Trials: each command at `steps` sizes of the disk and of files, and on full devices."""
    sizes = [
        int(_SMALLEST * (_LARGEST / _SMALLEST) ** (n / max(steps - 1, 1))) for n in range(steps)
    ]
    found = []
    for name, (words, after) in _writing().items():
        # What draws charts takes long, and writes at the end.
        for size in sizes[:: max(len(sizes) - 1, 1)] if name in _DRAWING else sizes:
            found.append(_trial(f"file limit: {name} {size}", words, after, limit=size))
            if _may_mount():
                found.append(_trial(f"disk: {name} {size}", words, after, disk=size))
    found += [
        _trial(f"stdout: {name}", words, _fails, stdout="/dev/full")
        for name, words in _PRINTING.items()
    ]
    found += [
        _trial(f"addresses: {gigabytes} GB", _report("html"), _complete_page,
               addresses=gigabytes << 30)
        for gigabytes in (6, 24)
    ]  # fmt: skip
    return found


def _may_mount() -> bool:
    if os.geteuid() != 0:
        return False
    with tempfile.TemporaryDirectory() as place:
        mount = ["mount", "-t", "tmpfs", "tmpfs", place]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            return False
        return subprocess.run(["umount", place], check=False).returncode == 0


def _trial(
    name: str, words: Words, after: After, *, limit: int | None = None, disk: int | None = None,
    addresses: int | None = None, stdout: str = "",
) -> Trial:  # fmt: skip
    place = "disk" if disk is not None else "."

    def prepare(folder: Path, seeds: Path) -> list[str]:
        shutil.copy(seeds / "README.md", folder / place)
        return words(seeds, place)

    return Trial(
        name, prepare, limit, disk, addresses, stdout, 600.0 if "quantize" in name else None,
        lambda status, folder: after(status, folder / place),
    )  # fmt: skip


# Commands ---------------------------------------------------------------------------------


def _compare(seeds: Path, place: str) -> list[str]:
    words = [str(seeds / word) if word.startswith("./") else word for word in RUN_WORDS]
    return [f"{place}/run" if word == "run" else word for word in words]


def _report(kind: str) -> Words:
    return lambda seeds, place: [
        "report", str(seeds / "run"), "--format", kind, "--out", f"{place}/page",
    ]  # fmt: skip


def _quantize(recipe: str, name: str) -> Words:
    return lambda seeds, place: [
        "quantize", str(seeds / "model"), f"{place}/{name}", "--recipe", recipe, "-q",
        "--calibration", str(seeds / "text.txt"), "--calibration-sequences", "2",
        "--calibration-length", "32",
    ] if "gptq" in recipe else [
        "quantize", str(seeds / "model"), f"{place}/{name}", "--recipe", recipe, "-q",
    ]  # fmt: skip


def _writing() -> dict[str, tuple[Words, After]]:
    found: dict[str, tuple[Words, After]] = {
        "compare": (_compare, _complete_run),
        "report html": (_report("html"), _complete_page),
        "report markdown": (_report("markdown"), _nothing),
        "report csv": (_report("csv"), _nothing),
        "report json": (_report("json"), _nothing),
        "card --out": (
            lambda seeds, place: ["card", str(seeds / "run"), "--out", f"{place}/card.md"],
            _complete_card,
        ),
        "card --update": (
            lambda seeds, place: ["card", str(seeds / "run"), "--update", f"{place}/README.md"],
            _same_readme,
        ),
        "check --junit": (
            lambda seeds, place: ["check", str(seeds / "run"), "--junit", f"{place}/x.xml",
                                  "--markdown", f"{place}/x.md"],
            _nothing,
        ),
        "new-task": (lambda seeds, place: ["new-task", "mine", "--out", place], _nothing),
    }  # fmt: skip
    if importlib.util.find_spec("llama_cpp"):
        found["quantize gguf"] = _quantize("gguf-q8_0", "out.gguf"), _whole_gguf
    if importlib.util.find_spec("gptqmodel"):
        found["quantize gptq"] = _quantize("gptq-4-g32", "out"), _whole_folder
    return found


_PRINTING: dict[str, Words] = {
    "list": lambda seeds, place: ["list"],
    "list --json": lambda seeds, place: ["list", "--json"],
    "check --json": lambda seeds, place: ["check", str(seeds / "run"), "--json"],
    "check": lambda seeds, place: ["check", str(seeds / "run")],
    "card": lambda seeds, place: ["card", str(seeds / "run")],
    "compare --json": lambda seeds, place: [*_compare(seeds, place), "--json"],
    "compare --plan": lambda seeds, place: [*_compare(seeds, place), "--plan"],
    "help": lambda seeds, place: ["compare", "--help"],
}


# What is left -----------------------------------------------------------------------------


def _nothing(status: int, place: Path) -> str:
    return ""


def _fails(status: int, place: Path) -> str:
    return "" if status == 1 else f"exit status {status}"


def _complete_run(status: int, place: Path) -> str:
    for path in place.glob("run/*.json"):
        try:
            json.loads(path.read_bytes())
        except ValueError:
            return f"{path.name} is not complete"
    return "no result" if status == 0 and not (place / "run/comparison.json").is_file() else ""


def _complete_page(status: int, place: Path) -> str:
    pages = list(place.rglob("*.html"))
    whole = all(path.read_text().rstrip().endswith("</html>") for path in pages)
    return "" if whole and (pages or status) else "the page is not complete"


def _complete_card(status: int, place: Path) -> str:
    card = place / "card.md"
    return "" if card.is_file() == (status == 0) else "a card that is not complete"


def _same_readme(status: int, place: Path) -> str:
    text = (place / "README.md").read_text()
    whole = text.startswith("---\nlicense: mit") and "# A model" in text
    changed = "bitloss" in text
    return "" if whole and changed == (status == 0) else "the README was changed half-way"


def _whole_gguf(status: int, place: Path) -> str:
    return "" if (place / "out.gguf").is_file() == (status == 0) else "a file that is not whole"


def _whole_folder(status: int, place: Path) -> str:
    there = (place / "out" / "recipe.json").is_file()
    left = (place / "out").exists() and not there
    return "" if there == (status == 0) and not left else "a folder that is not whole"


def _kinds(trials: list[Trial], faults: list[str]) -> Iterator[str]:
    wrong = Counter(fault.partition(":")[0] for fault in faults)
    for kind, count in Counter(trial.kind for trial in trials).items():
        yield f"{count} {kind} ({wrong[kind]} faults)"


def main() -> int:
    """Run all of it; the exit status says whether there are faults."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", type=int, default=8, help="sizes of disks and files")
    parser.add_argument("--only", default="", help="names with this text in them")
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    trials = [trial for trial in full_disks(arguments.steps) if arguments.only in trial.name]
    with tempfile.TemporaryDirectory() as folder:
        faults = run_campaign(trials, Path(folder), verbose=arguments.verbose)
    print(*faults, sep="\n")
    print(*_kinds(trials, faults), sep=", ")
    print(f"tried {len(trials)}, clean {len(trials) - len(faults)}, faults {len(faults)}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
