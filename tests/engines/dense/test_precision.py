"""Oracles: the same product in float64; the rules of `--dtype`; speeds in benchmarks/LOG.md."""

from __future__ import annotations

import pytest
import torch

from bitloss.engines.dense import precision
from bitloss.engines.dense.precision import (
    arithmetic,
    as_precision,
    first_precision,
    has_fast_bf16,
)
from bitloss.engines.dense.prefix_tree.partial_attention import attend
from bitloss.errors import UsageError


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


def test_small_products_are_kept_from_onednn_for_the_block():
    switch = torch.backends.mkldnn.matmul
    with arithmetic("mixed"):
        with precision.many_small_products():
            assert switch.fp32_precision == "ieee"
        assert switch.fp32_precision == "bf16"


def test_attention_to_a_part_is_made_of_small_products(monkeypatch):
    """Oracle: the switch itself, as the kernel meets it."""
    flash = "_scaled_dot_product_flash_attention_for_cpu"
    kernel, met = getattr(torch.ops.aten, flash), []

    def watched(*arguments, **options):
        met.append(torch.backends.mkldnn.matmul.fp32_precision)
        return kernel(*arguments, **options)

    monkeypatch.setattr(torch.ops.aten, flash, watched)
    states = torch.ones(1, 2, 3, 8)
    with arithmetic("mixed"):
        attend(states, states, states, scale=1.0)
    assert met == ["ieee"]


@pytest.mark.parametrize(
    ("vendor", "flags", "fast"),
    [
        ("GenuineIntel", {"avx512_bf16", "amx_bf16"}, True),
        ("GenuineIntel", {"avx512_bf16"}, False),  # 172 GFLOP/s in bf16, 326 in float32
        ("AuthenticAMD", {"avx512_bf16"}, True),  # 420 to 437 and 366
        ("AuthenticAMD", {"avx2"}, False),
        ("", set(), False),
    ],
)
def test_where_bf16_is_fast(monkeypatch, vendor, flags, fast):
    entries = {"vendor_id": frozenset({vendor}), "flags": frozenset(flags)}
    monkeypatch.setattr(precision, "_cpu", entries.__getitem__)
    assert has_fast_bf16("cpu") is fast


def first(asked, parameters, tokens):
    return first_precision(asked, device="cpu", parameters=parameters, tokens=tokens)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("asked", ["fp32", "mixed", "bf16"])
def test_a_named_arithmetic_is_used(monkeypatch, asked, fast):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: fast)
    assert first(asked, 10**9, 10**9) == as_precision(asked) == asked


def test_auto_takes_float32_for_what_is_small_or_not_faster(monkeypatch):
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    assert first("auto", 10**6, 10**6) == "fp32"
    assert first("auto", 10**9, 10**6) == "bf16"
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: False)
    assert first("auto", 10**9, 10**6) == "fp32"


@pytest.mark.parametrize("asked", ["fp16", "native", ""])
def test_an_arithmetic_of_another_engine_is_refused(asked):
    with pytest.raises(UsageError, match="expected fp32, mixed, bf16, got"):
        first(asked, 1, 1)
