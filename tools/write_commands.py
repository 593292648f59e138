"""The text of ``docs/cli.md``, from the commands as typer has them.

    make options

Options of a run stand in ``docs/options.md``, made of the same declarations; here are the rest.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from enum import Enum
from pathlib import Path
from typing import Any, get_args

import typer

from bitloss.cli.main import app
from bitloss.spec.run import options_of

__all__ = ["commands", "commands_page"]

_PAGE = """\
# Commands

<!-- Written by `make options` from the commands in src/bitloss/cli; do not edit. -->

`bitloss COMMAND --help` prints the same for one command. Data goes to stdout, everything
else to stderr; `--json` is meant for programs. `bitloss --debug` shows tracebacks.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | failed; with `compare`, also if a variant failed and the others were measured |
| 2 | the command itself is wrong |
| 3 | a gate is undecided (`check`) |
| 130, 143 | interrupted by Ctrl-C or SIGTERM; the same command resumes |

{commands}
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command that is typed, as its words and typer's own object."""
    root: Any = typer.main.get_command(app)
    yield from _under("bitloss", root)


def _under(words: str, group: Any) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            # A group's hidden command is what runs where none is named.
            yield from ((f"{words} {name}", each) for each in _hidden(command))
            yield from _under(f"{words} {name}", command)
        elif not command.hidden:
            yield f"{words} {name}", command


def _hidden(group: Any) -> list[Any]:
    return [each for each in group.commands.values() if each.hidden]


def commands_page() -> str:
    """The text of ``docs/cli.md``."""
    return _PAGE.format(commands="\n\n".join(_section(*each) for each in commands()))


def _section(words: str, command: Any) -> str:
    declared = {each.flag for each in options_of()}
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    options = [each for each in command.params if each.param_type_name == "option"]
    own = [each for each in options if not declared & set(each.opts) or _stands_alone(words)]
    shared = [each for each in options if each not in own]
    parts = [f"## {words}", inspect.cleandoc(command.help or "")]
    parts.append(f"```text\n{_usage(words, arguments, options)}\n```")
    parts += _table("argument", ((_argument_name(each), each) for each in arguments))
    parts += _table("option", ((_flags(each), each) for each in own if each.name != "help"))
    if shared:
        names = ", ".join(f"`{each.opts[0]}`" for each in shared)
        parts.append(f"And of [the options of a run](options.md): {names}.")
    return "\n\n".join(parts)


def _stands_alone(words: str) -> bool:
    """Whether options with the names of a run's are the command's own (`report --out`)."""
    return words.split()[1] in {"report", "leaderboard", "check", "card", "list", "doctor"}


def _usage(words: str, arguments: Iterable[Any], options: list[Any]) -> str:
    named = [name if each.required else f"[{name}]" for each in arguments
             for name in [_argument_name(each)]]  # fmt: skip
    return " ".join([words, *named, *(["[OPTIONS]"] if options else [])])


def _argument_name(argument: Any) -> str:
    name = str(argument.metavar or argument.name).strip("{}[].").upper()
    return name + ("..." if argument.nargs == -1 else "")


def _flags(option: Any) -> str:
    flags = ", ".join([*option.opts, *option.secondary_opts])
    value = "" if option.is_flag else f" {_value(option)}"
    return f"{flags}{value}"


def _value(option: Any) -> str:
    """What stands behind a flag: its metavar, its choices, or the kind of value."""
    if option.metavar:
        return str(option.metavar)
    annotation = option.type_descriptor.annotation
    (kind, *_) = get_args(annotation) or (annotation,)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return "|".join(str(each.value) for each in kind)
    return {int: "N", float: "X", Path: "PATH"}.get(kind, "TEXT")


def _table(title: str, rows: Iterable[tuple[str, Any]]) -> list[str]:
    lines = [
        f"| `{_cell(name)}` | {_cell(_meaning(each))} |" for name, each in rows if not each.hidden
    ]
    return ["\n".join([f"| {title} | meaning |", "|---|---|", *lines])] if lines else []


def _meaning(parameter: Any) -> str:
    """Help, and the default where it is not plain."""
    shown = getattr(parameter, "show_default", None)
    default = parameter.default
    if isinstance(shown, str):
        note = f" Default: {shown}."
    elif default in (None, False, (), []) or parameter.required or callable(default):
        note = ""
    elif default is True:
        note = " Default: on."
    else:
        note = f" Default: {getattr(default, 'value', default)}."
    text = (parameter.help or "").replace("\\[", "[") + note  # rich's escape
    return text.replace("<", "&lt;")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")
