"""A gate's result as JUnit XML, which build servers show and keep.

The form is that of the common schema (one `testsuites` root, a `testsuite` for each variant, a
`testcase` for each threshold) without times and hosts: the same run gives the same bytes.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from bitloss.check.result import CheckResult, Judgement
from bitloss.check.words import figure, limit, subject

__all__ = ["junit"]

# What XML 1.0 cannot hold in any spelling.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(result: CheckResult) -> bytes:
    """The document, UTF-8.

    A failed threshold is a ``failure``, a variant that was not measured an ``error``. An undecided
    threshold is ``skipped``, a ``failure`` or passed, as `CheckResult.when_undecided` says.
    """
    root = ElementTree.Element("testsuites", name="bitloss check")
    by_variant: dict[str, list[Judgement]] = {}
    for judgement in result.judgements:
        by_variant.setdefault(judgement.variant, []).append(judgement)
    for variant, judgements in by_variant.items():
        suite = ElementTree.SubElement(root, "testsuite", name=_text(variant))
        for judgement in judgements:
            _case(suite, judgement, result)
        _count(suite, [suite])
    _count(root, list(root))
    ElementTree.indent(root, " ")
    text = ElementTree.tostring(root, encoding="UTF-8", xml_declaration=True)
    return bytes(text) + b"\n"


def _case(suite: ElementTree.Element, judgement: Judgement, result: CheckResult) -> None:
    allowed = limit(judgement)
    name = subject(judgement)
    if judgement.limit is not None:
        name += f" {allowed}"
    case = ElementTree.SubElement(
        suite,
        "testcase",
        classname=_text(f"bitloss.{judgement.variant}"),
        name=_text(name),
        time="0",
    )
    said = f"{subject(judgement)}: {figure(judgement)}, {allowed} allowed"
    if judgement.kind is None:
        said = judgement.reason
    elif judgement.reason:
        said += f" ({judgement.reason})"
    tag = _tag(judgement, result)
    if tag is None:
        ElementTree.SubElement(case, "system-out").text = _text(said)
        return
    found = ElementTree.SubElement(case, tag, message=_text(said))
    if tag != "skipped":
        found.set("type", judgement.measure)
        found.text = _text(said)


def _tag(judgement: Judgement, result: CheckResult) -> str | None:
    if judgement.outcome == "undecided":
        return {"skip": "skipped", "fail": "failure", "pass": None}[result.when_undecided]
    if judgement.outcome == "pass":
        return None
    return "error" if judgement.kind is None else "failure"


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
