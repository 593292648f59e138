"""How a run's option is declared: once, on the field that holds its value.

    seed: Annotated[int, Option("Random seed.", commands=(COMPARE, QUANTIZE))] = 0

Name, type and default are the field's own; `Option` has what a field cannot say. Flags and help of
the command line, keywords in Python (``spec/choices.py``), ``docs/options.md``, validation and the
name of the run directory all come from these declarations.

Nothing heavy is imported here: ``bitloss --help`` reads the declarations.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

__all__ = [
    "COMPARE",
    "EVERY_RUN",
    "PACK",
    "PERPLEXITY",
    "QUANTIZE",
    "Declared",
    "Option",
    "declared",
]

COMPARE: Final = "compare"
PERPLEXITY: Final = "perplexity"
QUANTIZE: Final = "quantize"
PACK: Final = "pack"
EVERY_RUN: Final = (COMPARE, PERPLEXITY, PACK)


@dataclass(frozen=True, slots=True)
class Option:
    """What a field's name, type and default do not say.

    Attributes:
        help: what the value is, in one line.
        commands: the commands that take the option.
        flag: on the command line; ``""`` is the field's name with dashes.
        keyword: type of the Python keyword, as source text; ``""`` is the field's type.
        default: the default in words, where it depends on other options; ``""`` is the field's.
        minimum: the smallest number allowed.
        above: a number that the value must exceed.
        many: whether the flag may be repeated; the field holds what its values stand for.
        commas: whether a value of such a flag may be several names, separated by commas.
        names: the table of `bitloss.registry` that the value must be a name of.
        where: whether it only says where work is done: the result is the same, and so is the
            default run directory.
    """

    help: str
    commands: tuple[str, ...] = EVERY_RUN
    flag: str = ""
    keyword: str = ""
    default: str = ""
    minimum: int | None = None
    above: float | None = None
    many: bool = False
    commas: bool = False
    names: str = ""
    where: bool = False

    @property
    def line(self) -> str:
        """The help of the flag."""
        return f"{self.help} May be repeated." if self.many else self.help

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> Any:
        """The field's own schema, with the bounds; called by pydantic."""
        from pydantic import Field

        bounds: dict[str, Any] = {}
        if self.minimum is not None:
            bounds["ge"] = self.minimum
        if self.above is not None:
            bounds |= {"gt": self.above, "allow_inf_nan": False}
        return handler(Annotated[source, Field(**bounds)] if bounds else source)


@dataclass(frozen=True, slots=True)
class Declared:
    """An option and the field that it is declared on.

    Attributes:
        path: names of the fields that lead to the value: ``("calibration", "samples")``.
        type: of the field.
        default: of the field.
        option: see there.
    """

    path: tuple[str, ...]
    type: Any
    default: Any
    option: Option

    @property
    def flag(self) -> str:
        """As on the command line: ``--batch-tokens``."""
        return self.option.flag or "--" + "-".join(self.path).replace("_", "-")

    @property
    def keyword(self) -> str:
        """Name of the Python keyword that sets the value, alone or with others."""
        return self.path[0]


@cache
def declared(kind: type[Any], command: str = "", *, deep: bool = True) -> tuple[Declared, ...]:
    """The options on a dataclass's fields, in their order.

    Args:
        kind: the dataclass. Its annotations must be values, not text, but for what is inside
            them: a module that declares options does not import ``annotations``.
        command: only options that this command takes; ``""`` is all.
        deep: options of a field that is a dataclass itself (the flags of ``calibration``) instead
            of that field's own.
    """
    return tuple(
        option
        for option in _declared(kind, deep)
        if not command or command in option.option.commands
    )


def _declared(kind: type[Any], deep: bool) -> Iterator[Declared]:
    for field in dataclasses.fields(kind):
        if get_origin(field.type) is not Annotated:
            continue
        of, *notes = get_args(field.type)
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        for option in (note for note in notes if isinstance(note, Option)):
            if deep and isinstance(of, type) and dataclasses.is_dataclass(of):
                for inner in _declared(of, deep):
                    yield dataclasses.replace(inner, path=(field.name, *inner.path))
            else:
                yield Declared((field.name,), of, default, option)
