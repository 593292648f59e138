"""A study whose levels are recipes: what most studies are."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from bitloss.errors import UnknownName
from bitloss.spec.recipe import parse_recipe
from bitloss.studies.base import FactorLevel

__all__ = ["RecipeSweep"]


@dataclass(frozen=True, slots=True)
class RecipeSweep:
    """A factor that is part of a recipe's name; satisfies `bitloss.studies.base.Study`.

    Attributes:
        name: as in the registry.
        factor: what is varied.
        values: the default levels.
        columns: see `bitloss.studies.base.Study.columns`.
        recipe: the recipe at a value; by default the value is the recipe's name.
        series: the series of a value (`FactorLevel.series`); by default there is one.
        pattern: a regular expression for values; by default the recipe alone decides.
    """

    name: str
    factor: str
    values: tuple[str, ...]
    columns: tuple[str, ...]
    recipe: Callable[[str], str] = str
    series: Callable[[str], str] = lambda value: ""
    pattern: str = r".+"

    @property
    def levels(self) -> tuple[FactorLevel, ...]:
        """The default levels."""
        return tuple(self.parse(value) for value in self.values)

    def parse(self, text: str) -> FactorLevel:
        """See `bitloss.studies.base.Study.parse`."""
        if re.fullmatch(self.pattern, text) is None:
            raise UnknownName(f"level of the study `{self.name}`", text, self.values)
        recipe = self.recipe(text)
        try:
            parse_recipe(recipe)
        except UnknownName as error:
            if recipe == text:
                raise
            # Its hint names recipes, which are not values of this factor.
            kind = f"level of the study `{self.name}`"
            raise UnknownName(kind, text, self.values) from error
        return FactorLevel(text, recipe, self.series(text))
