"""`sensitivity`: which parts of a model carry the loss of its variants.

OUT/sensitivity/<model>/sensitivity.json     the answer
OUT/sensitivity/<model>/records/             what was scored; rerun to resume
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np

from bitloss.engines.dense.precision import as_precision
from bitloss.engines.dense.swaps.hybrid import GraphWeights
from bitloss.engines.dense.swaps.parts import (
    DIVISIONS,
    WHOLE,
    Part,
    Places,
    divide,
    make_part,
)
from bitloss.engines.dense.swaps.scorer import Swap, SwapScorer
from bitloss.errors import BitlossError, StorageError, UnknownName, UsageError
from bitloss.metrics.intervals import Series
from bitloss.results import Estimate, Failure, ProtocolUsed
from bitloss.results.document import refuse_newer_schema
from bitloss.runner.environment import describe_environment
from bitloss.runner.models import Variant
from bitloss.runner.store import RunStore
from bitloss.spec.choices import CompareOptions, StrPath
from bitloss.studies.run import run_folders
from bitloss.studies.sensitivity.decide import Judge, Ranking, n_statements, rank, ratio
from bitloss.studies.sensitivity.measure import Measurement, Scored, in_order, measure
from bitloss.studies.sensitivity.result import (
    SENSITIVITY,
    DivisionResult,
    PartResult,
    SensitivityResult,
    VariantParts,
    WorkDone,
)
from bitloss.studies.sensitivity.setup import Prepared, differing, prepare_parts
from bitloss.types import Progress, SilentProgress

__all__ = ["DEFAULT_PARTS", "sensitivity", "target_of"]

DEFAULT_PARTS = ("kinds", "layers")
_REFERENCE = "reference"
# What is recovered decides nothing, so it is known from the first looks alone.
_RESTORED_LOOKS = 2
_SAME = "every tensor is the reference's: there is no loss to divide"


@dataclass(frozen=True, slots=True)
class _Subject:
    """A variant that is measured."""

    variant: Variant
    divisions: Mapping[str, tuple[Part, ...]]
    unchanged: Mapping[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        return self.variant.name

    @property
    def parts(self) -> list[Part]:
        """Of all divisions."""
        return [part for own in self.divisions.values() for part in own]

    def alone(self, part: Part) -> Swap:
        """This part of the variant in the reference."""
        return Swap(_REFERENCE, self.name, part)

    def restored(self, part: Part) -> Swap:
        """The variant with this part of the reference."""
        return Swap(self.name, _REFERENCE, part)

    def whole(self, part: Part | None) -> Swap:
        """The variant itself: loaded, or all of it in the reference."""
        return Swap(self.name if part is None else _REFERENCE, self.name, part)


def sensitivity(
    model: StrPath,
    variants: Sequence[StrPath],
    *,
    parts: Sequence[str] = DEFAULT_PARTS,
    restore: bool = True,
    reuse: bool = True,
    out: StrPath = "studies",
    command: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> SensitivityResult:
    """Exchange a variant's parts one by one and rank them by the loss that they carry.

    Args:
        model: the unquantized reference: a path or a hub name.
        variants: models or recipes.
        parts: divisions (`bitloss.engines.dense.swaps.parts.DIVISIONS`) or names of single parts,
            which are then measured beside their division's other parts taken together.
        restore: whether each part is also put back into the variant.
        reuse: whether a swap begins at the first layer that it changes; for measurements.
        out: where the results go. Rerun to resume.
        command: the words of the command line, recorded.
        progress: where to report; None is silent.
        options: see `bitloss.spec.choices.CompareOptions`; those that score a text, of one corpus.
            By default
            ``until="decided"``: a part is scored no further once it is known whether it is the
            worst and whether it is cheap; ``"all"`` scores the whole text.

    Returns:
        Parts with intervals. A variant that fails has its error there.

    Raises:
        UsageError: no variants, or options and parts that mean nothing.
        BitlossError: the reference or the text cannot be used.
    """
    progress = progress or SilentProgress()
    names = [str(one) for one in variants]
    if not names:
        raise UsageError(
            "expected at least one variant, got none", hint="name a recipe, such as gguf-q4_k_m"
        )
    target = target_of(model, Path(out))
    folder = target.parent
    refuse_newer_schema(target, SENSITIVITY)
    looks = options.pop("until", "decided") == "decided"
    corpus = _one_corpus(options.pop("corpora", None))
    ready = prepare_parts(str(model), names, corpus, options, progress)
    scorer = SwapScorer(
        ready.reference.model,
        precision=as_precision(ready.spec.dtype),
        device=ready.spec.device,
        reuse=reuse,
    )
    scorer.load(_REFERENCE, ready.weights)
    subjects, failed = _open(ready, names, parts, scorer, restore=restore, progress=progress)
    store = RunStore(folder)
    with store.locked():
        study = _Study(ready, scorer, subjects, looks, restore)
        found = study.run(store, progress)
        result = study.result(found, names, failed, shlex.join(command))
        result.write(target)
    return result


def _one_corpus(corpora: StrPath | Sequence[StrPath] | None) -> str:
    """The text, by default WikiText-2.

    Raises:
        UsageError: there are several.
    """
    if corpora is None:
        return "wikitext-2"
    given = [corpora] if isinstance(corpora, str | os.PathLike) else corpora
    names = [os.fspath(name) for name in given]
    if len(names) != 1:
        raise UsageError(
            f"expected one corpus, got {', '.join(names) or 'none'}",
            hint="name one: every part is scored on the same text",
        )
    return names[0]


def target_of(model: StrPath, out: Path) -> Path:
    """Where the answer for a model goes."""
    return run_folders([model], out / "sensitivity")[str(model)] / "sensitivity.json"


def _open(
    ready: Prepared,
    names: Sequence[str],
    parts: Sequence[str],
    scorer: SwapScorer,
    *,
    restore: bool,
    progress: Progress,
) -> tuple[list[_Subject], dict[str, VariantParts]]:
    """Variants that can be measured, and results of those that cannot."""
    subjects: list[_Subject] = []
    failed: dict[str, VariantParts] = {}
    for name in names:
        try:
            variant = ready.open(name, progress)
            weights = ready.weights_of(variant)
            with progress.task(f"read {name}", None, "tensors"):
                changed = differing(ready.weights, weights)
            if restore and changed:
                scorer.load(name, weights)
            scorer.add_donor(name, weights)
        except StorageError:
            raise
        except BitlossError as error:
            failure = Failure(message=error.message, hint=error.hint)
            failed[name] = VariantParts(name=name, error=failure)
            continue
        if changed:
            subjects.append(_subject(ready, variant, weights, changed, parts, scorer))
        else:
            info = variant.model.identity.info
            failed[name] = VariantParts(
                name=name,
                digest=info.digest,
                bits_per_weight=info.bits_per_weight,
                loss=Estimate(value=0.0, low=0.0, high=0.0),
                notes=(*variant.notes, _SAME),
            )
    return subjects, failed


def _subject(
    ready: Prepared,
    variant: Variant,
    weights: GraphWeights,
    changed: frozenset[str],
    parts: Sequence[str],
    scorer: SwapScorer,
) -> _Subject:
    places = Places(ready.weights, scorer.stack.path, len(scorer.stack), (weights,))
    asked = [name for name in parts if name in DIVISIONS]
    single = [name for name in parts if name not in DIVISIONS]
    divisions = divide(places, asked, changed)
    every = divide(places, asked, places.names)
    unchanged = {
        name: tuple(p.name for p in own if p.name not in {q.name for q in divisions[name]})
        for name, own in every.items()
    }
    if single:
        divisions["named"] = _named(places, single, changed)
        unchanged["named"] = ()
    return _Subject(variant, divisions, unchanged)


def _named(places: Places, names: Sequence[str], changed: frozenset[str]) -> tuple[Part, ...]:
    """Single parts, and all the rest as one more."""
    known: dict[str, Part] = {}
    for division in DIVISIONS:
        try:
            own = divide(places, [division], changed)[division]
        except UnknownName:  # no experts
            continue
        known |= {part.name: part for part in own if part.name not in known}
    for name in names:
        if name not in known:
            raise UnknownName("part", name, [*DIVISIONS, *known])
    chosen = [known[name] for name in dict.fromkeys(names)]
    taken = [piece for part in chosen for piece in part.pieces]
    if len({(piece.name, piece.experts) for piece in taken}) < len(taken):
        raise UsageError(
            f"expected parts without a tensor in common, got {', '.join(names)}",
            hint="name layers or kinds, not both",
        )
    inside = {piece.name for piece in taken}
    rest = {
        piece for part in known.values() if part.division == "tensors" for piece in part.pieces
        if piece.name not in inside
    } | {
        piece for part in known.values() if part.division == "kinds" for piece in part.pieces
        if piece.name not in inside
    }  # fmt: skip
    if rest:
        chosen.append(make_part(places, "all-else", "named", rest))
    return tuple(chosen)


class _Study:
    """The measuring, once everything is open."""

    def __init__(
        self,
        ready: Prepared,
        scorer: SwapScorer,
        subjects: Sequence[_Subject],
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

    def _whole(self, subject: _Subject) -> Part | None:
        if self.restore:
            return None  # it is loaded
        first = next(iter(subject.divisions.values()))
        pieces = frozenset(piece for part in first for piece in part.pieces)
        head = any(part.head for part in first)
        layer = min(part.first_layer for part in first)
        return Part(WHOLE, WHOLE, pieces, layer, head, sum(part.weights for part in first))

    def run(self, store: RunStore, progress: Progress) -> Measurement:
        """Score until everything is decided, or all of the text."""
        reference = self.ready.reference.model.identity.info.digest
        digests = {_REFERENCE: reference} | {
            one.name: one.variant.model.identity.info.digest for one in self.subjects
        }
        if not self.subjects:
            return Measurement(len(self.order))
        return measure(
            self.scorer,
            store,
            self.order,
            self._all_swaps(Measurement(len(self.order))),
            self._open_swaps if self.judge.looks else self._all_swaps,
            digests=digests,
            batch_tokens=self.ready.spec.batch_tokens,
            progress=progress,
        )

    def _swaps(self, parts: Mapping[str, Sequence[Part]], *, restored: bool) -> list[Swap]:
        swaps: list[Swap] = []
        for subject in self.subjects:
            own = [subject.alone(part) for part in parts[subject.name]]
            if restored:
                own += [subject.restored(part) for part in subject.parts]
            swaps += [self._wholes[subject.name], *own] if own else []
        return swaps

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

    def _open_parts(self, found: Measurement, subject: _Subject) -> list[Part]:
        rankings = {name: self._ranking(found, subject, name) for name in subject.divisions}
        return [
            part
            for division, own in subject.divisions.items()
            for part in own
            if not rankings[division].parts[part.name].settled
        ]

    def _ranking(self, found: Measurement, subject: _Subject, division: str) -> Ranking:
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

    def _variant(self, found: Measurement, subject: _Subject) -> VariantParts:
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
        self, found: Measurement, subject: _Subject, division: str, whole: Scored
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
        self, found: Measurement, subject: _Subject, part: Part, whole: Scored
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
