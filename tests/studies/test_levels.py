"""The built-in studies' levels and recipes. Oracle: the recipe names of `bitloss.spec.recipe`."""

from __future__ import annotations

import pytest

from bitloss.errors import UnknownName, UsageError
from bitloss.studies.act_order.study import ACT_ORDER
from bitloss.studies.base import FactorLevel
from bitloss.studies.bits.study import BITS
from bitloss.studies.group_size.study import GROUP_SIZE
from bitloss.studies.run import choose_levels
from bitloss.studies.sweep import recipe_sweep


def test_bits_compares_within_a_method() -> None:
    series: dict[str, list[str]] = {}
    for level in BITS.levels:
        series.setdefault(level.series, []).append(level.recipe)
    assert series == {
        "gptq": ["gptq-8", "gptq-4", "gptq-3", "gptq-2"],
        "awq": ["awq-4"],
        "gguf": [
            "gguf-q8_0", "gguf-q6_k", "gguf-q5_k_m", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k",
        ],
    }  # fmt: skip


def test_bits_takes_any_recipe() -> None:
    assert BITS.parse("gptq-4-g64@code") == FactorLevel(
        "gptq-4-g64@code", "gptq-4-g64@code", "gptq"
    )


def test_group_size_changes_nothing_else() -> None:
    assert [level.recipe for level in GROUP_SIZE.levels] == [
        "gptq-4-g32", "gptq-4-g64", "gptq-4-g128", "gptq-4-row",
    ]  # fmt: skip
    assert GROUP_SIZE.parse("16").recipe == "gptq-4-g16"


def test_a_recipe_that_does_not_exist_is_a_level_that_does_not() -> None:
    """The hint names values of `--vary`, not recipes."""
    sweep = recipe_sweep(
        name="kinds", factor="type", values=("q4_0", "q4_1"), columns=("loss",),
        recipe=lambda value: f"gguf-{value}",
    )  # fmt: skip
    with pytest.raises(UnknownName, match="unknown level of the study `kinds` `q4_9`") as caught:
        sweep.parse("q4_9")
    assert caught.value.hint.endswith("known: q4_0, q4_1")
    with pytest.raises(UnknownName, match="unknown recipe `gguf-q4_9`"):
        BITS.parse("gguf-q4_9")


def test_a_factor_that_the_format_lacks_is_named() -> None:
    with pytest.raises(UnknownName) as caught:
        GROUP_SIZE.parse("gguf-q4_k_m-g64")
    assert caught.value.hint.endswith("types of GGUF have groups of a fixed size")
    with pytest.raises(UnknownName) as caught:
        ACT_ORDER.parse("awq-4-act")
    assert caught.value.hint.endswith("AWQ and GGUF have no act-order")


@pytest.mark.parametrize("text", ["big", "0", "-1", "g32", "32 "])
def test_group_size_names_what_it_takes(text: str) -> None:
    with pytest.raises(UnknownName, match="level of the study `group-size`") as caught:
        GROUP_SIZE.parse(text)
    assert "128, 32, 64, row" in caught.value.hint


def test_levels_asked_for_keep_their_order() -> None:
    assert [level.name for level in choose_levels(GROUP_SIZE, ["row", "64"])] == ["row", "64"]
    assert choose_levels(GROUP_SIZE, None) == GROUP_SIZE.levels


@pytest.mark.parametrize(
    ("vary", "message"), [(["64", "64"], "`64` is given twice"), ([], "levels of group size")]
)
def test_levels_that_cannot_be_compared(vary: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        choose_levels(GROUP_SIZE, vary)
