"""Whose README it is. Oracle: the digest that opening the model's files gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import UsageError
from bitloss.formats import open_checkpoint
from bitloss.reports.card_owner import require_own_readme
from peers.tiny_model import write_tiny_model
from verdict_parts import variant


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("owner") / "tiny"
    write_tiny_model(folder)
    return folder


def test_figures_go_into_the_readme_of_the_model_they_are_of(model: Path) -> None:
    own = variant("q4", digest=open_checkpoint(model).info.digest)
    require_own_readme(model, [variant("q8", digest="e" * 64), own])
    require_own_readme(model / "README.md", [own])


def test_the_readme_of_another_model_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has the files of another model than q8") as caught:
        require_own_readme(model / "README.md", [variant("q8", digest="e" * 64)])
    assert "--force" in caught.value.hint
    require_own_readme(tmp_path, [variant("q8", digest="e" * 64)])  # no model is beside it
