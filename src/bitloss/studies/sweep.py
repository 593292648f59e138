"""A study whose levels are recipes: what most studies are."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any

from bitloss.errors import UnknownName
from bitloss.spec.recipe import parse_recipe
from bitloss.studies.base import FactorLevel, Study

__all__ = ["recipe_sweep"]


def recipe_sweep(
    *,
    name: str,
    factor: str,
    values: tuple[str, ...],
    columns: tuple[str, ...],
    question: str = "",
    recipe: Callable[[str], str] = str,
    series: Callable[[str], str] = lambda value: "",
    pattern: str = r".+",
    forms: str = "",
    **more: Any,
) -> Study:
    """A study of a factor that is part of a recipe's name.

    Args:
        name: as in the registry.
        factor: what is varied.
        values: the default levels.
        columns: see `Study.columns`.
        question: see `Study.question`.
        recipe: the recipe at a value; by default the value is the recipe's name.
        series: the series of a value (`FactorLevel.series`); by default there is one.
        pattern: a regular expression for values; by default the recipe alone decides.
        forms: what else a value may be, and what it cannot be, for the hint of an error.
        more: further attributes of `Study`.
    """

    def parse(text: str) -> FactorLevel:
        hint = f"known: {', '.join(sorted(values))}{forms and '; '}{forms}"
        unknown = partial(UnknownName, f"level of the study `{name}`", text, values, hint=hint)
        if re.fullmatch(pattern, text) is None:
            raise unknown()
        own = recipe(text)
        try:
            parse_recipe(own)
        except UnknownName as error:
            if own == text:
                raise
            # Its hint names recipes, which are not values of this factor.
            raise unknown() from error
        return FactorLevel(text, own, series(text))

    return Study(
        name=name,
        factor=factor,
        question=question or f"What does {factor} cost?",
        values=values,
        columns=columns,
        parse=parse,
        **more,
    )
