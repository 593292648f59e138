"""Recipes' names. Oracle: the table of each quantizer's module, written out here."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from types import MappingProxyType, ModuleType
from typing import Any

import pytest

from bitloss import registry
from bitloss.errors import UnknownName, UsageError
from bitloss.quantizers import Quantizer, quantizer_of
from bitloss.spec.calibration import Calibration
from bitloss.spec.fingerprint import canonical_json
from bitloss.spec.recipe import Recipe, is_recipe_name, parse_recipe

GROUPED = {"group_size": None, "desc_act": False, "act_group_aware": False}
NAMES: list[tuple[str, dict[str, Any]]] = [
    ("gptq-4", {**GROUPED, "bits": 4}),
    ("gptq-4-g128", {**GROUPED, "bits": 4, "group_size": 128}),
    ("gptq-4-g64-act", {**GROUPED, "bits": 4, "group_size": 64, "desc_act": True}),
    ("gptq-8-row", {**GROUPED, "bits": 8, "group_size": -1}),
    ("gptq-3-g32-aga", {**GROUPED, "bits": 3, "group_size": 32, "act_group_aware": True}),
    ("awq-4-g64", {**GROUPED, "bits": 4, "group_size": 64}),
    ("gguf-q4_k_m", {"file_type": "q4_k_m", "imatrix": False}),
    ("gguf-iq2_xxs-imatrix", {"file_type": "iq2_xxs", "imatrix": True}),
]


@pytest.mark.parametrize(("name", "options"), NAMES)
def test_a_name_is_read_and_written(name: str, options: dict[str, Any]) -> None:
    recipe = parse_recipe(name, seed=3)
    assert recipe.method == name.partition("-")[0]
    assert asdict(recipe.options) == options
    assert recipe.name == name
    calibrates = not name.startswith("gguf") or options["imatrix"]
    assert recipe.calibration == (Calibration() if calibrates else None)
    # A file that no random number decides is not made again for another seed.
    assert recipe.seed == (3 if calibrates else 0)


@pytest.mark.parametrize(
    ("name", "shortest"),
    [("gptq-4-act-g64", "gptq-4-g64-act"), ("gptq-4@web", "gptq-4")],
)
def test_the_name_is_the_shortest(name: str, shortest: str) -> None:
    assert parse_recipe(name).name == shortest


@pytest.mark.parametrize("name", ["gptq-4", "gptq-4@code", "awq-4@./my text.txt", "gguf-q8_0"])
def test_plain_values_give_the_recipe_back(name: str) -> None:
    recipe = parse_recipe(name, calibration=Calibration("wiki", 4, 64), seed=2)
    values = json.loads(canonical_json(recipe.to_dict()))
    calibration = Calibration(**values["calibration"]) if values["calibration"] else Calibration()
    assert parse_recipe(values["name"], calibration=calibration, seed=values["seed"]) == recipe
    assert values["options"] == asdict(recipe.options)


def test_the_corpus_in_the_name_replaces_the_calibrations_own() -> None:
    calibration = Calibration("wiki", 4, 64)
    assert parse_recipe("gptq-4", calibration=calibration).calibration == calibration
    recipe = parse_recipe("gptq-4@a/b@c.txt", calibration=calibration)
    assert recipe.calibration == Calibration("a/b@c.txt", 4, 64)
    assert recipe.name == "gptq-4@a/b@c.txt"


@pytest.mark.parametrize(
    ("name", "error", "hint"),
    [
        ("gptq-5", "GPTQ is made with 2, 3, 4, 8 bits, got 5", "use `gptq-8`"),
        ("awq-8", "AWQ is made with 4 bits, got 8", "use `awq-4`"),
        ("gptq-4-act-aga", "expected one of `-act` and `-aga`, got both", "remove one"),
        ("gguf-q4_k_m@code", "`gguf-q4_k_m@code` names a calibration text but uses none",
         "add `-imatrix`: gguf-q4_k_m-imatrix@code"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed(name: str, error: str, hint: str) -> None:
    with pytest.raises(UsageError, match=error) as caught:
        parse_recipe(name)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("gpqt-4", "did you mean `gptq-4`"),
        ("gptq", "did you mean `gptq-"),
        ("gptq-", "did you mean `gptq-"),
        ("gptq-four", "known: gptq-2, gptq-3"),
        ("gptq-4-", "did you mean `gptq-4`"),
        ("gptq-4@", "did you mean `gptq-4`"),
        ("gptq-4-g0", "the options of gptq are -g<size>, -row, -act, -aga"),
        ("awq-4-act", "remove `-act`: the options of awq are -g<size>, -row"),
        ("gguf-q4_x", "`gguf-q4_"),
        ("gguf-q4_k_m-fast", "`gguf-q4_k_s`"),
        ("nf4", "known: "),
    ],
)
def test_a_name_that_is_not_known(name: str, hint: str) -> None:
    with pytest.raises(UnknownName, match=f"unknown recipe `{name}`".rstrip("@`")) as caught:
        parse_recipe(name)
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("gptq-4", True), ("gptq-99", True), ("gguf-q8_0", True), ("gptq-4@./a/b.txt", True),
        ("gptq-4/x", False), ("gptq", False), ("gptq-", False), ("mygptq-4", False),
        ("GPTQ-4", True), ("./gptq-4", False), ("exl3-4", False),
    ],
)  # fmt: skip
def test_what_looks_like_a_recipe(text: str, is_one: bool) -> None:
    assert is_recipe_name(text) is is_one


def register(monkeypatch: pytest.MonkeyPatch, **plugs: Quantizer) -> None:
    module = ModuleType("plugs_of_a_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    lines = {}
    for attribute, plug in plugs.items():
        setattr(module, attribute, plug)
        lines[plug.method] = f"{module.__name__}:{attribute}"
    monkeypatch.setattr(registry, "QUANTIZERS", MappingProxyType({**registry.QUANTIZERS, **lines}))


def test_a_methods_name_may_begin_with_anothers(monkeypatch: pytest.MonkeyPatch) -> None:
    gptq = quantizer_of(parse_recipe("gptq-4"))
    register(monkeypatch, A=replace(gptq, method="gptq-v2"))
    assert parse_recipe("gptq-v2-4-g64").method == "gptq-v2"
    assert parse_recipe("gptq-v2-4-g64").name == "gptq-v2-4-g64"
    assert parse_recipe("gptq-4").method == "gptq"


def test_the_quantizer_says_whether_the_seed_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    gguf = quantizer_of(parse_recipe("gguf-q8_0"))
    register(monkeypatch, A=replace(gguf, method="drawn", needs_seed=lambda options: True))
    options = gguf.parse("q8_0")
    assert parse_recipe("drawn-q8_0", seed=7) == Recipe("drawn", options, None, 7)
    assert parse_recipe("gguf-q8_0", seed=7) == Recipe("gguf", options)
