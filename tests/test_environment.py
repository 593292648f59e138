"""Environment variables: read in one module, documented, and each with the effect it says."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import platformdirs
import pytest

from bitloss import environment
from bitloss.environment import VARIABLES

NAMES = ("environ", "environb", "getenv", "getenvb")
SOURCE = Path(environment.__file__).parent
MODULES = [path for path in sorted(SOURCE.rglob("*.py")) if path.name != "environment.py"]
MODULES += [SOURCE / "runner" / "environment.py"]


def reads(tree: ast.AST) -> list[int]:
    """Lines that read the environment, except ``{**os.environ, ...}`` for a child process."""
    passed_on = {
        id(value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Dict)
        for key, value in zip(node.keys, node.values, strict=True)
        if key is None
    }
    lines = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            read = node.attr in NAMES and id(node) not in passed_on
        else:
            read = isinstance(node, ast.ImportFrom) and node.module == "os"
            read = read and any(alias.name in NAMES for alias in node.names)
        if read:
            lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    ("program", "lines"),
    [
        ("import os\nx = os.environ['X']", [2]),
        ("import os\nos.getenv('X')", [2]),
        ("from os import environ", [1]),
        ("import os\nrun(env={**os.environ, 'A': '1'})", []),
    ],
)
def test_a_read_is_seen(program: str, lines: list[int]) -> None:
    assert reads(ast.parse(program)) == lines


def test_nobody_else_reads_the_environment() -> None:
    readers = {
        str(path.relative_to(SOURCE)): lines
        for path in MODULES
        if (lines := reads(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert readers == {}


def test_every_variable_that_is_mentioned_is_read() -> None:
    mentioned = {
        name
        for path in [*MODULES, SOURCE / "environment.py"]
        for name in re.findall(r"\bBITLOSS_[A-Z_]+\b", path.read_text(encoding="utf-8"))
    }
    assert mentioned <= {variable.name for variable in VARIABLES}


@pytest.mark.parametrize("value", [None, ""])
def test_nothing_is_set(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    for variable in VARIABLES:
        if value is None:
            monkeypatch.delenv(variable.name, raising=False)
        else:
            monkeypatch.setenv(variable.name, value)
    assert environment.data_directory() is None
    assert environment.cache_directory() == Path(platformdirs.user_cache_dir("bitloss"))
    assert environment.debug() is False
    assert environment.step_summary() is None


def test_all_are_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("BITLOSS_DATA", "~/data")
    monkeypatch.setenv("BITLOSS_CACHE", "~/cache")
    monkeypatch.setenv("BITLOSS_DEBUG", "1")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", "summary.md")
    assert environment.data_directory() == tmp_path / "data"
    assert environment.cache_directory() == tmp_path / "cache"
    assert environment.debug() is True
    assert environment.step_summary() == Path("summary.md")


@pytest.mark.parametrize(("value", "shown"), [("0", False), ("false", True), ("1", True)])
def test_debug_is_anything_but_zero(
    monkeypatch: pytest.MonkeyPatch, value: str, shown: bool
) -> None:
    monkeypatch.setenv("BITLOSS_DEBUG", value)
    assert environment.debug() is shown
