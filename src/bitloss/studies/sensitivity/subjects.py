"""The variants of a study of parts, opened, each with the parts that it is divided into."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitloss.engines.dense.swaps.hybrid import NamedWeights, Piece
from bitloss.engines.dense.swaps.parts import DIVISIONS, Part, Places, divide, make_part
from bitloss.engines.dense.swaps.scorer import Swap, SwapScorer
from bitloss.errors import BitlossError, StorageError, UnknownName, UsageError
from bitloss.results import Estimate, Failure
from bitloss.runner.models import Variant
from bitloss.studies.sensitivity.result import VariantParts
from bitloss.studies.sensitivity.setup import Prepared, differing
from bitloss.types import Progress

__all__ = ["REFERENCE", "Subject", "named_parts", "open_subjects"]

REFERENCE = "reference"
"""The reference's name in swaps."""

_SAME = "every tensor is the reference's: there is no loss to divide"


@dataclass(frozen=True, slots=True)
class Subject:
    """A variant that is measured."""

    variant: Variant
    divisions: Mapping[str, tuple[Part, ...]]
    unchanged: Mapping[str, tuple[str, ...]]

    @property
    def name(self) -> str:
        """As the user wrote it."""
        return self.variant.name

    @property
    def parts(self) -> list[Part]:
        """Of all divisions."""
        return [part for own in self.divisions.values() for part in own]

    def alone(self, part: Part) -> Swap:
        """This part of the variant in the reference."""
        return Swap(REFERENCE, self.name, part)

    def restored(self, part: Part) -> Swap:
        """The variant with this part of the reference."""
        return Swap(self.name, REFERENCE, part)

    def whole(self, part: Part | None) -> Swap:
        """The variant itself: loaded, or all of it in the reference."""
        return Swap(self.name if part is None else REFERENCE, self.name, part)


def open_subjects(
    ready: Prepared,
    names: Sequence[str],
    parts: Sequence[str],
    scorer: SwapScorer,
    *,
    restore: bool,
    progress: Progress,
) -> tuple[list[Subject], dict[str, VariantParts]]:
    """Variants that can be measured, and results of those that cannot."""
    subjects: list[Subject] = []
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
    weights: NamedWeights,
    changed: frozenset[str],
    parts: Sequence[str],
    scorer: SwapScorer,
) -> Subject:
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
        divisions["named"] = named_parts(places, single, changed)
        unchanged["named"] = ()
    return Subject(variant, divisions, unchanged)


def named_parts(places: Places, names: Sequence[str], changed: frozenset[str]) -> tuple[Part, ...]:
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
    whole = [piece.name for piece in taken if piece.experts is None]
    some = [(piece.name, piece.experts) for piece in taken if piece.experts is not None]
    repeated = len(set(whole)) < len(whole) or len(set(some)) < len(some)
    if repeated or {name for name, _ in some} & set(whole):
        raise UsageError(
            f"expected parts without a tensor in common, got {', '.join(names)}",
            hint="name layers or kinds, not both",
        )
    rest = [
        piece
        for name in places.names
        if name in changed and name not in whole
        for piece in _left(places, name, sorted(r for other, r in some if other == name))
    ]
    if rest:
        chosen.append(make_part(places, "all-else", "named", rest))
    return tuple(chosen)


def _left(places: Places, name: str, taken: Sequence[tuple[int, int]]) -> list[Piece]:
    """What is left of a tensor of which some experts are taken."""
    if not taken:
        return [Piece(name)]
    edges = [0, *(edge for one in taken for edge in one), places.experts(name)]
    return [
        Piece(name, (first, stop))
        for first, stop in zip(edges[::2], edges[1::2], strict=True)
        if first < stop
    ]
