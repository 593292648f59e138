"""The example run as a fixture."""

from __future__ import annotations

import pytest

from bitloss.comparison import Comparison
from example_run import make_comparison


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    return make_comparison()
