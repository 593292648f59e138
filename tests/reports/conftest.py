"""A run directory with the records that pages read, for tests of pages."""

from __future__ import annotations

from pathlib import Path

import pytest

from example_store import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("run")
    write_run(root, right="101111")
    return root
