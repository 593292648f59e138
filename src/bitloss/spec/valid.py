"""A run's values validated: what `bitloss.spec.run.RunSpec` itself does not check."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, get_type_hints

from bitloss.errors import UsageError
from bitloss.spec.run import RunSpec, options_of

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import ErrorDetails

__all__ = ["parse_run", "require_known"]


def parse_run(values: Mapping[str, Any]) -> RunSpec:
    """A run of these values, by name of the field; the others have their defaults.

    Raises:
        UsageError: an unknown name, a wrong type, a number out of bounds: all named at once.
    """
    from pydantic import ValidationError

    try:
        valid = _model().model_validate(dict(values))
    except ValidationError as error:
        raise _usage_error(error.errors(include_url=False)) from None
    return RunSpec(**{name: getattr(valid, name) for name in valid.model_fields_set})


@cache
def _model() -> type[BaseModel]:
    """The fields as a pydantic model: `RunSpec` itself must be readable without pydantic."""
    from pydantic import ConfigDict, create_model

    from bitloss.spec.suite import TaskChoice

    types = get_type_hints(RunSpec, localns={"TaskChoice": TaskChoice}, include_extras=True)
    fields: dict[str, Any] = {
        name: (types[name], ... if name == "reference" else None) for name in types
    }
    config = ConfigDict(extra="forbid", revalidate_instances="always")
    return create_model("RunSpec", __config__=config, **fields)


def require_known(given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse options that a function does not take.

    Raises:
        UsageError: names all of them, and the closest names.
    """
    known = list(known)
    if unknown := [name for name in given if name not in known]:
        faults = [f"{name}: no such option here" for name in unknown]
        raise UsageError("; ".join(faults), hint=_suggestion(unknown, known))


def _usage_error(faults: Sequence[ErrorDetails]) -> UsageError:
    lines = []
    unknown = []
    for fault in faults:
        place = ".".join(map(str, fault["loc"]))
        if fault["type"] == "extra_forbidden":
            unknown.append(place)
            lines.append(f"{place}: no such option")
            continue
        expected = fault["msg"].removeprefix("Input should be ")
        expected = expected.replace("greater than or equal to", "at least")
        expected = expected.replace("greater than", "more than")
        lines.append(f"{place}: expected {expected}, got {fault['input']!r}")
    names = [option.keyword for option in options_of(deep=False)]
    return UsageError("; ".join(lines), hint=_suggestion(unknown, names) if unknown else "")


def _suggestion(unknown: Sequence[str], known: Sequence[str]) -> str:
    close = [match for name in unknown for match in difflib.get_close_matches(name, known, n=1)]
    if close:
        return f"did you mean {' or '.join(f'`{name}`' for name in close)}?"
    return f"use one of: {', '.join(known)}"
