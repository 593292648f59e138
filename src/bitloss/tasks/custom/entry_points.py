"""The function that tests call, found where the data does not name it (as in MBPP).

It is the name that the right answer defines and the tests call. Of a solution the tests can call
one name (`bitloss.sandbox`): rows whose tests take several (a class, and a function of its
instances) are left out, and counted.
"""

from __future__ import annotations

import ast
from dataclasses import replace

from bitloss.spec.documents import Document
from bitloss.tasks.custom.rows import RowErrors, Rows
from bitloss.tasks.custom.schema import Definition
from bitloss.tasks.custom.template import FieldFault, Template

__all__ = ["FIELD", "with_entry_points"]

FIELD = "entry_point"
"""Field of a row that names it."""


def with_entry_points(
    definition: Definition, source: Rows, document: Document, errors: RowErrors
) -> tuple[Rows, list[str]]:
    """The rows with a field `FIELD`, where the task file does not say what the entry point is.

    Args:
        definition: of the task.
        source: its rows.
        document: the task file.
        errors: rows whose entry point cannot be found are added to it.

    Returns:
        The rows, less those whose tests call several names of the solution; and a note of them.
    """
    rule = definition.python_tests
    if rule is None or rule.entry_point is not None or definition.answer is None:
        return source, []
    kept, left_out = [], []
    rows = [dict(row) for row in source.rows]
    for number, row in enumerate(rows):
        if FIELD in row:
            kept.append(number)
            continue
        try:
            parts = (definition.answer, rule.tests, rule.support)
            answer, tests, support = (_text(one, row, definition.list_separator) for one in parts)
        except FieldFault:  # `solve` reports it
            answer = tests = support = ""
        names = _called(answer, tests, support)
        if len(names) > 1:
            left_out.append((number, names))
            continue
        if answer and not names:
            errors.add(source, number, "the tests call nothing that the right answer defines")
        row[FIELD] = names[0] if names else ""
        kept.append(number)
    if not kept:  # nothing would be left to be told about
        return source, []
    notes = []
    if left_out:
        number, names = left_out[0]
        notes.append(
            f"{len(left_out):,} of {len(rows):,} rows are left out: their tests call several names "
            f"of the solution, of which tests have one ({source.place(number, document)}: "
            f"{', '.join(names)})"
        )
    origins = tuple(source.origins[number] for number in kept) if source.origins else ()
    return replace(source, rows=tuple(rows[number] for number in kept), origins=origins), notes


def _text(template: Template | None, row: dict[str, object], joint: str) -> str:
    return "" if template is None else template.fill(row, joint=joint)


def _called(answer: str, tests: str, support: str) -> list[str]:
    """Names that the answer defines at its margin and the tests, or what they need, use; none if
    either is no Python.
    """
    try:
        solution, *others = (ast.parse(text.replace("\r\n", "\n")) for text in
                             (answer, support, tests))  # fmt: skip
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    own = {name for node in solution.body for name in _defined(node)}
    there = {name for tree in others for node in tree.body for name in _defined(node)}
    used = [node.id for tree in others for node in ast.walk(tree) if isinstance(node, ast.Name)]
    return list(dict.fromkeys(name for name in used if name in own - there))


def _defined(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.Assign):
        return [target.id for target in node.targets if isinstance(target, ast.Name)]
    return []
