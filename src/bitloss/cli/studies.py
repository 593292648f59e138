"""`bitloss study`: studies with a machinery of their own by name, else the sweep of a factor."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup

from bitloss.cli.study import study
from bitloss.cli.study_recipe import recipe
from bitloss.cli.study_sensitivity import sensitivity

__all__ = ["studies"]

_SWEEP = "sweep"


class _Studies(TyperGroup):
    """Commands by the study's name; every other name is a factor's."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Send everything but the studies with commands of their own to the sweep."""
        named = bool(args) and args[0] in self.commands and args[0] != _SWEEP
        return super().parse_args(ctx, args if named else [_SWEEP, *args])

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """Leave the sweep's own name, which nobody types, out of messages."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == _SWEEP else name, command, rest


studies = typer.Typer(cls=_Studies, add_completion=False)
studies.command(_SWEEP, hidden=True)(study)
studies.command("sensitivity")(sensitivity)
studies.command("recipe")(recipe)
