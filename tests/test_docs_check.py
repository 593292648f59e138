"""What docs/check.md shows is taken by the code: thresholds, workflow and command lines."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bitloss.checks import CheckResult, read_thresholds
from bitloss.checks.measures import MEASURES
from bitloss.checks.result import Judgment
from bitloss.cli.main import app
from bitloss.reports.records_csv import TOKEN_COLUMNS

DOCS = Path(__file__).parents[1] / "docs"
PAGE = (DOCS / "check.md").read_text(encoding="utf-8")
CARD = (DOCS / "card.md").read_text(encoding="utf-8")
THRESHOLDS, WORKFLOW = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def steps() -> list[dict[str, Any]]:
    workflow = yaml.safe_load(WORKFLOW)
    (job,) = workflow["jobs"].values()
    return list(job["steps"])


def commands() -> list[str]:
    """Every command line of bitloss on the two pages and in the workflow."""
    shown = re.findall(r"^\$ (bitloss .*?)(?:  +#.*)?$", PAGE + CARD, re.MULTILINE)
    run = [line for step in steps() for line in step.get("run", "").splitlines()]
    return [*shown, *(line for line in run if line.startswith("bitloss "))]


@pytest.mark.parametrize("line", commands())
def test_command_lines_are_taken_by_the_parser(line: str) -> None:
    _, name, *words = shlex.split(line)
    command: Any = typer.main.get_command(app)
    parsed = command.commands[name].make_context(name, words)
    assert all(parsed.params[p.name] is not None for p in parsed.command.params if p.required)


def test_parser_refuses_what_is_wrong() -> None:
    command: Any = typer.main.get_command(app)
    with pytest.raises(Exception, match="--max-klod"):
        command.commands["check"].make_context("check", ["runs/x", "--max-klod", "1"])


def test_thresholds_of_the_page(tmp_path: Path) -> None:
    path = tmp_path / "gate.yaml"
    path.write_text(THRESHOLDS, encoding="utf-8")
    assert len(read_thresholds(path)) == 6


def test_workflow_measures_judges_and_uploads() -> None:
    words = [step.get("run", "").split()[:2] for step in steps()]
    assert words.index(["bitloss", "compare"]) < words.index(["bitloss", "check"])
    (upload,) = (step for step in steps() if "upload-artifact" in step.get("uses", ""))
    check = next(step["run"] for step in steps() if step.get("run", "").startswith("bitloss check"))
    assert shlex.split(check)[shlex.split(check).index("--junit") + 1] in upload["with"]["path"]
    assert upload["if"] == "success() || failure()"


def test_every_threshold_and_field_is_explained() -> None:
    for measure in MEASURES.values():
        assert f"| `{measure.flag}`, `{measure.key}` |" in PAGE
    named = set(re.findall(r"`(\w+)`", PAGE))
    assert set(Judgment.model_fields) - {"variant"} <= named
    assert "outcome" in CheckResult.model_fields
    assert {name for name in TOKEN_COLUMNS if f"`{name}`" not in CARD} == set()
