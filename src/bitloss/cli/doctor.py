"""`bitloss doctor`: checks of this machine and installation."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from bitloss.cli.console import print_json

__all__ = ["doctor"]

_STYLES = {"ok": "green", "absent": "dim", "slow": "yellow", "broken": "bold red"}


def doctor(
    online: Annotated[
        bool, typer.Option("--online", help="Also check whether the hub answers.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Check what is installed, how fast it is and whether it works; exit code 1 if it does not."""
    from bitloss.doctor.checks import run_checks

    checks = run_checks(online=online)
    if as_json:
        print_json([check.to_dict() for check in checks])
    else:
        console = Console(highlight=False, soft_wrap=True)
        width = max(18, *(len(check.name) + 1 for check in checks))
        for check in checks:
            status = Text(f"{check.status:7}", _STYLES[check.status])
            console.print(Text.assemble(status, f"{check.name:{width}}", check.found))
            if check.fix:
                console.print(Text(f"       -> {check.fix}"))
    if any(check.status == "broken" for check in checks):
        raise typer.Exit(1)
