"""What docs/results.md shows is a result, and every name in it exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema

import bitloss
from bitloss.results import Comparison
from bitloss.results.schema import schema

PAGE = (Path(__file__).parents[1] / "docs" / "results.md").read_text(encoding="utf-8")


def example() -> str:
    (text,) = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


def test_the_example_is_a_result_to_the_byte() -> None:
    # Oracle: the jsonschema package.
    jsonschema.validate(json.loads(example()), schema())
    assert Comparison.from_json(example()).to_json() == example()


def test_parts_and_version_are_the_documents() -> None:
    table = PAGE.partition("| part |")[2].partition("\n\n")[0]
    parts = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    assert parts == set(Comparison.model_fields) - {"schema_version"}
    version = json.loads(example())["schema_version"]
    assert f"Its `schema_version` is {version};" in PAGE


def test_every_public_function_is_named() -> None:
    table = PAGE.partition("| function |")[2].partition("\n\n")[0]
    named = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    public = {name for name in bitloss.__all__ if name[0].islower()}
    assert named == public
    assert all(callable(getattr(bitloss, name)) for name in public)
