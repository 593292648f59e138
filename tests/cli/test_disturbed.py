"""A part of each campaign, in seconds (`campaigns.parts`), and what the campaigns look with."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from campaigns.runs import differences
from campaigns.watching import Event, Watch

ROOT = Path(__file__).resolve().parents[2]


def test_a_part_of_each_campaign_has_no_faults() -> None:
    """In a process of its own: it forks, and this one has threads."""
    paths = os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])
    done = subprocess.run(
        [sys.executable, "-m", "campaigns.parts"],
        env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # Two sizes of a disk are tried by those only who may mount one.
    assert re.fullmatch(r"tried (30|32), clean \1, faults 0", done.stdout.splitlines()[-1])


def test_what_happens_in_a_folder_is_seen(tmp_path: Path) -> None:
    with Watch({"here": tmp_path}) as watch:
        (tmp_path / ".tmp-abc").write_text("x")
        (tmp_path / ".tmp-abc").rename(tmp_path / f"{'0' * 32}.parquet")
        (tmp_path / f"{'0' * 32}.parquet").unlink()
        seen = watch.wait(5)
    assert [event.kind for event in seen] == [
        "begun here/.tmp-", "written here/*.parquet", "removed here/*.parquet",
    ]  # fmt: skip
    assert seen[0] == Event("begun", "here", ".tmp-")


def test_what_differs_is_named() -> None:
    right = {"a": b"1", "b": b"2"}
    assert differences(right, right) == ""
    assert differences({"a": b"0", "c": b""}, right) == "b is missing; c is there; a differs"
