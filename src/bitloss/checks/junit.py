"""A gate's result as JUnit XML, which build servers show and keep.

The form is that of the common schema (one `testsuites` root, a `testsuite` per variant, a
`testcase` per threshold) without times and hosts: the same run gives the same bytes.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bitloss.checks.result import CheckResult, Judgment
from bitloss.checks.summary import limit, measured, subject

__all__ = ["junit"]

# What XML 1.0 cannot hold in any spelling.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(result: CheckResult) -> bytes:
    """The document, UTF-8.

    A failed threshold is a ``failure``, a variant that was not measured an ``error``. An undecided
    threshold is ``skipped``, a ``failure`` or passed, as `CheckResult.when_undecided` says.
    """
    root = ElementTree.Element("testsuites", name="bitloss check")
    by_variant: dict[str, list[Judgment]] = {}
    for judgment in result.judgments:
        by_variant.setdefault(judgment.variant, []).append(judgment)
    for variant, judgments in by_variant.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_text(variant))
        for judgment in judgments:
            _case(suite, judgment, result)
        _count(suite, [suite])
    _count(root, list(root))
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return bytes(text) + b"\n"


def _case(suite: ElementTree.Element, judgment: Judgment, result: CheckResult) -> None:
    limited = judgment.limit is not None
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_text(f"bitloss.{judgment.variant}"),
        name=_text(f"{subject(judgment)} {limit(judgment)}" if limited else subject(judgment)),
        time="0",
    )
    message = _text(_message(judgment, change=result.baseline is not None))
    tag = _tag(judgment, result)
    if tag is None:
        ElementTree.SubElement(case, "system-out").text = message
        return
    outcome = ElementTree.SubElement(case, tag, message=message)
    if tag != "skipped":
        outcome.set("type", judgment.measure)
        outcome.text = message


def _message(judgment: Judgment, *, change: bool) -> str:
    if judgment.kind is None:
        return judgment.reason
    why = f" ({judgment.reason})" if judgment.reason else ""
    return (
        f"{subject(judgment)}: {measured(judgment, change=change)}, {limit(judgment)} allowed{why}"
    )


def _tag(judgment: Judgment, result: CheckResult) -> str | None:
    if judgment.outcome == "undecided":
        return {"skip": "skipped", "fail": "failure", "pass": None}[result.when_undecided]
    if judgment.outcome == "pass":
        return None
    return "error" if judgment.kind is None else "failure"


def _count(element: ElementTree.Element, suites: list[ElementTree.Element]) -> None:
    """Attributes with the numbers of what is in the suites."""
    counts = {
        "tests": "testcase", "failures": "testcase/failure", "errors": "testcase/error",
        "skipped": "testcase/skipped",
    }  # fmt: skip
    for attribute, path in counts.items():
        element.set(attribute, str(sum(len(suite.findall(path)) for suite in suites)))
    element.set("time", "0")


def _text(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
