"""`bitloss list`: every name that a command accepts."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from bitloss.cli.console import print_json

__all__ = ["list_names"]


class Kind(StrEnum):
    """What can be listed."""

    ARCHITECTURES = "architectures"
    FORMATS = "formats"
    RECIPES = "recipes"
    PROTOCOLS = "protocols"
    CORPORA = "corpora"
    TASKS = "tasks"
    SUITES = "suites"
    ENGINES = "engines"
    STUDIES = "studies"


def list_names(
    kind: Annotated[Kind | None, typer.Argument(help="Kind of names.", show_default="all")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """List architectures, formats, recipes, protocols, corpora, tasks, suites and so on."""
    from bitloss.api import describe_names, describe_suites

    tables = {name: names for name, names in describe_names().items() if kind in (None, name)}
    if as_json:
        print_json(tables)
        return
    console = Console(highlight=False, soft_wrap=True)
    for position, (title, names) in enumerate(tables.items()):
        if position:
            console.print()
        console.print(Text(title, "bold"))
        width = max(map(len, names))
        for name, meaning in names.items():
            console.print(Text(f"  {name:{width}}  {meaning}".rstrip()))
            if kind is Kind.SUITES:
                corpora, tasks = describe_suites()[name]
                console.print(Text(f"  {'':{width}}    corpora: {corpora}"))
                console.print(Text(f"  {'':{width}}    tasks: {tasks}"))
    if kind is Kind.RECIPES:
        _print_grammar(console)


def _print_grammar(console: Console) -> None:
    """Every form of a recipe's name: what stands in the table is only the common ones."""
    from bitloss.names import describe_grammar

    for method, parts in describe_grammar().items():
        if not parts:
            continue
        console.print()
        console.print(Text(f"every {method} recipe", "bold"))
        width = max(len(part) for part, _ in parts)
        for part, meaning in parts:
            console.print(Text(f"  {part:{width}}  {meaning}"))
