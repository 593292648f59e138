"""`load_task_file`: a user's task file read, checked as a whole, and made into a `Task`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast

from bitloss import registry
from bitloss.errors import TaskDataError
from bitloss.requests import Decoding
from bitloss.spec.documents import (
    Document,
    Issue,
    raise_issues,
    read_document,
    validate,
)
from bitloss.spec.fingerprint import canonical_json, sha256_files, sha256_text
from bitloss.tasks.base import Item, Task, TaskFacts
from bitloss.tasks.custom import grading
from bitloss.tasks.custom.chat_rows import Tools, read_tools
from bitloss.tasks.custom.entry_points import with_entry_points
from bitloss.tasks.custom.examples import NEEDS_CHAT
from bitloss.tasks.custom.items import Solved, TaskContent, build, solve
from bitloss.tasks.custom.refusals import NAME
from bitloss.tasks.custom.rows import FILE, RowErrors, Rows, check_fields
from bitloss.tasks.custom.schema import (
    RULES,
    Choice,
    Contains,
    Definition,
    ExactMatch,
    Generation,
    GoldLikelihood,
    PythonTests,
    Refusal,
    RegexMatch,
    ToolCall,
)
from bitloss.tasks.custom.sources import find_sources, read_sources
from bitloss.tasks.custom.template import parse_template
from bitloss.tasks.custom.tool_calls import MARKS

__all__ = ["assemble", "load_task_file", "read_definition"]

_VERSION = 3  # 1 failed right programs with answers of some types, 2 took the first of programs
"""Of prompts and grading: raised whenever a change here may change a number."""
_VERSIONS: Mapping[type, int] = MappingProxyType({
    ToolCall: _VERSION + 1,  # 3 did not read Qwen3-Coder's calls
    Refusal: _VERSION + 1,  # 3 knew English phrases only
})  # fmt: skip
"""Of rules that have changed since."""
_HINT = "run `bitloss new-task NAME` for an example that explains every key"
_BARE_CAPABILITY = "knowledge (English)"

_GRADERS: dict[type, Any] = {
    Choice: grading.grade_choice,
    ExactMatch: grading.grade_exact_match,
    RegexMatch: grading.grade_regex,
    Contains: grading.grade_contains,
    PythonTests: grading.grade_python_tests,
    GoldLikelihood: grading.grade_gold_likelihood,
    ToolCall: grading.grade_tool_call,
    Refusal: grading.grade_refusal,
}
_DECODING: dict[type, tuple[int, tuple[str, ...]]] = {
    ExactMatch: (64, ("\n",)),
    RegexMatch: (256, ()),
    Contains: (256, ()),
    PythonTests: (512, ()),
    ToolCall: (256, ()),
    Refusal: (128, ()),
}
"""Tokens and stop texts where the file does not say."""


def load_task_file(path: Path) -> Task:
    """Read a task of the user's.

    Args:
        path: a YAML file (docs/tasks.md has its keys), or a JSONL file with ``prompt`` and
            ``answer``, and perhaps ``options``, in every row.

    Returns:
        The task; its data have been read and checked, and are what `Task.load` gives back.

    Raises:
        UsageError: the task file has mistakes, all of them reported with their lines, those of the
            data as well.
        TaskDataError: the task file is right and its data are not.
    """
    bare = _is_bare(path)
    document, mistakes = read_definition(path)
    definition, invalid = validate(Definition, document)
    mistakes += invalid + list(_contradictions(document, definition))
    data_mistakes: list[Issue] = []
    source = _rows(document, "items", "data", data_mistakes)
    shots = _rows(document, "shots", "shots", data_mistakes)
    errors = RowErrors()
    by_subject = definition is not None and bool(definition.shots_per_subject)
    mistakes += check_fields(
        document, [rows for rows in (source, shots) if rows], errors, by_subject=by_subject
    )
    if definition is not None and shots is not None:
        mistakes += _unsaid(document, definition, shots)
    items: tuple[Item, ...] = ()
    notes: list[str] = []
    tools = _tools(definition, document, data_mistakes)
    if definition is not None and source is not None and not mistakes:
        source, left_out = with_entry_points(definition, source, document, errors)
        examples: list[Solved] = []
        if shots is not None:
            examples, more = solve(definition, shots, document, errors)
            mistakes += more
        solved, more = solve(definition, source, document, errors, tools)
        mistakes += more
        items = build(definition, source, solved, examples, errors)
        notes = _notes(source, shots, bare=bare) + left_out + errors.notes(source)
        if isinstance(definition.rule, Refusal):
            own = bool(definition.rule.patterns)
            notes.append(
                f"refusals are recognized by {'patterns of the task itself' if own else NAME}"
            )
    data_mistakes += errors.mistakes(document)
    if mistakes:
        raise_issues(path, "task", mistakes + data_mistakes, hint=_HINT)
    raise_issues(
        path, "task", data_mistakes, hint="fix these rows and try again", error=TaskDataError
    )
    assert definition is not None
    assert source is not None
    digests = [sha256_files([path]), *(rows.digest for rows in (source, shots) if rows)]
    digests += [tools.digest] if tools is not None else []
    places = _places(definition, document, source)
    content = TaskContent(items, sha256_text("\n".join(digests)), str(path), tuple(notes), places)
    return assemble(definition, content, path)


def read_definition(path: Path) -> tuple[Document, list[Issue]]:
    """The keys of a task file, those that a JSONL file alone stands for included.

    Raises:
        UsageError: it cannot be read.
    """
    if _is_bare(path):
        return _bare_document(path)
    return read_document(path, "task", rows=("items", "shots"))


def assemble(definition: Definition, content: TaskContent, path: Path) -> Task:
    """The task of a definition and its items.

    Args:
        definition: of the task file.
        content: the items, which may be none: the task then grades what is asked elsewhere.
        path: of the task file.
    """
    grade = partial(_GRADERS[type(definition.rule)], definition.rule)
    program = grading.program if isinstance(definition.rule, PythonTests) else None
    task = Task(_facts(definition, content.items, path), content.load, grade, program)
    return _with_chat(task, content)


def _is_bare(path: Path) -> bool:
    """Whether a file is one of rows alone."""
    return path.name.lower().removesuffix(".gz").endswith(".jsonl")


def _with_chat(task: Task, content: TaskContent) -> Task:
    """The task with a chat form where stop strings made for a completion would cut a fence."""
    decoding = task.facts.decoding
    if task.program is None or decoding is None or not decoding.stop:
        return task
    note = "with the chat template, the task's stop strings are not used: they would cut a fence"
    content = replace(content, notes=(*content.notes, note))
    facts = replace(task.facts, decoding=replace(decoding, stop=()))
    return replace(task, chat=replace(task, facts=facts, load=content.load))


def _tools(
    definition: Definition | None, document: Document, mistakes: list[Issue]
) -> Tools | None:
    if definition is None or definition.tool_call is None:
        return None
    try:
        return read_tools(definition.tool_call, document.path.parent)
    except TaskDataError as error:
        mistakes.append(document.mistake(error.message, "tool_call", "tools", hint=error.hint))
        return None


def _places(definition: Definition, document: Document, source: Rows) -> tuple[str, ...]:
    """By item, where its tests stand: in the task file, if all items have the same."""
    rule = definition.rule
    if not isinstance(rule, PythonTests):
        return ()
    if not rule.tests.fields:
        line = document.mistake("", "python_tests", "tests").line
        return (f"{document.path}:{line}",) * len(source.rows)
    return tuple(source.place(row, document) for row in range(len(source.rows)))


def _bare_document(path: Path) -> tuple[Document, list[Issue]]:
    """What a JSONL file without a YAML file means."""
    first = read_sources(find_sources(str(path.absolute()), path.parent), "data").rows[0]
    name = re.sub(r"[^\w.-]+", "-", path.name.removesuffix(".gz").removesuffix(".jsonl"))
    rule: dict[str, Any] = {"exact_match": {"gold": "answer"}}
    if "options" in first:
        rule = {"choice": {"options": "{options}", "gold": "answer"}}
    value = {
        "name": name.strip("-.") or "task",
        "capability": _BARE_CAPABILITY,
        "data": path.name,
        "prompt": "{prompt}",
        **rule,
    }
    return Document(path, value), []


def _contradictions(document: Document, definition: Definition | None) -> Iterator[Issue]:
    """Keys that do not go together; read from the bare file, so that they are always reported."""
    value = document.value
    yield from _exactly_one(document, ("data", "items"), "to say where the rows are")
    yield from _exactly_one(document, RULES, "to say how answers are graded")
    yield from _exactly_one(document, ("prompt", "messages"), "as the question")
    rules = [rule for rule in RULES if rule in value]
    yield from _chat_contradictions(document, rules)
    if "generation" in value and rules and set(rules) <= {"choice", "gold_likelihood"}:
        yield document.mistake(f"`{rules[0]}` generates no text; remove it", "generation")
    if "answer" in value and rules == ["choice"]:
        yield document.mistake("with `choice` the right option is the answer", "answer")
    if "shots" in value and rules == ["python_tests"] and "answer" not in value:
        yield document.mistake("expected `answer` too: what a solved example answers", "shots")
    tests = value.get("python_tests")
    if isinstance(tests, dict) and not ({"entry_point"} & tests.keys() or "answer" in value):
        yield document.mistake(
            "expected `entry_point`: the name of the function that the tests call; or `answer`, in "
            "which it is then looked for",
            "python_tests",
        )
    if value.get("name") in registry.TASKS:
        yield document.mistake("bitloss has a task of that name; choose another", "name")
    try:
        tail = parse_template(value.get("prompt")).tail
    except ValueError:
        tail = ""
    glue = definition.glue if definition is not None and len(rules) == 1 else ""
    if tail != tail.rstrip() and glue[:1].isspace():
        yield document.mistake(
            "ends in white space, and `delimiter` adds some; write `|-` in place of `|`, or "
            'add `delimiter: ""`',
            "prompt",
        )


def _chat_contradictions(document: Document, rules: list[str]) -> Iterator[Issue]:
    """Keys that do not go with the rules that need a chat template, or need one themselves."""
    for_chat = bool(rules) and set(rules) <= set(NEEDS_CHAT)
    if "messages" in document.value and rules and not for_chat:
        wanted = " and ".join(f"`{rule}`" for rule in NEEDS_CHAT)
        yield document.mistake(f"only {wanted} take conversations; write a `prompt`", "messages")
    for key in ("shots", "answer", "delimiter"):
        if for_chat and document.value.get(key):
            yield document.mistake(f"`{rules[0]}` takes none; remove it", key)


def _unsaid(document: Document, definition: Definition, shots: Rows) -> Iterator[Issue]:
    """Examples of which the task file has to say whose they are."""
    if definition.shots_per_subject and definition.subject is None:
        text = "expected `subject` too: the field that says which examples are whose"
        yield document.mistake(text, "shots_per_subject")
    if definition.shots_per_subject is None and len(shots.files) > 1:
        text = (
            f"expected `shots_per_subject` with examples of {len(shots.files)} files: true gives "
            f"an item those of its subject, false all {len(shots.rows):,}"
        )
        yield document.mistake(text, "shots")


def _exactly_one(document: Document, names: tuple[str, ...], purpose: str) -> Iterator[Issue]:
    there = [name for name in names if document.value.get(name) is not None]
    wanted = f"expected one of {', '.join(f'`{name}`' for name in names)} {purpose}"
    if len(there) > 1:
        yield document.mistake(f"{wanted}, got {' and '.join(there)}", there[1])
    # The schema reports a misspelt one as such.
    misspelt = any(difflib.get_close_matches(key, names, 1, 0.6) for key in document.value)
    if not there and not misspelt:
        yield document.mistake(f"{wanted}, got none")


def _rows(document: Document, inline: str, file: str, mistakes: list[Issue]) -> Rows | None:
    """Rows under a key or in the file that it names; None where there are none to be had."""
    there = document.value.get(inline)
    if isinstance(there, list) and there and not (inline == file and isinstance(there[0], str)):
        rows = tuple(row for row in there if isinstance(row, dict))
        return Rows(rows, inline) if len(rows) == len(there) else None
    named = document.value.get(file)
    listed = named if isinstance(named, list) else [named]
    names = [name for name in listed if isinstance(name, str) and name]
    if not names or len(names) < len(listed):
        return None
    columns = document.value.get("columns")
    known = [name for name in columns if isinstance(name, str)] if isinstance(columns, list) else []
    try:
        return read_sources(find_sources(names, document.path.parent), file, known)
    except TaskDataError as error:
        mistakes.append(document.mistake(error.message, file, hint=error.hint))
        return None


def _notes(source: Rows, shots: Rows | None, *, bare: bool) -> list[str]:
    notes = []
    if bare:
        notes.append(
            f"capability assumed to be {_BARE_CAPABILITY}; a YAML file beside the data can set it"
        )
    examples = {_content(row) for row in shots.rows} if shots else set()
    if repeated := sum(_content(row) in examples for row in source.rows):
        notes.append(f"{repeated} of the {len(source.rows):,} items are also examples")
    return notes


def _content(row: Mapping[str, Any]) -> str:
    """A row less the name of its file, which another may have it under."""
    return canonical_json({name: row[name] for name in row if name != FILE})


def _facts(definition: Definition, items: tuple[Item, ...], path: Path) -> TaskFacts:
    rule = definition.rule
    decoding = None
    generation = definition.generation or Generation()
    if definition.generates:
        tokens, stop = _DECODING[type(rule)]
        marks = MARKS if isinstance(rule, ToolCall) else ()
        decoding = Decoding(
            max_new_tokens=generation.max_new_tokens or tokens,
            stop=stop if generation.stop is None else generation.stop,
            temperature=generation.temperature,
            top_p=generation.top_p,
            keep=marks,
        )
    chance = None
    if isinstance(rule, Choice) and items:
        chance = sum(1 / len(item.options) for item in items) / len(items)
    return TaskFacts(
        name=definition.name,
        capability=cast(Any, definition.capability),
        metrics=grading.metrics_of(rule, generation.samples),
        source=str(path),
        license=definition.license,
        n_items=len(items),
        version=_VERSIONS.get(type(rule), _VERSION),
        decoding=decoding,
        samples=generation.samples,
        sampling=_sampling(definition),
        chance=chance,
        needs_sandbox=isinstance(rule, PythonTests),
        needs_chat=isinstance(rule, ToolCall | Refusal),
    )


def _sampling(definition: Definition) -> Literal["pass@k", "mean"] | None:
    if isinstance(definition.rule, PythonTests):
        return "pass@k"
    return "mean" if definition.generates else None
