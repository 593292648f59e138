"""A definition and its rows made into items."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bitloss.errors import UsageError
from bitloss.spec.documents import Document, Issue
from bitloss.tasks.base import Item, Prompt, TaskItems
from bitloss.tasks.custom.chat_rows import RowFault, Tools, expected_of, messages_of, tools_of
from bitloss.tasks.custom.entry_points import FIELD
from bitloss.tasks.custom.golds import AmbiguousGold, describe, index_of, infer_gold_kind
from bitloss.tasks.custom.rows import RowErrors, Rows
from bitloss.tasks.custom.schema import Choice, Definition, PythonTests, Refusal, ToolCall
from bitloss.tasks.custom.template import FieldFault, Template, as_text

__all__ = ["Solved", "TaskContent", "build", "solve"]


@dataclass(frozen=True, slots=True)
class Solved:
    """A row with its prompt and its right answer.

    Attributes:
        prompt: the question.
        answer: the right answer's text; None where the task does not say.
        options: where there are any.
        gold: the right one's index.
        golds: right answers, of which any will do.
        messages: a conversation in place of the prompt.
        tools: what the model may call.
        expected: what an answer through the chat template is graded by.
        subject: part of the task that it belongs to.
    """

    prompt: str
    answer: str | None
    options: tuple[str, ...] = ()
    gold: int | None = None
    golds: tuple[str, ...] = ()
    messages: tuple[Mapping[str, Any], ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    expected: Mapping[str, Any] = field(default_factory=dict)
    subject: str = ""


@dataclass(frozen=True, slots=True)
class TaskContent:
    """Items without their examples, and the examples.

    Attributes:
        items: each with all examples in its prompt.
        digest: of the task file and its data.
        source: where they were read from.
        notes: for `TaskItems`.
        places: for `TaskItems`.
    """

    items: tuple[Item, ...]
    digest: str
    source: str
    notes: tuple[str, ...] = ()
    places: tuple[str, ...] = ()

    def load(self, data: object = None, *, shots: int | None = None) -> TaskItems:
        """See `bitloss.tasks.base.Load`; its paths are relative to the task file, not to `data`."""
        del data
        items = self.items
        there = len(items[0].prompt.shots)  # the same for all: see `build`
        if shots is not None:
            if not 0 <= shots <= there:
                raise UsageError(
                    f"expected 0 to {there} examples for `{self.source}`, got {shots}",
                    hint="add examples under `shots`, or ask for fewer",
                )
            items = tuple(_with_shots(item, shots) for item in items)
        return TaskItems(items, self.digest, self.source, self.notes, self.places)


def _with_shots(item: Item, shots: int) -> Item:
    prompt = replace(item.prompt, shots=item.prompt.shots[:shots])
    return replace(item, prompt=prompt)


def solve(
    definition: Definition,
    source: Rows,
    document: Document,
    errors: RowErrors,
    tools: Tools | None = None,
) -> tuple[list[Solved], list[Issue]]:
    """Prompts and right answers of all rows; what is wrong with rows is added to `errors`."""
    solved, mistakes = _solve(definition, source, document, errors, tools)
    if definition.subject is None or (source.key == "shots" and not definition.shots_per_subject):
        return solved, mistakes
    return [
        replace(one, subject=_field(definition.subject, source, row, "subject", errors))
        for row, one in enumerate(solved)
    ], mistakes


def _solve(
    definition: Definition,
    source: Rows,
    document: Document,
    errors: RowErrors,
    tools: Tools | None,
) -> tuple[list[Solved], list[Issue]]:
    rule = definition.rule
    if isinstance(rule, ToolCall | Refusal):
        return [
            _solve_chat(definition, rule, source, row, tools, errors)
            for row in range(len(source.rows))
        ], []
    assert definition.prompt is not None
    if isinstance(rule, Choice):
        return _solve_choices(definition, rule, source, document, errors)
    solved = []
    for row, values in enumerate(source.rows):
        prompt = _prompt(definition, source, row, errors)
        if isinstance(rule, PythonTests):
            golds: tuple[str, ...] = ()
        else:
            golds = _golds(rule.gold, values, errors, source, row)
        if definition.answer is not None:
            answer: str | None = errors.fill(definition.answer, source, row, "answer")
            if not answer:
                errors.add(source, row, "the right answer is empty (`answer`)")
        else:
            answer = golds[0] if golds else None
        solved.append(Solved(prompt, answer, golds=golds))
    return solved, []


def _solve_chat(
    definition: Definition,
    rule: ToolCall | Refusal,
    source: Rows,
    row: int,
    tools: Tools | None,
    errors: RowErrors,
) -> Solved:
    values = source.rows[row]
    prompt = ""
    messages: tuple[Mapping[str, Any], ...] = ()
    own: tuple[Mapping[str, Any], ...] = tools.tools if tools is not None else ()
    expected: dict[str, Any] = {}
    if definition.prompt is not None:
        prompt = _prompt(definition, source, row, errors)
    try:
        if definition.messages is not None and definition.messages in values:
            messages = messages_of(definition.messages, values)
            prompt = messages[-1]["content"]
        if isinstance(rule, ToolCall) and tools is None and rule.tools in values:
            own = tools_of(rule.tools, values)
        expected = expected_of(rule, values, own)
    except RowFault as error:
        errors.add(source, row, str(error))
    return Solved(prompt, None, messages=messages, tools=own, expected=expected)


def _prompt(definition: Definition, source: Rows, row: int, errors: RowErrors) -> str:
    """The question; a field of it may be null or a list, but it cannot be empty for that."""
    assert definition.prompt is not None
    text = errors.fill(definition.prompt, source, row, "prompt", joint=definition.list_separator)
    values = source.rows[row]
    if not text.strip() and any(values.get(name, "") is None for name in definition.prompt.fields):
        errors.add(source, row, "the question is empty: its fields hold nothing (in `prompt`)")
    return text


def _golds(
    name: str, values: Mapping[str, Any], errors: RowErrors, source: Rows, row: int
) -> tuple[str, ...]:
    if name not in values:  # `check_fields` has told
        return ()
    value = values[name]
    try:
        golds = tuple(as_text(name, one) for one in (value if isinstance(value, list) else [value]))
    except FieldFault as error:
        errors.add(source, row, f"{error} (the right answer)")
        return ()
    if not golds or not all(gold.strip() for gold in golds):
        errors.add(source, row, f"field `{name}` is empty (the right answer)")
    return golds


def _solve_choices(
    definition: Definition, rule: Choice, source: Rows, document: Document, errors: RowErrors
) -> tuple[list[Solved], list[Issue]]:
    rows = range(len(source.rows))
    assert definition.prompt is not None
    options = [_options(rule.options, source, row, errors) for row in rows]
    gold = Template(((rule.gold, True),))
    golds = [errors.fill(gold, source, row, "choice.gold") for row in rows]
    for row in rows:
        value = source.rows[row].get(rule.gold)
        if isinstance(value, str) and not value.strip():
            errors.add(source, row, f"field `{rule.gold}` is empty (the right answer)")
    usable = [row for row in rows if golds[row].strip() and len(options[row]) > 1]
    try:
        reading = rule.gold_as or infer_gold_kind([(golds[row], options[row]) for row in usable])
    except AmbiguousGold as error:
        return [], [document.mistake(str(error), "choice", "gold")]
    solved = []
    for row in rows:
        index = index_of(golds[row], options[row], reading)
        if index is None and row in usable:
            text = f"expected {describe(reading)} in field `{rule.gold}`, got `{golds[row]}`"
            errors.add(source, row, f"{text} (there are {len(options[row])} options)")
        answer = options[row][index] if index is not None else None
        prompt = _prompt(definition, source, row, errors)
        solved.append(Solved(prompt, answer, options[row], index))
    return solved, []


def _options(
    templates: tuple[Template, ...], source: Rows, row: int, errors: RowErrors
) -> tuple[str, ...]:
    name = templates[0].only_field
    if len(templates) > 1 or name is None:
        # Rows with fewer options than others have null where the last ones would stand.
        while len(templates) > 2 and _is_null(templates[-1], source.rows[row]):
            templates = templates[:-1]
        options = tuple(
            errors.fill(template, source, row, f"choice.options.{number}")
            for number, template in enumerate(templates)
        )
    elif name not in source.rows[row]:  # `check_fields` has told
        return ()
    else:
        value = source.rows[row][name]
        if not isinstance(value, list) or len(value) < 2:
            got = f"{len(value)}" if isinstance(value, list) else type(value).__name__
            errors.add(source, row, f"expected a list of options in field `{name}`, got {got}")
            return ()
        try:
            options = tuple(as_text(name, one) for one in value)
        except FieldFault as error:
            errors.add(source, row, f"{error} (in the list of options)")
            return ()
    if not all(option.strip() for option in options):
        errors.add(source, row, "an option is empty")
    return options


def _is_null(template: Template, values: Mapping[str, Any]) -> bool:
    name = template.only_field
    return name is not None and values.get(name, "") is None


def build(
    definition: Definition,
    source: Rows,
    solved: list[Solved],
    examples: list[Solved],
    errors: RowErrors,
) -> tuple[Item, ...]:
    """The items, each with all examples; what is wrong with rows is added to `errors`."""
    shots = _shots(definition, source, solved, examples, errors)
    items = []
    seen: dict[str, int] = {}
    for row, one in enumerate(solved):
        name = _id(definition, source, row, errors)
        if seen.setdefault(name, row) != row:
            errors.add(source, row, f"id `{name}` is that of row {seen[name] + 1} too")
        likelihood = definition.gold_likelihood is not None
        description = ""
        if definition.description is not None:
            joint = definition.list_separator
            description = errors.fill(
                definition.description, source, row, "description", joint=joint
            )
            description = description and description + definition.separator
        items.append(
            Item(
                id=name,
                prompt=Prompt(one.prompt, shots[one.subject], description, one.messages, one.tools),
                subject=one.subject,
                options=(one.answer or "",) if likelihood else one.options,
                delimiter=definition.glue,
                gold=0 if likelihood else one.gold,
                gold_answer=one.answer if definition.generates else None,
                data=_grading_data(definition, source, row, one, errors),
                cluster=_field(definition.cluster, source, row, "cluster", errors),
            )
        )
    return tuple(items)


def _shots(
    definition: Definition,
    source: Rows,
    solved: list[Solved],
    examples: list[Solved],
    errors: RowErrors,
) -> Mapping[str, tuple[str, ...]]:
    """Examples' texts by subject: all of them, or as many as every subject has of its own."""
    texts = [f"{one.prompt}{definition.glue}{one.answer}{definition.separator}" for one in examples]
    if not (definition.shots_per_subject and examples):
        together = tuple(texts)
        return defaultdict(lambda: together)
    by_subject: dict[str, list[str]] = defaultdict(list)
    for one, text in zip(examples, texts, strict=True):
        by_subject[one.subject].append(text)
    for row, one in enumerate(solved):
        if one.subject not in by_subject:
            errors.add(source, row, f"no example under `shots` is of the subject `{one.subject}`")
    count = min(len(by_subject[one.subject]) for one in solved)
    return defaultdict(tuple, {name: tuple(own[:count]) for name, own in by_subject.items()})


def _id(definition: Definition, source: Rows, row: int, errors: RowErrors) -> str:
    origin = source.origins[row] if len(source.files) > 1 else None  # files number their own rows
    own = ""
    if definition.id is not None:
        own = errors.fill(Template(((definition.id, True),)), source, row, "id")
        own = own or f"row {row + 1}"
    if origin is not None:
        return f"{definition.name}/{origin.name}/{own or origin.row + 1}"
    return own or f"{definition.name}/{row + 1}"


def _field(name: str | None, source: Rows, row: int, key: str, errors: RowErrors) -> str:
    """What a row has in the field that a key of the task file names; nothing without one."""
    return errors.fill(Template(((name, True),)), source, row, key) if name else ""


def _grading_data(
    definition: Definition, source: Rows, row: int, solved: Solved, errors: RowErrors
) -> dict[str, Any]:
    rule = definition.python_tests
    if solved.expected:
        return dict(solved.expected)
    if rule is None:
        return {"golds": list(solved.golds)} if solved.golds else {}
    parts = {
        "tests": rule.tests,
        "entry_point": rule.entry_point or Template(((FIELD, True),)),
        "completes": rule.completes,
        "support": rule.support,
    }
    texts = {
        # Code that is not needed is null, and tests may be a list of statements.
        key: errors.fill(
            template,
            source,
            row,
            f"python_tests.{key}",
            joint=None if key == "entry_point" else definition.list_separator,
        )
        if template
        else ""
        for key, template in parts.items()
    }
    if not texts["tests"].strip():
        errors.add(source, row, "the tests are empty (in `python_tests.tests`)")
    name = texts["entry_point"]
    if name and not name.isidentifier():
        errors.add(source, row, f"expected a function's name as entry point, got `{name}`")
    return texts
