"""A gate's result: its JSON document, and what Python code gets."""

from __future__ import annotations

import json
from typing import Annotated, Literal

from bitloss.checks.measures import Kind
from bitloss.results.values import OMIT_NULL, Frozen

__all__ = [
    "CHECK_SCHEMA_VERSION",
    "WITHIN",
    "CheckResult",
    "Judgment",
    "Outcome",
    "WhenUndecided",
]

CHECK_SCHEMA_VERSION = 2

Outcome = Literal["pass", "fail", "undecided"]

WhenUndecided = Literal["skip", "fail", "pass"]
"""What an undecided threshold does to the gate: leaves it undecided, fails it, passes it."""

WITHIN = "the limit lies within the interval"
"""Why most thresholds are undecided."""

_EXIT_CODES = {"pass": 0, "fail": 1, "undecided": 3}


class Judgment(Frozen):
    """One threshold on one variant.

    Attributes:
        variant: its name.
        measure: ``max_relative_perplexity``, ``max_kld``, ``min_top1``, ``min_overlap``,
            ``max_loss``; or ``measured`` for a variant that has no results.
        kind: of the target: ``corpus``, ``capability`` or ``task``; null for ``measured``.
        name: of the target.
        value: the result; with a baseline, by how much it changed. Null if it does not exist.
        low: lower bound of its 95% interval; null if it does not exist.
        high: upper bound; likewise.
        limit: the threshold.
        outcome: ``pass`` if the threshold allows all of the interval, ``fail`` if it allows none
            of it, else ``undecided``.
        reason: why, if the numbers do not say it.
        near_floor: true for a divergence within ten noise floors; else absent.
    """

    variant: str
    measure: str
    kind: Kind | None = None
    name: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
    limit: float | None = None
    outcome: Outcome
    reason: str = ""
    near_floor: Annotated[bool | None, OMIT_NULL] = None


class CheckResult(Frozen):
    """A gate's result.

    Attributes:
        schema_version: of this document.
        outcome: of the gate.
        when_undecided: what undecided thresholds do to the outcome.
        run: where the run is.
        baseline: where the earlier run is, from which changes are measured.
        reference: the reference's name.
        confidence: of the intervals.
        judgments: by variant, in the order of the run.
    """

    schema_version: int = CHECK_SCHEMA_VERSION
    outcome: Outcome
    when_undecided: WhenUndecided
    run: str
    baseline: str | None = None
    reference: str
    confidence: float = 0.95
    judgments: tuple[Judgment, ...]

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 undecided."""
        return _EXIT_CODES[self.outcome]

    def count(self, outcome: Outcome) -> int:
        """How many judgments have this outcome."""
        return sum(judgment.outcome == outcome for judgment in self.judgments)

    def to_json(self) -> str:
        """The document: fields in declared order, one final newline."""
        values = self.model_dump(mode="json")
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
