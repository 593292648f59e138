"""Models that are broken on purpose, and the two lines in which the command line says it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

__all__ = ["RUN", "Break", "Captured", "check", "complaint", "config", "nothing_written"]

Break = Callable[[Path], Any]
"""Changes a copy of a model."""

Captured = pytest.CaptureFixture[str]
RUN = ["--corpus", "./fox.txt", "--out", "run"]


def complaint(capsys: Captured) -> tuple[str, str]:
    """The error and the hint on stderr, which are its last lines."""
    err = capsys.readouterr().err
    assert "Traceback" not in err
    assert "internal error" not in err
    *_, error, hint = err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert len(error) < 600
    return error, hint


def check(capsys: Captured, error: str, hint: str) -> None:
    found = complaint(capsys)
    # Patterns hold a backslash, all other words are looked for as they are.
    pattern = error if "\\" in error else re.escape(error)
    assert re.search(pattern, found[0]), found
    assert hint in found[1], found


def nothing_written(run: Path) -> bool:
    """No result, no record and no temporary file; the folders themselves may be there."""
    names = {path.name for path in run.rglob("*") if path.is_file()} - {".lock"}
    return not any(name.endswith((".json", ".parquet")) or ".tmp" in name for name in names)


def config(**values: Any) -> Break:
    """Other values in ``config.json``."""

    def apply(model: Path) -> None:
        file = model / "config.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | values))

    return apply
