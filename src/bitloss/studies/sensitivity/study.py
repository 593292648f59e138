"""The measuring of a study of parts, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from bitloss.engines.dense.swaps.parts import WHOLE, Part
from bitloss.engines.dense.swaps.scorer import Swap, SwapScorer
from bitloss.metrics.intervals import Series
from bitloss.results import Estimate, ProtocolUsed
from bitloss.runner.environment import describe_environment
from bitloss.runner.store import RunStore
from bitloss.studies.sensitivity.decide import Judge, Ranking, n_statements, rank, ratio
from bitloss.studies.sensitivity.measure import Measurement, Scored, in_order, measure
from bitloss.studies.sensitivity.result import (
    DivisionResult,
    PartResult,
    SensitivityResult,
    VariantParts,
    WorkDone,
)
from bitloss.studies.sensitivity.setup import Prepared
from bitloss.studies.sensitivity.subjects import REFERENCE, Subject
from bitloss.types import Progress

__all__ = ["PartStudy"]

# What is recovered decides nothing, so it is known from the first looks alone.
_RESTORED_LOOKS = 2


class PartStudy:
    """The measuring, once everything is open."""

    def __init__(
        self,
        ready: Prepared,
        scorer: SwapScorer,
        subjects: Sequence[Subject],
        looks: bool,
        restore: bool,
    ) -> None:
        self.ready, self.scorer, self.subjects = ready, scorer, subjects
        self.restore = restore
        self.order = in_order(ready.windows, ready.facts, ready.spec.seed)
        sizes = [len(own) for subject in subjects for own in subject.divisions.values()]
        self.judge = Judge(
            facts=ready.facts,
            places=np.sort(np.array([window.place for window in self.order], dtype=np.int32)),
            looks=looks,
            statements=n_statements(sizes),
            seed=ready.spec.seed,
        )
        self._wholes = {subject.name: subject.whole(self._whole(subject)) for subject in subjects}

    def _whole(self, subject: Subject) -> Part | None:
        if self.restore:
            return None  # it is loaded
        first = next(iter(subject.divisions.values()))
        pieces = frozenset(piece for part in first for piece in part.pieces)
        head = any(part.head for part in first)
        layer = min(part.first_layer for part in first)
        return Part(WHOLE, WHOLE, pieces, layer, head, sum(part.weights for part in first))

    def run(self, store: RunStore, progress: Progress) -> Measurement:
        """Score until everything is decided, or all of the text."""
        tokens = self.ready.spec.tokens_in_forward
        models = {REFERENCE: self.ready.reference.model} | {
            subject.name: subject.variant.model for subject in self.subjects
        }
        if not self.subjects:
            return Measurement(len(self.order))
        return measure(
            self.scorer,
            store,
            self.order,
            self._all_swaps(Measurement(len(self.order))),
            self._open_swaps if self.judge.looks else self._all_swaps,
            identities={
                name: self.scorer.identity(model, tokens) for name, model in models.items()
            },
            batch_tokens=tokens,
            progress=progress,
        )

    def _swaps(self, parts: Mapping[str, Sequence[Part]], *, restored: bool) -> list[Swap]:
        swaps: list[Swap] = []
        for subject in self.subjects:
            own = [subject.alone(part) for part in parts[subject.name]]
            if restored:
                own += [subject.restored(part) for part in subject.parts]
            swaps += [self._wholes[subject.name], *own] if own else []
        # Divisions have parts in common: embeddings and head.
        return list({swap.key: swap for swap in swaps}.values())

    def _all_swaps(self, found: Measurement) -> list[Swap]:
        del found
        parts = {subject.name: subject.parts for subject in self.subjects}
        return self._swaps(parts, restored=self.restore)

    def _open_swaps(self, found: Measurement) -> list[Swap]:
        """The parts of which something that matters is open."""
        rest = {subject.name: self._open_parts(found, subject) for subject in self.subjects}
        if not any(rest.values()):
            return []
        return self._swaps(rest, restored=self.restore and found.looks < _RESTORED_LOOKS)

    def _open_parts(self, found: Measurement, subject: Subject) -> list[Part]:
        rankings = {name: self._ranking(found, subject, name) for name in subject.divisions}
        return [
            part
            for division, own in subject.divisions.items()
            for part in own
            if not rankings[division].parts[part.name].settled
        ]

    def _ranking(self, found: Measurement, subject: Subject, division: str) -> Ranking:
        scored = {
            part.name: found.scored[subject.alone(part).key]
            for part in subject.divisions[division]
        }  # fmt: skip
        return rank(scored, found.scored[self._wholes[subject.name].key], self.judge)

    # Results ------------------------------------------------------------------------------

    def result(
        self,
        found: Measurement,
        names: Sequence[str],
        failed: Mapping[str, VariantParts],
        command: str,
    ) -> SensitivityResult:
        """Everything as the document has it."""
        ready = self.ready
        measured = {subject.name: self._variant(found, subject) for subject in self.subjects}
        info = ready.reference.model.identity.info
        return SensitivityResult(
            model=ready.reference.name,
            digest=info.digest,
            corpus=ready.facts.name,
            protocol=ProtocolUsed(
                name=ready.facts.protocol, parameters=dict(ready.facts.parameters)
            ),
            n_windows=len(self.order),
            n_tokens=sum(window.n_scored for window in self.order),
            sequential=self.judge.looks,
            statements=self.judge.statements,
            variants=tuple({**measured, **failed}[name] for name in names),
            work=self._work(found),
            environment=describe_environment(ready.spec, ready.plan.engines, command),
        )

    def _variant(self, found: Measurement, subject: Subject) -> VariantParts:
        info = subject.variant.model.identity.info
        whole = found.scored[self._wholes[subject.name].key]
        return VariantParts(
            name=subject.name,
            digest=info.digest,
            bits_per_weight=info.bits_per_weight,
            loss=self._loss(whole),
            divisions=tuple(
                self._division(found, subject, division, whole) for division in subject.divisions
            ),
            notes=subject.variant.notes,
        )

    def _loss(self, one: Scored) -> Estimate:
        tokens = one.tokens.astype(np.float64)
        series = Series(one.loss / tokens, tokens)
        return Estimate.of(self.judge.interval(series, one.window))

    def _division(
        self, found: Measurement, subject: Subject, division: str, whole: Scored
    ) -> DivisionResult:
        ranking = self._ranking(found, subject, division)
        results = []
        for part in subject.divisions[division]:
            own, standing = found.scored[subject.alone(part).key], ranking.parts[part.name]
            results.append(
                PartResult(
                    part=part.name,
                    weights=part.weights,
                    tensors=len(part.pieces),
                    loss=self._loss(own),
                    share=Estimate.of(standing.share),
                    recovered=self._recovered(found, subject, part, whole),
                    standing=standing.standing,
                    n_windows=len(own.window),
                    decided=standing.settled and self.judge.looks,
                )
            )
        results.sort(key=lambda part: -(part.share.value or 0.0))
        return DivisionResult(
            division=division,
            parts=tuple(results),
            unchanged=subject.unchanged[division],
            sum_of_parts=Estimate.of(ranking.total),
            sum_windows=ranking.total_windows,
        )

    def _recovered(
        self, found: Measurement, subject: Subject, part: Part, whole: Scored
    ) -> Estimate | None:
        one = found.scored.get(subject.restored(part).key)
        if one is None:
            return None
        same = whole.on(one.window)
        return Estimate.of(self.judge.interval(ratio(same.loss - one.loss, same.loss), one.window))

    def _work(self, found: Measurement) -> WorkDone:
        swaps = len(found.scored)
        layers = len(self.scorer.stack)
        weights = self.scorer.weights_per_token()
        done = found.work.layers * weights.layer + found.work.heads * weights.head
        read = sum(len(window.ids) - 1 for window in self.order)
        scored = sum(window.n_scored for window in self.order)
        full = (swaps + 1) * (read * layers * weights.layer + scored * weights.head)
        windows = max((len(one.window) for one in found.scored.values()), default=0)
        return WorkDone(
            swaps=swaps,
            looks=found.looks,
            windows=windows,
            share_of_full=done / full if full else 0.0,
            reused_states=self.scorer.reuse and self.scorer.stack.works,
        )
