"""What tests of reading by layers have in common."""

from __future__ import annotations

import numpy as np
import pytest

from bitloss.types import Window


@pytest.fixture
def windows() -> list[Window]:
    """40 windows of up to 24 of the tiny models' 96 tokens."""
    rng = np.random.default_rng(0)
    return [
        Window(rng.integers(3, 96, size=24 if i < 38 else 9).astype(np.int32), 1 + i % 4)
        for i in range(40)
    ]
