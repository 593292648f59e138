"""A suite: corpora and tasks that are measured together, under one name."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

__all__ = ["CorpusChoice", "Suite", "TaskChoice"]


def _listed(value: object) -> object:
    """A folder alone is a list of one; JSON has lists for tuples."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


class TaskChoice(BaseModel):
    """A task of a suite or a run.

    Attributes:
        name: in the registry, or the path of a task file.
        limit: items, spread evenly over the task's subjects; None for all.
        shots: solved examples in the prompt; None is the task's own number.
        samples: texts per item of a task that generates; None is the task's own number.
        include_path: folders with task files, for a task of another package (``lm-eval:NAME``);
            beside those of the run.
        capability: the one that a task of another package measures; None leaves it to the source.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    limit: int | None = Field(default=None, ge=1)
    shots: int | None = Field(default=None, ge=0)
    samples: int | None = Field(default=None, ge=1)
    include_path: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    capability: str | None = None


class CorpusChoice(BaseModel):
    """A corpus of a suite.

    Attributes:
        name: in the registry, or the path of a text.
        limit: windows; None for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    limit: int | None = Field(default=None, ge=1)


def _named(value: object) -> object:
    """A name alone is an entry without limits."""
    return {"name": value} if isinstance(value, str) else value


class Suite(BaseModel):
    """What is measured.

    Attributes:
        name: for people.
        description: one line.
        corpora: in the order of the report.
        tasks: likewise.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    description: str = ""
    corpora: tuple[Annotated[CorpusChoice, BeforeValidator(_named)], ...] = ()
    tasks: tuple[Annotated[TaskChoice, BeforeValidator(_named)], ...] = ()
