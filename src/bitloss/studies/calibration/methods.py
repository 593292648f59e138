"""Levels of the study by what they have in common, and what texts are called in sentences."""

from __future__ import annotations

from bitloss.studies.measured import Measured
from bitloss.studies.result import LevelResult

__all__ = ["OTHERS", "by_method", "words_for"]

OTHERS = "another domain's text"
_WORDS = {"random": "random tokens", "own": "the model's own text"}


def by_method(measured: Measured) -> dict[str, dict[str, LevelResult]]:
    """By recipe, then by domain: the levels of the usual size."""
    methods: dict[str, dict[str, LevelResult]] = {}
    for level in measured.levels:
        recipe, _, domain = level.level.partition("@")
        if ":" not in domain:
            methods.setdefault(recipe, {})[domain] = level
    return methods


def words_for(domain: str) -> str:
    """A domain in a sentence."""
    return _WORDS.get(domain, domain)
