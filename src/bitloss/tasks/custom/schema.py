"""The keys of a task file, and what may stand under each."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    model_validator,
)

from bitloss.tasks.base import Capability
from bitloss.tasks.custom.template import Template, parse_template

__all__ = [
    "RULES",
    "Choice",
    "Contains",
    "Definition",
    "ExactMatch",
    "Generation",
    "GoldLikelihood",
    "PythonTests",
    "Refusal",
    "RegexMatch",
    "TextRule",
    "ToolCall",
]

RULES = (
    "choice", "exact_match", "regex", "contains", "python_tests", "gold_likelihood", "tool_call",
    "refusal",
)  # fmt: skip
"""Of these keys a task file has one."""


def _pattern(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        at = "" if error.pos is None else f" at character {error.pos + 1}"
        raise ValueError(f"expected a regular expression, got `{value}`: {error.msg}{at}") from None
    return value


def _field_name(value: object) -> object:
    """``{answer}`` is written where ``answer`` is meant often enough to be taken for it."""
    if isinstance(value, str) and (braced := re.fullmatch(r"\{([^{}]+)\}", value.strip())):
        return braced.group(1).strip()
    return value


def _name(value: str) -> str:
    if not re.fullmatch(r"\w[\w.-]*", value):
        raise ValueError(f"expected letters, digits, `_`, `-` and `.`, got `{value}`")
    return value


def _paths(value: object) -> tuple[str, ...]:
    paths = [value] if isinstance(value, str) else value
    if isinstance(paths, list) and paths and all(isinstance(one, str) and one for one in paths):
        return tuple(paths)
    raise ValueError(
        "expected the path of a .jsonl or .csv file, a folder, a pattern, or a list of them"
    )


def _shots(value: object) -> object:
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return tuple(value)
    try:
        return _paths(value)
    except ValueError as error:
        raise ValueError(f"{error}; or a list of examples with keys as in the data") from None


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


TemplateText = Annotated[Template, PlainValidator(parse_template)]
FieldName = Annotated[str, BeforeValidator(_field_name), Field(min_length=1)]
Pattern = Annotated[str, AfterValidator(_pattern)]
Paths = Annotated[tuple[str, ...], PlainValidator(_paths)]
Texts = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Keys(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Generation(_Keys):
    """How an answer's text is generated.

    Attributes:
        max_new_tokens: at most; None is the rule's own number.
        stop: texts that end the answer; None is the rule's own.
        temperature: 0 takes the most likely token.
        top_p: sample from the smallest set of tokens with at least this probability.
        samples: texts for each item; the score is their mean.
    """

    max_new_tokens: int | None = Field(default=None, ge=1)
    stop: Texts | None = None
    temperature: float = Field(default=0.0, ge=0.0, allow_inf_nan=False)
    top_p: float = Field(default=1.0, gt=0.0, le=1.0)
    samples: int = Field(default=1, ge=1)

    @model_validator(mode="after")
    def _samples_differ(self) -> Generation:
        if self.samples > 1 and self.temperature == 0.0:
            raise ValueError("expected a temperature above 0 where samples is above 1, got 0")
        return self


class Choice(_Keys):
    """The model chooses among options.

    Attributes:
        options: a template each, or one that is nothing but a field that holds a list.
        gold: field that says which is right.
        gold_as: how it says so: the option's text, a letter, an index from 0 or a number from 1;
            None finds out, and asks where the data leave it open.
    """

    options: Annotated[tuple[TemplateText, ...], BeforeValidator(_listed)]
    gold: FieldName
    gold_as: Literal["text", "letter", "index", "number"] | None = None

    @model_validator(mode="after")
    def _options_are_several(self) -> Choice:
        if len(self.options) < 2 and not (self.options and self.options[0].only_field):
            raise ValueError("options: expected two or more, or a field that holds a list")
        return self


class ExactMatch(_Keys):
    """The text equals the gold answer, or one of them where the field holds a list.

    Attributes:
        gold: field with the right answer.
        ignore_case: compare in lower case.
        strip: leave white space at both ends out.
        regexes_to_ignore: what they match is taken out of both sides first.
    """

    gold: FieldName
    ignore_case: bool = False
    strip: bool = True
    regexes_to_ignore: Annotated[tuple[Pattern, ...], BeforeValidator(_listed)] = ()


class RegexMatch(_Keys):
    """What a regular expression finds in the text equals the gold answer.

    Attributes:
        pattern: Python's; ``(?i)`` and other flags stand in it.
        group: its group that is compared; None is the first, or all where there is none.
        take: which match, where there are several.
        gold: field with the right answer.
        ignore_case: compare in lower case.
    """

    pattern: Pattern
    group: int | None = Field(default=None, ge=0)
    take: Literal["first", "last"] = "first"
    gold: FieldName
    ignore_case: bool = False

    @model_validator(mode="after")
    def _group_exists(self) -> RegexMatch:
        groups = re.compile(self.pattern).groups
        if self.group is not None and self.group > groups:
            raise ValueError(f"group: expected at most {groups}, as many as the pattern has, "
                             f"got {self.group}")  # fmt: skip
        return self


class Contains(_Keys):
    """The gold answer stands somewhere in the text.

    Attributes:
        gold: field with the right answer, or with a list of them.
        all: every one of the list has to stand there, not just one.
        ignore_case: compare in lower case.
    """

    gold: FieldName
    all: bool = False
    ignore_case: bool = False


class PythonTests(_Keys):
    """The text is a program that passes tests, run in the sandbox.

    Attributes:
        tests: Python that raises where the program is wrong; calls the entry point by name.
        entry_point: name of the function that the program defines; None is the field of that name,
            or what the task's `answer` defines and the tests call.
        completes: what a text without a whole function goes on from: its beginning.
        support: Python that the tests need besides.
    """

    tests: TemplateText
    entry_point: TemplateText | None = None
    completes: TemplateText | None = None
    support: TemplateText | None = None


class GoldLikelihood(_Keys):
    """The gold answer's likelihood; right where greedy decoding would have written it.

    Attributes:
        gold: field with the answer.
    """

    gold: FieldName


class ToolCall(_Keys):
    """The model calls the right tool with the right arguments, or none where none is called for.

    Attributes:
        tools: a .json file with a list of tools, relative to the task file, or a field with one.
        tool: field with the name of the tool to call; null or empty where none is.
        arguments: field with the arguments it is to be called with, as an object or its JSON;
            null, or no such field, where any will do. None compares no arguments.
    """

    tools: Annotated[str, BeforeValidator(_field_name), Field(min_length=1)]
    tool: FieldName
    arguments: FieldName | None = None


class Refusal(_Keys):
    """The model refuses what it should refuse, and answers the rest.

    Attributes:
        should_refuse: field that says so: true or false.
        patterns: regular expressions that mark a refusal, in any case; none takes bitloss's own
            list (`bitloss.tasks.custom.refusals`).
    """

    should_refuse: FieldName
    patterns: Annotated[tuple[Pattern, ...], BeforeValidator(_listed)] = ()


TextRule = ExactMatch | RegexMatch | Contains
Rule = Choice | TextRule | PythonTests | GoldLikelihood | ToolCall | Refusal


class Definition(_Keys):
    """A task file.

    Attributes:
        name: in tables; letters, digits, ``_``, ``-`` and ``.``.
        capability: the one that the task measures.
        data: JSONL or CSV files, relative to the task file: a path, a pattern, a folder or a list
            of them; or
        items: the rows themselves.
        columns: names of the columns of CSV files without a header.
        prompt: the question; or
        messages: field with a conversation (`tool_call` and `refusal` only).
        description: template of what stands before all else, with `separator` behind it.
        shots: solved examples, rows like the data's, or files of them, named as `data` names them.
        shots_per_subject: whether an item has the examples of its subject only; the file has to
            say so where examples come from several files.
        separator: stands behind each example.
        list_separator: stands between the elements of a list that a template is filled with.
        delimiter: stands between a prompt and its answer; None is a space, and nothing where the
            answer is code.
        answer: the right answer in full, in the examples and where its likelihood is measured;
            None is the gold field.
        id: field with an item's name; None numbers the rows.
        subject: field with the part of the task that an item belongs to.
        cluster: field with what an item shares with others (a passage, a conversation).
        license: of the data; files may also say ``licence``.
        generation: see there.
    """

    name: Annotated[str, AfterValidator(_name)]
    capability: Capability
    data: Paths | None = None
    items: tuple[dict[str, Any], ...] | None = Field(default=None, min_length=1)
    columns: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    prompt: TemplateText | None = None
    messages: FieldName | None = None
    description: TemplateText | None = None
    shots: Annotated[tuple[dict[str, Any], ...] | tuple[str, ...], PlainValidator(_shots)] = ()
    shots_per_subject: bool | None = None
    separator: str = "\n\n"
    list_separator: str = "\n"
    delimiter: str | None = None
    answer: TemplateText | None = None
    id: FieldName | None = None
    subject: FieldName | None = None
    cluster: FieldName | None = None
    license: Annotated[str, Field(validation_alias=AliasChoices("license", "licence"))] = (
        "not stated"
    )
    generation: Generation | None = None
    choice: Choice | None = None
    exact_match: ExactMatch | None = None
    regex: RegexMatch | None = None
    contains: Contains | None = None
    python_tests: PythonTests | None = None
    gold_likelihood: GoldLikelihood | None = None
    tool_call: ToolCall | None = None
    refusal: Refusal | None = None

    @property
    def rule(self) -> Rule:
        """The one that the file has."""
        rules = [value for name in RULES if (value := getattr(self, name)) is not None]
        (only,) = rules
        return only  # type: ignore[no-any-return]

    @property
    def generates(self) -> bool:
        """Whether answers are texts."""
        return not isinstance(self.rule, Choice | GoldLikelihood)

    @property
    def glue(self) -> str:
        """What stands between a prompt and its answer."""
        if self.delimiter is not None:
            return self.delimiter
        return "" if isinstance(self.rule, PythonTests) else " "
