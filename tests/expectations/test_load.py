"""The tables of expectations, and a user's file laid over them.

Oracle: the two tables and the published figures of the design, written out again here.
"""

from __future__ import annotations

import hashlib
import math
import re
from pathlib import Path

import pytest

from bitloss.errors import UsageError
from bitloss.expectations import AXES, AxisName, load_expectations
from bitloss.tasks.base import CAPABILITIES

ROWS = {
    ("gptq", 8): (1.02, 1.05, "yes"),
    ("gguf-q8_0", 8): (1.03, 1.06, "yes"),
    ("gptq", 4): (1.05, 1.10, "usually"),
    ("awq", 4): (1.04, 1.08, "usually"),
    ("gguf-q4_k_m", 4): (1.05, 1.12, "usually"),
    ("gguf-q3_k_m", 3): (1.10, 1.20, "marginal"),
    ("gguf-q2_k", 2): (1.15, None, "problematic"),
}


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(("variant", "row"), ROWS.items())
def test_rows(variant: tuple[str, int], row: tuple[float, float | None, str]) -> None:
    found = load_expectations().expected(*variant)
    assert found is not None
    assert (found.low, found.high, found.level) == row
    assert found.source


@pytest.mark.parametrize("name", ["safetensors-fp16", "safetensors-bf16", "gguf-f16", "gguf-bf16"])
def test_sixteen_bits_lose_nothing(name: str) -> None:
    found = load_expectations().expected(name, 16.0)
    assert found is not None
    assert (found.format, found.level) == ("FP16", "yes")
    assert found.low < 1 < found.high < 1.01


@pytest.mark.parametrize(
    ("name", "bits"),
    [("compressed-tensors", 4.0), ("gptq", 3.0), ("gguf-q4_0", 4.0), ("awq", 8.0), (None, None)],
)
def test_nothing_is_guessed(name: str | None, bits: float | None) -> None:
    assert load_expectations().expected(name, bits) is None


@pytest.mark.parametrize(
    ("relative", "level"),
    [
        (0.9, "yes"), (1.05, "yes"), (math.nextafter(1.05, 2), "usually"), (1.12, "usually"),
        (math.nextafter(1.12, 2), "marginal"), (1.20, "marginal"),
        (math.nextafter(1.20, 2), "problematic"), (math.inf, "problematic"),
    ],
)  # fmt: skip
def test_levels_by_upper_bound(relative: float, level: str) -> None:
    assert load_expectations().level("relative_perplexity", relative) == level


# DESIGN's anchors: llama.cpp's points for Llama-3-8B, and where they have to fall.
@pytest.mark.parametrize(
    ("axis", "value", "level"),
    [
        ("kl_divergence", 0.0, "yes"), ("kl_divergence", 0.0014, "yes"),
        ("kl_divergence", 0.01, "yes"), ("kl_divergence", 0.0108, "usually"),
        ("kl_divergence", 0.031, "usually"), ("kl_divergence", 0.06, "usually"),
        ("kl_divergence", 0.102, "marginal"), ("kl_divergence", 0.2, "marginal"),
        ("kl_divergence", 0.445, "problematic"),
        ("top1_agreement", 1.0, "yes"), ("top1_agreement", 0.977, "yes"),
        ("top1_agreement", 0.95, "yes"), ("top1_agreement", 0.919, "usually"),
        ("top1_agreement", 0.90, "usually"), ("top1_agreement", 0.8999, "marginal"),
        ("top1_agreement", 0.80, "marginal"), ("top1_agreement", 0.711, "problematic"),
        ("overlap", 1.0, "yes"), ("overlap", 0.97, "yes"), ("overlap", 0.94, "usually"),
        ("overlap", 0.88, "marginal"), ("overlap", 0.8799, "problematic"),
        ("overlap", 0.0, "problematic"),
    ],
)  # fmt: skip
def test_levels_of_the_other_axes(axis: AxisName, value: float, level: str) -> None:
    assert load_expectations().level(axis, value) == level


@pytest.mark.parametrize(
    ("axis", "low", "high", "worst", "best"),
    [
        ("kl_divergence", 0.005, 0.07, "marginal", "yes"),
        ("top1_agreement", 0.79, 0.91, "problematic", "usually"),
        ("overlap", None, 0.95, None, "usually"),
        ("relative_perplexity", 1.0, math.nan, None, "yes"),
    ],
)
def test_the_pessimistic_bound_is_the_upper_one_or_the_lower_one(
    axis: AxisName, low: float | None, high: float | None, worst: str | None, best: str | None
) -> None:
    found = load_expectations().level_range(axis, low, high)
    assert (found.worst, found.best) == (worst, best)
    assert not found.settled


def test_every_axis_says_where_its_levels_come_from() -> None:
    table = load_expectations()
    assert set(table.thresholds) == set(AXES)
    assert all(one.source for one in table.thresholds.values())


# The formats as they are named where files are opened, with nominal bits.
@pytest.mark.parametrize(
    ("name", "bits", "row"),
    [
        ("fp8", 8, "FP8"), ("modelopt-fp8", 8, "FP8"), ("compressed-tensors-fp8", 8, "FP8"),
        ("torchao-float8", 8, "FP8"), ("compressed-tensors", 8, "W8A8"),
        ("torchao-int8", 8, "W8A8"), ("bitsandbytes-int8", 8, "W8A8"),
        ("modelopt-nvfp4", 4, "NVFP4"), ("torchao-nvfp4", 4, "NVFP4"), ("mxfp4", 4, "MXFP4"),
        ("mlx-mxfp4", 4, "MXFP4"), ("gguf-mxfp4_moe", 4, "MXFP4"),
    ],
)  # fmt: skip
def test_rows_of_eight_and_four_bit_floats(name: str, bits: int, row: str) -> None:
    found = load_expectations().expected(name, bits)
    assert found is not None
    assert found.format == row
    assert found.level in ("yes", "usually", "marginal")
    # A row's level is that of its range.
    assert found.high is not None
    assert load_expectations().level("relative_perplexity", found.high) == found.level


def test_every_capability_has_a_margin() -> None:
    table = load_expectations()
    assert table.margins == dict.fromkeys(CAPABILITIES, 0.02)
    assert table.margin("math") == table.margin("something else") == 0.02


def test_published_points_as_relative_perplexities() -> None:
    found = {
        (point.model, point.format, point.bits): round(point.relative_perplexity, 4)
        for point in load_expectations().published
    }
    # llama.cpp's table over 6.2332, the GPTQ readme's over 5.68, by hand.
    assert found["Llama-3-8B", "GGUF Q8_0", 8] == 1.0002
    assert found["Llama-3-8B", "GGUF Q6_K", 6] == 1.0032
    assert found["Llama-3-8B", "GGUF Q4_K_M", 4] == 1.0279
    assert found["Llama-3-8B", "GGUF Q3_K_M", 3] == 1.1051
    assert found["Llama-3-8B", "GGUF Q2_K", 2] == 1.5645
    assert found["LLaMA-7B", "round to nearest", 4] == 1.1074
    assert found["LLaMA-7B", "GPTQ act-order", 4] == 1.0722
    assert found["LLaMA-7B", "GPTQ act-order, groups of 128", 3] == 1.1637


def test_the_built_in_file_says_where_it_is_from() -> None:
    table = load_expectations()
    assert table.source == "built-in"
    assert len(table.digest) == 64


def test_a_file_changes_what_it_names(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "levels: {yes: 1.01}\n"
        "margins: {default: 0.05, math: 0.1}\n"
        "formats:\n"
        "  - {format: gptq, bits: 4, low: 1.0, high: 1.03, level: yes, source: ours}\n"
        "  - {format: compressed-tensors, bits: 4, low: 1.0, level: usually, source: ours}\n",
    )
    table, built_in = load_expectations(path), load_expectations()
    assert table.thresholds["relative_perplexity"].limits == (1.01, 1.12, 1.20)
    assert table.thresholds["relative_perplexity"].source == str(path)
    for axis in ("kl_divergence", "top1_agreement", "overlap"):
        assert table.thresholds[axis] == built_in.thresholds[axis]
    assert table.margins == {**dict.fromkeys(CAPABILITIES, 0.05), "math": 0.1}
    gptq, own, awq = (table.expected(name, 4.0) for name in ("gptq", "compressed-tensors", "awq"))
    assert (gptq and gptq.source, own and own.high) == ("ours", None)
    assert awq == built_in.expected("awq", 4.0)
    assert table.published == built_in.published
    assert table.source == str(path)
    assert table.digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_may_set_any_axis(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "levels:\n"
        "  yes: 1.02\n"
        "  top1_agreement: {yes: 0.98, source: ours}\n"
        "  kl_divergence: {marginal: 0.5}\n",
    )
    table = load_expectations(path)
    limits = {axis: table.thresholds[axis].limits for axis in AXES}
    assert limits == {
        "relative_perplexity": (1.02, 1.12, 1.20),
        "top1_agreement": (0.98, 0.90, 0.80),
        "overlap": (0.97, 0.94, 0.88),
        "kl_divergence": (0.01, 0.06, 0.5),
    }
    assert table.thresholds["top1_agreement"].source == "ours"
    named = write(tmp_path, "levels: {relative_perplexity: {yes: 1.02}}\n")
    assert load_expectations(named).thresholds["relative_perplexity"].limits == (1.02, 1.12, 1.20)


def test_all_mistakes_are_told_with_their_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "levels: {yes: 1.3, usualy: 1.2}\n"
        "margins:\n"
        "  maths: 0.1\n"
        "  code: 3\n"
        "formats:\n"
        "  - {format: GPTQ, bits: 4, low: 2, high: 1, level: fine, source: us}\n"
        "other: 1\n",
    )
    with pytest.raises(UsageError) as fault:
        load_expectations(path)
    lines = fault.value.message.splitlines()
    assert [line.split(":")[1] for line in lines[1:]] == ["1", "3", "4", "6", "7"]
    assert "did you mean `usually`?" in lines[1]
    assert "did you mean `math`?" in lines[2]
    assert "2 points are 0.02" in lines[3]
    assert "got `fine`" in lines[4]
    assert "no such key" in lines[5]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levels: {yes: 1.3}\n", "expected positive limits with yes < usually < marginal"),
        ("levels: {yes: -1}\n", "expected positive limits"),
        ("levels: {yes: nan}\n", "finite"),
        (
            "levels: {overlap: {yes: 0.5}}\n",
            "from 0 to 1 with yes > usually > marginal, got yes 0.5",
        ),
        ("levels: {top1_agreement: {yes: 1.5}}\n", "expected shares from 0 to 1"),
        ("levels: {kl_divergence: {yes: 0.07}}\n", "yes < usually < marginal, got yes 0.07"),
        ("levels: {yes: 1.02, relative_perplexity: {yes: 1.03}}\n", "levels without an axis"),
        ("levels: {kld: {yes: 0.001}}\n", "no such key"),
        ("formats:\n  - {format: A, bits: 4, low: 2, high: 1, level: yes, source: s}\n", "low <="),
        (
            "formats:\n"
            "  - {format: A, bits: 4, low: 1, level: yes, source: s}\n"
            "  - {format: a, bits: 4.0, low: 1, level: yes, source: s}\n",
            "appears twice",
        ),
        ("- 1\n", "expected keys and values"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_expectations(write(tmp_path, text))


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no expectations file"):
        load_expectations(tmp_path / "absent.yaml")


def test_the_example_of_the_documentation(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    table = load_expectations(write(tmp_path, example))
    assert table.thresholds["relative_perplexity"].limits == (1.02, 1.05, 1.20)
    assert table.thresholds["top1_agreement"].limits == (0.97, 0.90, 0.80)
    assert (table.margin("math"), table.margin("code")) == (0.01, 0.03)
    assert table.expected("compressed-tensors", 4.0) is not None


def test_the_table_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")
    for row in load_expectations().formats:
        assert f"| {row.format} | {row.bits:g} | " in page
    for axis, levels in load_expectations().thresholds.items():
        limits = [
            f"{100 * one:.0f}%" if AXES[axis].share else f"{one:.2f}" for one in levels.limits
        ]
        assert f"| {' | '.join(limits)} |" in page


def test_an_empty_file_or_section_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected keys and values"):
        load_expectations(write(tmp_path, ""))
