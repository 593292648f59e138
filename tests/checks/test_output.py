"""JUnit, Markdown and JSON of a gate. Oracles: junitparser, json, the table's own cells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from bitloss.checks.junit import junit
from bitloss.checks.result import CheckResult, Judgment, Outcome
from bitloss.checks.summary import headline, markdown, table

NASTY = "a|b <script> & \x1b[31m\"'`é\u2028"


def judgment(outcome: Outcome, **changes: Any) -> Judgment:
    figures = {"value": 0.01, "low": -0.02, "high": 0.04, "limit": 0.02}
    place = {"variant": "gptq-4", "measure": "max_loss", "kind": "capability", "name": "math"}
    return Judgment(**{**place, **figures, "outcome": outcome, **changes})


def result(when_undecided: Any = "skip", **changes: Any) -> CheckResult:
    failed = {"measure": "measured", "kind": None, "name": None, "value": None, "low": None,
              "high": None, "limit": None, "reason": "no config.json"}  # fmt: skip
    return CheckResult(
        outcome="fail",
        when_undecided=when_undecided,
        run="runs/x",
        reference="org/model",
        judgments=(
            judgment("pass", measure="min_top1", kind="corpus", name="wikitext-2", limit=0.9,
                      value=0.943, low=0.94, high=0.946),
            judgment("undecided"),
            judgment("fail", variant=NASTY, name="code", value=0.05, low=0.03, high=0.07),
            judgment("fail", variant="awq-4", **failed),
        ),
        **changes,
    )  # fmt: skip


def parsed(found: CheckResult, folder: Path) -> JUnitXml:
    path = folder / "junit.xml"
    path.write_bytes(junit(found))
    return JUnitXml.fromfile(str(path))


def test_junit_as_a_reader_of_it_sees_it(tmp_path: Path) -> None:
    xml = parsed(result(), tmp_path)
    assert (xml.tests, xml.failures, xml.errors, xml.skipped) == (4, 1, 1, 1)
    suites = list(xml)
    assert [suite.name for suite in suites] == ["gptq-4", NASTY.replace("\x1b", "\ufffd"), "awq-4"]
    assert (suites[0].tests, suites[0].skipped) == (2, 1)
    kept, open_, broken, failed = (case for suite in suites for case in suite)
    assert kept.is_passed
    assert kept.name == "same top-1 on wikitext-2 at least 90%"
    assert [type(one) for one in open_.result] == [Skipped]
    assert [type(one) for one in broken.result] == [Failure]
    assert broken.result[0].message == (
        "loss in code: 5.0 [3.0, 7.0] points, at most 2 points allowed"
    )
    assert [(type(one), one.message) for one in failed.result] == [(Error, "no config.json")]


@pytest.mark.parametrize(
    ("policy", "failures", "skipped"), [("skip", 1, 1), ("fail", 2, 0), ("pass", 1, 0)]
)
def test_undecided_in_junit(tmp_path: Path, policy: str, failures: int, skipped: int) -> None:
    xml = parsed(result(policy), tmp_path)
    assert (xml.failures, xml.skipped) == (failures, skipped)


def test_junit_keeps_the_rules_of_its_schema() -> None:
    """The common JUnit XSD: names and counts on suites, names and classes on cases, one outcome."""
    root = ElementTree.fromstring(junit(result()))
    assert root.tag == "testsuites"
    for suite in root:
        assert suite.tag == "testsuite"
        assert {"name", "tests", "failures", "errors", "skipped", "time"} <= set(suite.attrib)
        for case in suite:
            assert {"name", "classname", "time"} <= set(case.attrib)
            assert all(case.get(key) for key in ("name", "classname"))
            assert [child.tag for child in case] in (
                ["failure"], ["error"], ["skipped"], ["system-out"],
            )  # fmt: skip


def test_markdown() -> None:
    lines = markdown(result()).splitlines()
    assert lines[0] == "### ❌ gate: failed (1 passed, 2 failed, 1 undecided)"
    rows = [line for line in lines if line.startswith("| ")]
    assert rows[0] == "|  | variant | metric | of | measured | allowed | outcome |"
    assert rows[-1] == (
        "| ✅ | gptq-4 | same top-1 | wikitext-2 | 94.3% [94.0%, 94.6%] | >= 90% | passed |"
    )
    assert rows[2].startswith(r"| ❌ | a\|b \<script> & [31m")
    assert "- awq-4: measured: no config.json" in lines
    assert all(line.isprintable() for line in lines)


def test_table_has_a_row_for_each_judgment() -> None:
    found = table(result())
    assert [row["outcome"] for row in found.rows] == ["failed", "failed", "undecided", "passed"]
    assert [row["limit"] for row in found.rows] == ["<= 2", "-", "<= 2", ">= 90%"]
    changes = table(result(baseline="runs/old"))
    assert changes.title.startswith("runs/x: changes since runs/old")


def test_json_is_read_back_the_same() -> None:
    text = result().to_json()
    assert text.endswith("}\n")
    assert CheckResult.model_validate(json.loads(text)) == result()
    assert headline(result()) == "gate: failed (1 passed, 2 failed, 1 undecided)"


def test_same_result_same_bytes() -> None:
    assert junit(result()) == junit(result())
    assert b"timestamp" not in junit(result())
