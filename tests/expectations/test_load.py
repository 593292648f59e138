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
from bitloss.expectations import load_expectations
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
    assert load_expectations().level(relative) == level


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
    assert table.levels == ((1.01, "yes"), (1.12, "usually"), (1.20, "marginal"),
                            (math.inf, "problematic"))  # fmt: skip
    assert table.margins == {**dict.fromkeys(CAPABILITIES, 0.05), "math": 0.1}
    gptq, own, awq = (table.expected(name, 4.0) for name in ("gptq", "compressed-tensors", "awq"))
    assert (gptq and gptq.source, own and own.high) == ("ours", None)
    assert awq == built_in.expected("awq", 4.0)
    assert table.published == built_in.published
    assert table.source == str(path)
    assert table.digest == hashlib.sha256(path.read_bytes()).hexdigest()


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
        ("formats:\n  - {format: A, bits: 4, low: 2, high: 1, level: yes, source: s}\n", "low <="),
        (
            "formats:\n"
            "  - {format: A, bits: 4, low: 1, level: yes, source: s}\n"
            "  - {format: a, bits: 4.0, low: 1, level: yes, source: s}\n",
            "there twice",
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
    assert [limit for limit, _ in table.levels[:3]] == [1.02, 1.05, 1.20]
    assert (table.margin("math"), table.margin("code")) == (0.01, 0.03)
    assert table.expected("compressed-tensors", 4.0) is not None


def test_the_table_of_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "verdicts.md").read_text(encoding="utf-8")
    for row in load_expectations().formats:
        assert f"| {row.format} | {row.bits:g} | " in page
    for limit, _ in load_expectations().levels[:-1]:
        assert f"| up to {limit:.2f} |" in page


def test_an_empty_file_or_section_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="begins with `levels"):
        load_expectations(write(tmp_path, ""))
