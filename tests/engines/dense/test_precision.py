"""Oracle: the same product in float64."""

from __future__ import annotations

import pytest
import torch

from bitloss.engines.dense import arithmetic


def relative_error() -> float:
    generator = torch.Generator().manual_seed(0)
    left = torch.randn(300, 900, generator=generator)
    right = torch.randn(400, 900, generator=generator)
    exact = left.double() @ right.double().T
    return float(((left @ right.T) - exact).abs().max() / exact.abs().max())


def test_float32_products_are_not_rounded():
    with arithmetic("fp32"):
        assert relative_error() < 5e-6


def test_the_process_wide_switch_is_put_back():
    switch = torch.backends.mkldnn.matmul
    before = switch.fp32_precision
    with arithmetic("mixed"):
        assert switch.fp32_precision == "bf16"
    with pytest.raises(ZeroDivisionError), arithmetic("mixed"):
        _ = 1 / 0
    assert switch.fp32_precision == before
