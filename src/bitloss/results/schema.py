"""The JSON schema of ``comparison.json``, made from the result's models.

python -m bitloss.results.schema     writes it beside this file
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bitloss.results.comparison import SCHEMA_VERSION, Comparison

__all__ = ["PATH", "schema", "schema_text"]

PATH = Path(__file__).with_name("comparison.schema.json")


def schema() -> dict[str, Any]:
    """The schema of what `Comparison.to_json` writes (JSON Schema 2020-12)."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"bitloss comparison, schema version {SCHEMA_VERSION}",
        **{key: value for key, value in Comparison.model_json_schema().items() if key != "title"},
    }


def schema_text() -> str:
    """The schema as it is shipped."""
    return json.dumps(schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(schema_text(), encoding="utf-8")
