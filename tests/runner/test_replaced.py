"""Results that are not replaced by smaller ones. Oracle: what stands in both, by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bitloss.errors import UsageError
from bitloss.results.manifest import MANIFEST_FILE
from bitloss.runner import Plan, RunStore, execute, refuse_to_replace
from bitloss.types import SilentProgress

LENGTH = {"max_length": 32, "stride": 32}


@pytest.fixture
def out(plan: Callable[..., Plan], tmp_path: Path) -> Path:
    """A finished run of two variants on four windows of a text."""
    made = plan(corpora=("./text.txt",), limit=4, **LENGTH)
    execute(made, RunStore(tmp_path / "run"), command="", progress=SilentProgress())
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"variants": ("./noisy",)}, "the variant ./copy"),
        ({"limit": 3}, r"4 windows of .*text.txt"),
        ({"corpora": ()}, r"the corpus .*text.txt"),
        ({"max_length": 64}, r"text.txt by another protocol"),
        ({"limit": 4}, ""),
        ({"limit": 6}, ""),
        ({"variants": ("./noisy", "./copy", "./tiny")}, ""),
        ({"tasks": ("choice",)}, ""),
    ],
)
def test_what_would_be_lost_is_named(
    plan: Callable[..., Plan], out: Path, changes: dict[str, object], lost: str
) -> None:
    planned = plan(**{"corpora": ("./text.txt",), "limit": 4, **LENGTH, **changes})
    if not lost:
        refuse_to_replace(planned, out)
        return
    with pytest.raises(UsageError, match=f"holds a result with {lost}, which") as caught:
        refuse_to_replace(planned, out)
    assert "--force" in caught.value.hint


def test_a_file_of_somebody_else_stays(plan: Callable[..., Plan], tmp_path: Path) -> None:
    planned = plan(corpora=("./text.txt",))
    refuse_to_replace(planned, tmp_path / "new")
    (tmp_path / "comparison.json").write_text("{}")
    with pytest.raises(UsageError, match="no run of bitloss is beside it"):
        refuse_to_replace(planned, tmp_path)


def test_a_damaged_manifest_holds_no_result(plan: Callable[..., Plan], out: Path) -> None:
    (out / MANIFEST_FILE).write_text("{")
    refuse_to_replace(plan(corpora=("./text.txt",), limit=1), out)
