"""How limits are written, by flag and in files. Oracle: the numbers as written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.checks.measures import MEASURES, parse_limit
from bitloss.checks.rules import read_thresholds, rules_of
from bitloss.errors import UnknownName, UsageError


@pytest.mark.parametrize(
    ("key", "value", "number"),
    [
        ("max_relative_perplexity", "1.05", 1.05),
        ("max_relative_perplexity", 1, 1.0),
        ("max_kld", "0", 0.0),
        ("max_kld", " 5e-3 ", 0.005),
        ("max_kld", ".05", 0.05),
        ("min_top1", "0.9", 0.9),
        ("min_top1", "90%", 0.9),
        ("min_top1", "97.7 %", 0.977),
        ("min_overlap", "97%", 0.97),
        ("max_loss", "2%", 0.02),
        ("max_loss", "4.1%", 0.041),
        ("max_loss", "1e0%", 0.01),
        ("max_loss", 0.01, 0.01),
        ("max_loss", "0%", 0.0),
    ],
)
def test_limits(key: str, value: object, number: float) -> None:
    assert parse_limit(MEASURES[key], value) == number


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("max_relative_perplexity", "0.95"),
        ("max_relative_perplexity", "5%"),
        ("max_relative_perplexity", "nan"),
        ("max_relative_perplexity", float("nan")),
        ("max_relative_perplexity", "inf"),
        ("max_relative_perplexity", True),
        ("max_relative_perplexity", "1,05"),
        ("max_kld", "-0.1"),
        ("max_kld", "1e999"),
        ("max_kld", "5%"),
        ("max_kld", ""),
        ("max_kld", None),
        ("max_kld", {"code": 1}),
        ("max_kld", "1_0"),
        ("min_top1", "90"),
        ("min_top1", "101%"),
        ("min_overlap", "1.2"),
        ("min_top1", "%"),
        ("max_loss", "-1%"),
        ("max_loss", "2"),
        ("max_loss", "nan%"),
        ("max_loss", "two"),
        ("max_loss", "2 points"),
    ],
)
def test_what_is_no_limit(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=r"^expected a |^expected nats"):
        parse_limit(MEASURES[key], value)


def test_all_wrong_flags_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        rules_of({"max_kld": {"code": "x"}, "max_loss": "-2%", "min_top1": "0.9"})
    assert caught.value.message == (
        "--max-kld code: expected nats per token, 0 or more (0.05), got `x`; "
        "--max-loss: expected a share from 0 to 1, or percentage points (0.02, 2%), got `-2%`"
    )


def test_no_such_threshold() -> None:
    with pytest.raises(UnknownName, match="max_kl"):
        rules_of({"max_kl": 1})


def write(folder: Path, text: str) -> Path:
    path = folder / "gate.yaml"
    path.write_text(text)
    return path


def test_file(tmp_path: Path) -> None:
    rules = read_thresholds(
        write(
            tmp_path,
            """\
max_relative_perplexity: 1.05
max_kld: {all: 0.05, "corpus:code": 0.1}
max_loss:
  math: 2%
variants:
  gptq-3:
    max_relative_perplexity: 1.2
""",
        )
    )
    found = [
        (r.measure.key, r.name, r.limit, r.variant, r.origin.rpartition(":")[2]) for r in rules
    ]
    assert found == [
        ("max_relative_perplexity", None, 1.05, None, "1"),
        ("max_kld", None, 0.05, None, "2"),
        ("max_kld", "corpus:code", 0.1, None, "2"),
        ("max_loss", "math", 0.02, None, "4"),
        ("max_relative_perplexity", None, 1.2, "gptq-3", "7"),
    ]


def test_all_mistakes_of_a_file_are_told_with_their_lines(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """\
max_kld: much
max_loss: {math: 2%, logic: -1}
max_relative_perplexty: 1.05
min_top1:
variants:
  gptq-3: {max_kld: nan, min_top: 1}
  gptq-2:
max_kld: 2
""",
    )
    with pytest.raises(UsageError) as caught:
        read_thresholds(path)
    lines = caught.value.message.splitlines()
    assert lines[0] == f"8 errors in the thresholds `{path}`:"
    assert [line.strip().removeprefix(str(path)).partition(": ")[0] for line in lines[1:]] == [
        ":1", ":2", ":3", ":4", ":6", ":6", ":7", ":8",
    ]  # fmt: skip
    assert "did you mean `max_relative_perplexity`?" in caught.value.message


@pytest.mark.parametrize("text", ["variants: {}\n", "variants: {gptq-4: {}}\n"])
def test_file_without_a_threshold(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match="at least one threshold"):
        read_thresholds(write(tmp_path, text))
