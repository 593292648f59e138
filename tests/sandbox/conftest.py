"""What the sandbox is made of, where the machine can have one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bitloss.sandbox import Bubblewrap


@pytest.fixture(scope="session")
def bwrap(sandbox: Bubblewrap) -> Path:
    """The program, known to work."""
    found = shutil.which("bwrap")
    assert found is not None
    return Path(found)
