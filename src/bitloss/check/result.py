"""What a gate found: its JSON document, and what Python code gets."""

from __future__ import annotations

import json
from typing import Literal

from bitloss.check.measures import Kind
from bitloss.results.values import Frozen

__all__ = ["CHECK_SCHEMA_VERSION", "CheckResult", "Judgement", "Outcome", "WhenUndecided"]

CHECK_SCHEMA_VERSION = 1

Outcome = Literal["pass", "fail", "undecided"]

WhenUndecided = Literal["skip", "fail", "pass"]
"""What an undecided threshold does to the gate: leaves it undecided, fails it, passes it."""

_EXIT_CODES = {"pass": 0, "fail": 1, "undecided": 3}


class Judgement(Frozen):
    """One threshold on one variant.

    Attributes:
        variant: its name.
        measure: ``max_relative_perplexity``, ``max_kld``, ``min_top1``, ``max_loss``; or
            ``measured`` for a variant that has no figures.
        kind: of the thing that the figure is about; null for ``measured``.
        name: of that thing.
        value: the figure; with a baseline, by how much it changed. Null if it does not exist.
        low: lower 95 % confidence limit; null if it does not exist.
        high: upper 95 % confidence limit; likewise.
        limit: the threshold.
        outcome: ``pass`` if the whole interval keeps the limit, ``fail`` if the whole interval
            breaks it, else ``undecided``.
        reason: why, where the figures do not say it.
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


class CheckResult(Frozen):
    """A gate's result.

    Attributes:
        schema_version: of this document.
        outcome: of the gate.
        when_undecided: what undecided thresholds do to the outcome.
        run: where the run is.
        baseline: where the earlier run is, whose figures the changes are measured from.
        reference: the reference's name.
        confidence: of the intervals.
        judgements: by variant, in the order of the run.
    """

    schema_version: int = CHECK_SCHEMA_VERSION
    outcome: Outcome
    when_undecided: WhenUndecided
    run: str
    baseline: str | None = None
    reference: str
    confidence: float = 0.95
    judgements: tuple[Judgement, ...]

    @property
    def exit_code(self) -> int:
        """0 passed, 1 failed, 3 undecided."""
        return _EXIT_CODES[self.outcome]

    def count(self, outcome: Outcome) -> int:
        """How many judgements came out so."""
        return sum(judgement.outcome == outcome for judgement in self.judgements)

    def to_json(self) -> str:
        """The document: fields in declared order, one final newline."""
        values = self.model_dump(mode="json")
        return json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
