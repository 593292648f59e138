"""Recipes: how a variant is made, and the names that stand for them.

    gptq-4                     method `gptq` with the options `4`
    gptq-4-g64-act             more options, written after a dash each
    gguf-q2_k-imatrix          another method has options of its own
    gptq-4@code                calibrated on the corpus `code` instead of the default

What may follow the method is the method's own business: its quantizer (`bitloss.registry`) parses
it into options, writes them back, and says whether they need a calibration text. A name stands
for a `Recipe`, and everything that decides the bytes of the result is a field of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

from bitloss import registry
from bitloss.errors import UnknownName, UsageError
from bitloss.spec.calibration import DEFAULT_CALIBRATION, Calibration

__all__ = [
    "Grammar",
    "Recipe",
    "common_recipes",
    "is_recipe_name",
    "parse_recipe",
    "require_calibrating",
]


class Grammar(Protocol):
    """What recipes need from a quantizer; see `bitloss.quantizers.base.Quantizer`."""

    @property
    def common(self) -> tuple[str, ...]:
        """Names of recipes that `bitloss list` shows."""

    @property
    def calibration_option(self) -> str:
        """What to add to a name that does not calibrate so that it does, ``""`` if nothing."""

    def parse(self, text: str, /) -> Any:
        """Turn what follows the method and its dash into options: a frozen dataclass."""

    def write(self, options: Any, /) -> str:
        """Write options as the shortest text that `parse` turns into them."""

    def needs_calibration(self, options: Any, /) -> bool:
        """Whether a recipe with these options calibrates on a text."""

    def needs_seed(self, options: Any, /) -> bool:
        """Whether random numbers decide the bytes."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes of a quantized model, given the reference.

    Attributes:
        method: a name in `bitloss.registry.QUANTIZERS`.
        options: a frozen dataclass of plain values; its type is the quantizer's.
        calibration: text to calibrate on; None if the recipe needs none.
        seed: of the calibration sample and the libraries; 0 if nothing random decides the bytes.
    """

    method: str
    options: Any
    calibration: Calibration | None = None
    seed: int = 0

    @property
    def name(self) -> str:
        """The shortest name of the recipe; it leaves out calibration size and seed."""
        name = f"{self.method}-{_grammar(self.method).write(self.options)}"
        if self.calibration is None or self.calibration.corpus == DEFAULT_CALIBRATION.corpus:
            return name
        return f"{name}@{self.calibration.corpus}"

    @property
    def depends_on_seed(self) -> bool:
        """Whether another seed makes another model: it draws a calibration text, or is random."""
        if self.calibration is not None:
            return True
        return _grammar(self.method).needs_seed(self.options)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as recorded and fingerprinted.

        `parse_recipe` turns ``name``, ``calibration`` and ``seed`` back into the recipe.
        """
        return {
            "name": self.name,
            "method": self.method,
            "options": asdict(self.options),
            "calibration": None if self.calibration is None else asdict(self.calibration),
            "seed": self.seed,
        }


def common_recipes() -> tuple[str, ...]:
    """The recipes of every method that `bitloss list` shows."""
    return tuple(name for method in registry.QUANTIZERS for name in _grammar(method).common)


def is_recipe_name(text: str) -> bool:
    """Whether the text looks like a recipe: a known method, a dash, and no folder.

    The recipe itself may not exist.
    """
    _, options, _ = _split(text)
    return re.match(r"[a-z0-9]", options) is not None and "/" not in options


def parse_recipe(
    name: str, *, calibration: Calibration = DEFAULT_CALIBRATION, seed: int = 0
) -> Recipe:
    """Turn a recipe's name into the recipe.

    Args:
        name: as in the module's table.
        calibration: used if the recipe needs a text; ``@corpus`` in the name replaces its corpus.
        seed: see `Recipe.seed`.

    Raises:
        UnknownName: no such method, or its quantizer does not know the options.
        UsageError: a value that the method does not allow (GPTQ with 5 bits), or a corpus in the
            name of a recipe that does not calibrate.
    """
    method, text, corpus = _split(name)
    if not text or name.endswith("@"):
        raise UnknownName("recipe", name, common_recipes())
    grammar = _grammar(method)
    options = grammar.parse(text)
    if not grammar.needs_calibration(options):
        if corpus:
            raise _unused_corpus(f"{method}-{text}", corpus, grammar.calibration_option)
        return Recipe(method, options, seed=seed if grammar.needs_seed(options) else 0)
    if corpus:
        calibration = replace(calibration, corpus=corpus)
    return Recipe(method, options, calibration, seed)


def require_calibrating(chosen: Calibration, recipes: Sequence[Recipe]) -> None:
    """Refuse choices about calibration that no recipe would follow.

    Args:
        chosen: what the run, or the command, says.
        recipes: of the run's variants, or the one that a model is quantized by.

    Raises:
        UsageError: a text, or a size of it, that nothing is calibrated on.
    """
    used = [recipe.calibration for recipe in recipes if recipe.calibration is not None]
    if chosen == DEFAULT_CALIBRATION or (used and chosen.corpus == DEFAULT_CALIBRATION.corpus):
        return
    if any(calibration.corpus == chosen.corpus for calibration in used):
        return
    raise UsageError(
        f"the calibration text `{chosen.corpus}` ({chosen.samples} x {chosen.length} tokens) has "
        "no effect: no recipe here calibrates on it",
        hint="leave the --calibration options out, or name a recipe that calibrates and no text "
        "of its own, such as gptq-4",
    )


def _grammar(method: str) -> Grammar:
    grammar: Grammar = registry.load("quantizer", registry.QUANTIZERS, method)
    return grammar


def _split(name: str) -> tuple[str, str, str]:
    """Method, options and corpus of a name; all empty if it begins with no known method.

    Capital letters mean nothing in the first two: llama.cpp writes its types ``Q4_K_M``.
    """
    text, _, corpus = name.partition("@")
    text = text.lower()
    # A method's name may itself begin with another's and a dash.
    for method in sorted(registry.QUANTIZERS, key=len, reverse=True):
        if text.startswith(f"{method}-"):
            return method, text.removeprefix(f"{method}-"), corpus
    return "", "", ""


def _unused_corpus(name: str, corpus: str, option: str) -> UsageError:
    return UsageError(
        f"recipe `{name}@{corpus}` names a calibration text but uses none",
        hint=f"add `{option}`: {name}{option}@{corpus}" if option else f"use `{name}`",
    )
