"""A run directory that is in use, damaged, newer or full: two lines that say it, and nothing lost.

The wording is the oracle: each case names the words that a user needs to see.
"""

from __future__ import annotations

import fcntl
import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitloss.cli.main import main
from peers.complaints import RUN, Captured, check, complaint, nothing_written


def test_a_run_directory_in_use(here: Path, capsys: Captured) -> None:
    Path("run").mkdir()
    with Path("run/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert main(["compare", "./tiny", "./noisy", *RUN]) == 1
    check(capsys, "another process is writing to run", "another directory with --out")
    assert nothing_written(Path("run"))


@pytest.mark.parametrize("kind", ["records", "states"])
def test_a_damaged_file_of_a_run(here: Path, capsys: Captured, kind: str) -> None:
    words = ["compare", "./tiny", "./noisy", *RUN]
    assert main(words) == 0
    before = Path("run/comparison.json").read_bytes()
    for file in (Path("run") / kind).iterdir():
        file.write_bytes(file.read_bytes()[:50])
    if kind == "states":
        for file in Path("run/records").iterdir():
            file.unlink()
    capsys.readouterr()
    for _ in range(9):  # doing what the hint says, file by file, mends it
        if main(words) == 0:
            break
        error, hint = complaint(capsys)
        assert "delete the file and rerun the same command" in hint
        name = re.search(rf"run/{kind}/\w+\.\w+", error)
        assert name is not None
        Path(name[0]).unlink()
    assert Path("run/comparison.json").read_bytes() == before


def test_the_result_of_a_newer_bitloss_is_not_overwritten(here: Path, capsys: Captured) -> None:
    Path("run").mkdir()
    newer = Path("run/comparison.json")
    newer.write_text('{"schema_version": 99}')
    assert main(["compare", "./tiny", "./noisy", *RUN]) == 1
    check(capsys, "version 99 of a newer bitloss", "--out")
    assert newer.read_text() == '{"schema_version": 99}'


@pytest.fixture
def small_disk(here: Path) -> Iterator[Path]:
    """A file system of 200 kB, where the process may mount one."""
    place = here / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system can only be mounted by root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(small_disk: Path, capsys: Captured) -> None:
    words = ["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--out", str(small_disk)]
    assert main(words) == 1
    check(capsys, "the disk is full", "free some space")
    assert nothing_written(small_disk)


def test_a_file_that_may_not_grow(here: Path, capsys: Captured) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        assert main(["compare", "./tiny", "./noisy", *RUN]) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    check(capsys, "File too large", "another directory with --out")
    assert nothing_written(Path("run"))
