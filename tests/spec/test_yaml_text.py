"""YAML with bounds: what a few lines may stand for is counted by hand."""

from __future__ import annotations

import pytest
import yaml

from bitloss.spec.yaml_text import YamlFault, compose_yaml, load_yaml


def bomb(levels: int, width: int) -> str:
    """Lists of lists, each of `width` of the one before: width ** levels values."""
    lines = [f"k0: &k0 [{', '.join(['x'] * width)}]"]
    lines += [
        f"k{n}: &k{n} [{', '.join([f'*k{n - 1}'] * width)}]" for n in range(1, levels)
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def test_a_bomb_is_counted_not_built() -> None:
    with pytest.raises(YamlFault, match="expected at most 100,000 values by aliases") as raised:
        compose_yaml(bomb(30, 9))  # 9 ** 30 values
    assert "*name" in raised.value.hint


def test_a_few_aliases_are_no_bomb() -> None:
    text = bomb(4, 9)  # 9 ** 4 = 6,561 values
    assert load_yaml(text) == yaml.safe_load(text)


def test_aliases_that_nest() -> None:
    lines = ["k0: &k0 [x]", *(f"k{n}: &k{n} [*k{n - 1}]" for n in range(1, 1500))]
    with pytest.raises(YamlFault, match="at most 64 deep"):
        compose_yaml("\n".join(lines))


@pytest.mark.parametrize("deep", [80, 5000])
@pytest.mark.parametrize("pair", ["[]", "{}"])
def test_depth(deep: int, pair: str) -> None:
    inner = "" if pair == "[]" else "a: "
    text = f"x: {(pair[0] + inner) * deep}1{pair[1] * deep}\n"
    with pytest.raises(YamlFault, match="at most 64 deep"):
        compose_yaml(text)


def test_an_alias_within_its_own_anchor_ends_there() -> None:
    node = compose_yaml("a: &a [1, *a]\n")
    assert isinstance(node, yaml.MappingNode)


def test_length() -> None:
    with pytest.raises(YamlFault, match="expected at most 1,048,576 characters, got 2,000,003"):
        compose_yaml("x: " + "y" * 2_000_000)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: [", "line 1: not YAML: "),
        ("a: b: c", "line 1: not YAML: mapping values are not allowed here"),
        ('"\\U99999999"', "not YAML"),
        ("a\0", "not YAML"),
        ("a: 2001-13-45", "not YAML"),
        ("[a]: 1\n? {b: 1}\n: 2", "not YAML"),
        ("a: !!python/object:os.system x", "not YAML: could not determine a constructor"),
    ],
)
def test_what_is_no_yaml(text: str, words: str) -> None:
    with pytest.raises(YamlFault) as raised:
        load_yaml(text)
    assert words in str(raised.value)
    assert raised.value.hint
