"""Every name that a command accepts, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bitloss import registry
from bitloss.spec.recipe import common_recipes, parse_recipe

if TYPE_CHECKING:
    from bitloss.quantizers.base import Quantizer

__all__ = ["describe_grammar", "describe_names", "describe_suites"]


def describe_names() -> dict[str, dict[str, str]]:
    """Every name that a command accepts, and what it is: formats, recipes, protocols and so on."""
    from bitloss.formats.architectures import describe_architectures
    from bitloss.suites import list_suites

    return {
        "architectures": describe_architectures(),
        "formats": registry.describe(registry.FORMATS),
        "recipes": {name: _describe_recipe(name) for name in common_recipes()},
        "protocols": registry.describe(registry.PROTOCOLS),
        "corpora": registry.describe(registry.CORPORA),
        "tasks": {
            name: _describe_task(name, text)
            for name, text in registry.describe(registry.TASKS).items()
        },
        "suites": list_suites(),
        "engines": registry.describe(registry.ENGINES),
        "studies": registry.describe(registry.STUDIES) | registry.describe(registry.OWN_STUDIES),
    }


def describe_grammar() -> dict[str, tuple[tuple[str, str], ...]]:
    """By method, every form of a recipe's name and what its parts mean."""
    from bitloss.quantizers.base import all_quantizers

    return {
        one.method: (*one.grammar, *_CALIBRATED) if _calibrates(one) else one.grammar
        for one in all_quantizers()
    }


_CALIBRATED = (("@<corpus>", "calibrated on that corpus in place of --calibration"),)


def _calibrates(quantizer: Quantizer) -> bool:
    """Whether any of its recipes calibrates."""
    if quantizer.calibration_option:
        return True
    return any(parse_recipe(name).calibration is not None for name in quantizer.common)


def describe_suites() -> dict[str, tuple[str, str]]:
    """The corpora and the tasks of every built-in suite, in words."""
    from bitloss.suites import list_suites, load_suite, suite_contents

    return {name: suite_contents(load_suite(name)) for name in list_suites()}


def _describe_task(name: str, text: str) -> str:
    facts = registry.load("task", registry.TASKS, name).facts
    return f"{text} ({facts.capability}; {facts.n_items:,} items; {', '.join(facts.metrics)})"


def _describe_recipe(name: str) -> str:
    from bitloss.quantizers import quantizer_of

    recipe = parse_recipe(name)
    return quantizer_of(recipe).describe(recipe.options)
