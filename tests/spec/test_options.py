"""Declared options: what is generated from them is current, and they are declared consistently."""

# Without `annotations` from __future__, as in every module that declares options.

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest

from bitloss import registry
from bitloss.spec import choices
from bitloss.spec.options import COMPARE, PERPLEXITY, QUANTIZE, Option, declared
from bitloss.spec.run import RunSpec, options_of
from tools.write_options import FILES


@dataclass(frozen=True)
class Inner:
    size: Annotated[int, Option("Size.", (COMPARE,), minimum=2)] = 3
    name: Annotated[str, Option("Name.", flag="--called")] = "x"


@dataclass(frozen=True)
class Outer:
    silent: int = 0
    loud: Annotated[bool, Option("Loud.", (PERPLEXITY,))] = False
    inner: Annotated[Inner, Option("Both.")] = Inner()


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_generated_file_is_current(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == FILES[path](), "run `make options`"


@pytest.mark.parametrize(
    ("keywords", "command", "absent"),
    [
        (choices.CompareOptions, COMPARE, set()),
        (choices.PerplexityOptions, PERPLEXITY, {"corpora"}),
        (choices.QuantizeOptions, QUANTIZE, set()),
    ],
)
def test_typed_keywords_are_the_options(keywords: Any, command: str, absent: set[str]) -> None:
    assert set(keywords.__annotations__) == {o.keyword for o in options_of(command)} - absent


def test_fields_in_order_with_flags() -> None:
    flags = [(option.flag, option.path, option.default) for option in declared(Outer)]
    assert flags == [
        ("--loud", ("loud",), False),
        ("--inner-size", ("inner", "size"), 3),
        ("--called", ("inner", "name"), "x"),
    ]
    assert [option.path for option in declared(Outer, deep=False)] == [("loud",), ("inner",)]


def test_a_command_takes_what_is_declared_for_it() -> None:
    assert [option.flag for option in declared(Outer, COMPARE)] == ["--inner-size", "--called"]
    assert [option.flag for option in declared(Outer, QUANTIZE)] == []


def test_flags_are_unique() -> None:
    flags = [option.flag for option in options_of()]
    assert len(set(flags)) == len(flags)


def test_help_is_a_sentence() -> None:
    for option in options_of():
        help_text = option.option.help
        assert help_text[0].isupper(), option.flag
        assert help_text.endswith("."), option.flag
        assert "\n" not in help_text, option.flag


def test_tables_of_names_exist_and_have_the_default() -> None:
    tables = {option.option.names: option.default for option in options_of() if option.option.names}
    assert set(tables) == {"ENGINES", "PROTOCOLS"}
    for table, default in tables.items():
        names = [default] if isinstance(default, str) else default
        assert {*names} <= {*getattr(registry, table)}


def test_every_field_that_a_user_chooses_is_an_option() -> None:
    # The rest are the models, and what a suite says of its corpora.
    assert set(RunSpec.__dataclass_fields__) - {option.keyword for option in options_of()} == {
        "reference", "tokenizer", "variants", "corpus_limits",
    }  # fmt: skip
