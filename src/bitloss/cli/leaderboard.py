"""`bitloss leaderboard`: variants of several runs beside one pack, ranked."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from bitloss.cli import options

__all__ = ["leaderboard"]


class Form(StrEnum):
    """What is printed."""

    TABLE = "table"
    MARKDOWN = "markdown"
    JSON = "json"


def leaderboard(
    runs: Annotated[
        list[Path], typer.Argument(help="Run directories of `bitloss compare PACK VARIANT`.")
    ],
    form: Annotated[Form, typer.Option("--format", help="What to print.")] = Form.TABLE,
    as_json: options.AsJson = False,
) -> None:
    """Rank the variants of runs that were made from one pack, whoever made them."""
    from bitloss import finished
    from bitloss.reports.terminal import render_table
    from bitloss.tables.leaderboard import leaderboard_table
    from bitloss.tables.markdown import markdown_table

    board = finished.leaderboard(runs)
    if as_json or form is Form.JSON:
        sys.stdout.write(board.to_json())
        return
    table = leaderboard_table(board)
    if form is Form.MARKDOWN:
        sys.stdout.write(markdown_table(table))
    else:
        render_table(table, Console(highlight=False))
