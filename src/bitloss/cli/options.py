"""Options of commands: those of a run, from their declarations, and those of the output."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from bitloss.errors import UsageError
from bitloss.spec.options import Declared
from bitloss.spec.run import options_of

__all__ = [
    "AsJson",
    "ExpectationsFile",
    "Force",
    "ModelName",
    "Out",
    "PlanOnly",
    "Quiet",
    "RunDirectory",
    "WithPage",
    "split_limits",
    "split_names",
    "takes_run_options",
]

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")]
WithPage = Annotated[
    bool, typer.Option("--page/--no-page", help="Write page.html beside the results.")
]
ExpectationsFile = Annotated[
    Path | None,
    typer.Option(
        "--expectations",
        metavar="FILE",
        help="Verdict levels, margins and expected losses (YAML), laid over the built-in ones.",
    ),
]
ModelName = Annotated[
    str, typer.Argument(help=r"Path of a model, or org/name\[@revision] on a hub.")
]
Out = Annotated[
    Path | None,
    typer.Option("--out", help="Run directory.", show_default="runs/<model>-<fingerprint>"),
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace a result in --out that has more than this run.")
]
PlanOnly = Annotated[
    bool,
    typer.Option("--plan", help="Estimate time, memory and disk use, then exit without scoring."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
RunDirectory = Annotated[Path, typer.Argument(help="Directory of a finished run.")]


def takes_run_options(
    command: str, *, without: Collection[str] = ()
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the run options that are declared for it.

    The function receives them as ``**choices``, as `bitloss.api.make_spec` takes them. An option
    without a value is left out. In the help they follow the arguments.

    Args:
        command: one of those in `bitloss.spec.options.Option.commands`.
        without: keywords of options that it does not take after all.
    """
    options = [option for option in options_of(command) if option.keyword not in without]

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(function)
        def called(**values: Any) -> None:
            given = [(option, values.pop(_parameter_name(option))) for option in options]
            typed = [pair for pair in given if _is_typed(values.get("context"), pair[0])]
            function(**values, **_keywords(typed))

        own = inspect.signature(function, eval_str=True).parameters.values()
        required = [p for p in own if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
        others = [p for p in own if p.default is not p.empty]
        parameters = [*required, *map(_parameter, options), *others]
        vars(called)["__signature__"] = inspect.Signature(
            [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters]
        )
        return called

    return decorate


def _is_typed(context: typer.Context | None, option: Declared) -> bool:
    """Whether the user gave a value: a default is a wish only if it is typed. A command that does
    not ask for its context takes every default for one.
    """
    if context is None:
        return True
    source = context.get_parameter_source(_parameter_name(option))
    return source is None or source.name != "DEFAULT"


def _parameter(declared: Declared) -> inspect.Parameter:
    """An option as typer reads it from a function's signature."""
    option = declared.option
    return inspect.Parameter(
        _parameter_name(declared),
        inspect.Parameter.KEYWORD_ONLY,
        default=None if option.many else declared.default,
        annotation=Annotated[
            list[str] | None if option.many else declared.type,
            typer.Option(
                declared.flag,
                min=option.minimum,
                help=option.line,
                show_default=option.default or True,
            ),
        ],
    )


def _parameter_name(declared: Declared) -> str:
    return declared.flag.removeprefix("--").replace("-", "_")


def _keywords(given: Iterable[tuple[Declared, Any]]) -> dict[str, Any]:
    """Values of flags as keywords of `bitloss.api.make_spec`."""
    keywords: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for declared, value in given:
        if value is None:
            continue
        if declared.option.commas:
            value = split_names(value)
        *group, name = declared.path
        (groups.setdefault(group[0], {}) if group else keywords)[name] = value
    of = {declared.keyword: declared.type for declared in options_of(deep=False)}
    return keywords | {name: of[name](**values) for name, values in groups.items()}


def split_names(values: list[str]) -> list[str]:
    """Names separated by commas, given once or several times; a file's own commas are kept."""
    return [
        name.strip()
        for value in values
        for name in ([value] if _is_file(value) else value.split(","))
        if name.strip()
    ]


def _is_file(value: str) -> bool:
    if "," not in value:
        return False
    try:
        return Path(value.partition("::")[0]).expanduser().exists()
    except OSError:  # longer than a file's name may be: a long list is none
        return False


def split_limits(flag: str, values: list[str] | None) -> dict[str, str] | None:
    """``["0.05", "code=0.1"]`` as ``{"all": "0.05", "code": "0.1"}``.

    Raises:
        UsageError: a name is given twice.
    """
    limits: dict[str, str] = {}
    for value in values or ():
        name, _, limit = value.rpartition("=")
        name = name.strip() or "all"
        if name in limits:
            raise UsageError(
                f"{flag}: two limits for {name}: {limits[name]} and {limit}",
                hint=f"name what each applies to: {flag} NAME={limit}",
            )
        limits[name] = limit.strip()
    return limits or None
