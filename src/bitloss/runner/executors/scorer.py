"""A `PairScorer` whose work is done by workers.

`prepare` hands out what a model does by itself and does not wait; `score` hands out the comparing,
waits, and reads the result off the store as a scorer on this machine does: nothing is left for that
one to do. A candidate that fails does so with the error of its first piece at fault, as it would
here.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bitloss.engines.base import PairScorer, Piece
from bitloss.engines.values import Candidate, Scores, Setup, Store, digest_windows
from bitloss.errors import BitlossError
from bitloss.runner.executors.parts import (
    Action,
    Compare,
    Floor,
    Outcome,
    Read,
    SentCandidate,
    SentSetup,
)
from bitloss.runner.executors.pool import Given, Part, Pool, require_whole
from bitloss.runner.executors.schedule import Task
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.serving import Serving
from bitloss.types import Progress, Window

if TYPE_CHECKING:
    import torch

__all__ = ["PoolScorer", "parts_of", "share_out"]

# Parts for each worker: enough that the last ones end at about the same time, few enough that a
# model is seldom loaded again.
_PARTS_EACH = 3


@dataclass(slots=True, eq=False)
class _Chunk:
    """Pieces that travel together.

    Attributes:
        pieces: neighbors.
        reads: by the candidate's label, the part that reads them.
        compares: by the candidate's label (empty: the reference alone), the part that compares.
    """

    pieces: tuple[Piece, ...]
    reads: dict[str, Part] = field(default_factory=dict)
    compares: dict[str, Part] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        return sum(piece.tokens for piece in self.pieces)


def parts_of(pieces: int, workers: int) -> int:
    """How many parts so many pieces are put together to."""
    return min(pieces, workers * _PARTS_EACH)


def share_out(pieces: Sequence[Piece], workers: int) -> list[tuple[Piece, ...]]:
    """Pieces in runs of neighbors of about the same number of tokens, some for each worker."""
    total = sum(piece.tokens for piece in pieces)
    size = total / max(1, parts_of(len(pieces), workers))
    runs: list[list[Piece]] = []
    before = 0
    for piece in pieces:
        if not runs or before >= size * len(runs):
            runs.append([])
        runs[-1].append(piece)
        before += piece.tokens
    return [tuple(run) for run in runs]


class PoolScorer:
    """Hands the work of a scorer to a pool; satisfies `PairScorer`.

    Args:
        local: the scorer on this machine, over the run's store.
        sent: what workers make the same scorer of.
        pool: the workers.
        store: the run's.
        progress: where to report.
        floors: by name, the parts of noise floors that scorers of a run have begun.
    """

    def __init__(
        self,
        local: PairScorer,
        sent: SentSetup,
        pool: Pool,
        store: Store,
        progress: Progress,
        floors: dict[str, Part],
    ) -> None:
        self._local = local
        self._sent = sent
        self._pool = pool
        self._store = store
        self._progress = progress
        self._floors = floors
        self._chunks: dict[str, list[_Chunk]] = {}
        self._candidates: dict[str, SentCandidate] = {}
        self._exact: PairScorer | None = None
        self._name = f"{sent.reference.run.label}, scorer {next(pool.numbers)}"
        self._kept: list[Part] = []
        weakref.finalize(self, pool.drop, self._kept)

    @classmethod
    def of(
        cls,
        local: PairScorer,
        setup: Setup,
        engines: Sequence[str],
        pool: Pool,
        *,
        floors: dict[str, Part],
    ) -> PoolScorer:
        """The scorer of a run's setup; see `bitloss.engines.evaluate.make_scorer`."""
        sent = SentSetup.of(setup, engines)
        return cls(local, sent, pool, setup.store, setup.progress, floors)

    # As on this machine ---------------------------------------------------------------------------

    @property
    def reference(self) -> Candidate:
        """See `PairScorer.reference`."""
        return self._local.reference

    def pieces(self, windows: Sequence[Window]) -> Sequence[Piece]:
        """See `PairScorer.pieces`."""
        return self._local.pieces(windows)

    def smallest_pieces(self, windows: Sequence[Window], enough: int) -> Sequence[Piece]:
        """See `PairScorer.smallest_pieces`."""
        return self._local.smallest_pieces(windows, enough)

    def unscored(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Sequence[Piece]:
        """See `PairScorer.unscored`."""
        return self._local.unscored(pieces, group)

    def rounds(self, pieces: Sequence[Piece], candidates: int) -> int:
        """See `PairScorer.rounds`."""
        return self._local.rounds(pieces, candidates)

    def reference_logits(self, piece: Piece) -> Iterator[torch.Tensor]:
        """See `PairScorer.reference_logits`: of states in the run's store only."""
        return self._local.reference_logits(piece)

    def kept_states(self, pieces: Sequence[Piece]) -> list[str]:
        """See `PairScorer.kept_states`."""
        return self._local.kept_states(pieces)

    def exact(self) -> PairScorer | None:
        """See `PairScorer.exact`."""
        if self._exact is None and (local := self._local.exact()) is not None:
            sent = replace(self._sent, exact=True)
            self._exact = PoolScorer(
                local, sent, self._pool, self._store, self._progress, self._floors
            )
        return self._exact

    # Handed out -----------------------------------------------------------------------------------

    def prepare(
        self, pieces: Sequence[Piece], candidate: Candidate, group: Sequence[Candidate]
    ) -> None:
        """See `PairScorer.prepare`: nothing is waited for; errors come with `score`."""
        for chunk in self._chunks_of(pieces):
            if candidate is self.reference:
                self._read(chunk, None, group)
            elif self._local.unscored(chunk.pieces, [candidate]):
                self._read(chunk, candidate, group)

    def begin(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> None:
        """Hand out all that `prepare` and `score` will wait for."""
        for candidate in (self.reference, *group):
            self.prepare(pieces, candidate, group)
        for chunk in self._chunks_of(pieces):
            self._compare(chunk, group)

    def score(self, pieces: Sequence[Piece], group: Sequence[Candidate]) -> Scores:
        """See `PairScorer.score`."""
        self.begin(pieces, group)
        chunks = self._chunks_of(pieces)
        labels = [candidate.label for candidate in group]
        parts = {
            part: chunk.tokens
            for chunk in chunks
            for label, part in chunk.compares.items()
            if label in labels or not group
        }
        if parts:
            count = self._pool.size
            label = f"read and compare on {count} worker{'s' * (count != 1)}"
            with self._progress.task(label, sum(parts.values())) as advance:
                self._pool.wait(list(parts), lambda part: advance(parts[part]))
        failed = self._failures(chunks, labels)
        scores = self._local.score(pieces, [c for c in group if c.label not in failed])
        scores.failed.update(failed)
        self._let_go(chunks, labels)
        return scores

    def noise_floor(self, windows: Sequence[Window]) -> list[str]:
        """See `PairScorer.noise_floor`."""
        return self._wait_for(self.begin_floor(windows, None))

    def rounding_noise(
        self, windows: Sequence[Window], serving: Serving, candidate: Candidate | None = None
    ) -> list[str]:
        """See `PairScorer.rounding_noise`."""
        return self._wait_for(self.begin_floor(windows, serving, candidate))

    def begin_floor(
        self,
        windows: Sequence[Window],
        serving: Serving | None,
        candidate: Candidate | None = None,
    ) -> Part:
        """Hand out a noise floor, unless some scorer of the same setup has."""
        sent, reference = self._sent, self.reference.label
        label = reference if candidate is None else candidate.label
        types = "" if serving is None else f", {serving.label}, nudged"
        engines = ", ".join(sent.engines)
        facts = [sent.exact, sent.values["share_prefixes"], digest_windows(windows)]
        key = f"floor of {label} in {engines}{types} beside {reference} ({fingerprint(facts)[:12]})"
        if key not in self._floors:
            own = None if candidate is None else self._to_send(candidate)
            action = Floor(sent, tuple(windows), serving, own)
            seconds = 2.0 * sum(len(window.ids) for window in windows)
            self._floors[key] = Part(Task(key, key, seconds), lambda: (action, ()))
            self._pool.add(self._floors[key])
        return self._floors[key]

    def _wait_for(self, part: Part) -> list[str]:
        with self._progress.task("measure the noise floor", None, "parts"):
            self._pool.wait([part])
        outcome = part.done.result()
        require_whole(outcome)
        names: list[str] = outcome.value
        return names

    # Parts ----------------------------------------------------------------------------------------

    def _chunks_of(self, pieces: Sequence[Piece]) -> list[_Chunk]:
        name = fingerprint([[piece.first, piece.digest] for piece in pieces])
        if name not in self._chunks:
            runs = share_out(pieces, self._pool.size)
            self._chunks[name] = [_Chunk(run) for run in runs]
        return self._chunks[name]

    def _read(self, chunk: _Chunk, candidate: Candidate | None, group: Sequence[Candidate]) -> None:
        label = "" if candidate is None else candidate.label
        if label in chunk.reads or not self._local.unscored(chunk.pieces, group):
            return
        if candidate is None and (given := self._given(chunk)) is not None:
            chunk.reads[label] = given
            return
        sent = None if candidate is None else self._to_send(candidate)
        others = tuple(self._to_send(one) for one in group)
        action = Read(self._sent, chunk.pieces, sent, others)
        model = label or self.reference.label
        # A variant may be the reference by name: its part is another one all the same.
        task = Task(
            self._key(chunk, "states", label), model, chunk.tokens, (), chunk.pieces[0].first
        )
        chunk.reads[label] = Part(task, lambda: (action, ()))
        self._kept.append(chunk.reads[label])
        self._pool.add(chunk.reads[label])

    def _given(self, chunk: _Chunk) -> Given | None:
        """States of the reference that are in the run's store: a run on this machine left them."""
        names = self._local.kept_states(chunk.pieces)
        if not names or not all(map(self._store.has_states, names)):
            return None
        states = {name: self._store.read_states(name) for name in names}
        given = Given(Task(self._key(chunk, "given", "")), lambda: None)
        given.states = self._pool.put(states)
        given.done.set_result(Outcome())
        return given

    def _compare(self, chunk: _Chunk, group: Sequence[Candidate]) -> None:
        """Hand out the comparing of those of the group that lack it."""
        missing = [
            one
            for one in group
            if one.label not in chunk.compares and self._local.unscored(chunk.pieces, [one])
        ]
        if not missing and (group or "" in chunk.compares):
            return
        if not group and not self._local.unscored(chunk.pieces, []):
            return
        label = "" if not missing else missing[0].label
        own = {one.label: chunk.reads[one.label] for one in missing if one.label in chunk.reads}
        reference = chunk.reads[""]
        needs = (reference, *own.values())
        labels = [one.label for one in missing]
        sent = {one.label: self._to_send(one) for one in missing}

        def build() -> tuple[Action, Sequence[Part]] | None:
            if _error(reference) is not None:
                return None
            good = [name for name in labels if name not in own or _error(own[name]) is None]
            action = Compare(self._sent, chunk.pieces, tuple(sent[name] for name in good))
            return action, [reference, *(own[name] for name in good if name in own)]

        task = Task(
            self._key(chunk, "pair", label),
            f"heads {self._name}",
            chunk.tokens * (1 + len(missing)) / 4,
            tuple(part.task.key for part in needs if not isinstance(part, Given)),
            chunk.pieces[0].first,
        )
        part = Part(task, build, needs)
        for name in labels or [""]:
            chunk.compares[name] = part
        self._pool.add(part)

    def _failures(self, chunks: Sequence[_Chunk], labels: Sequence[str]) -> dict[str, BitlossError]:
        """By label, the error of the first piece at fault: of reading, else of comparing.

        Raises:
            BitlossError: the reference's own.
        """
        for chunk in chunks:
            if (part := chunk.reads.get("")) is not None:
                require_whole(part.done.result() if part.done.done() else Outcome())
        failed: dict[str, BitlossError] = {}
        for label in labels:
            reads = [_error(chunk.reads.get(label)) for chunk in chunks]
            pairs = [self._pair_error(chunk.compares.get(label), label) for chunk in chunks]
            first = next(filter(None, [*reads, *pairs]), None)
            if first is not None:
                failed[label] = first
        return failed

    def _pair_error(self, part: Part | None, label: str) -> BitlossError | None:
        if part is None:
            return None
        outcome = part.done.result()
        require_whole(outcome)
        return outcome.failed[label].raised() if label in outcome.failed else None

    def _let_go(self, chunks: Sequence[_Chunk], labels: Sequence[str]) -> None:
        """States of variants are not needed any more; the reference's may be, by others."""
        done = [part for chunk in chunks for part in chunk.compares.values()]
        done += [chunk.reads[n] for chunk in chunks for n in labels if n in chunk.reads]
        self._pool.drop([part for part in done if part.done.done()])

    def _to_send(self, candidate: Candidate) -> SentCandidate:
        if candidate.label not in self._candidates:
            self._candidates[candidate.label] = SentCandidate.of(candidate)
        return self._candidates[candidate.label]

    def _key(self, chunk: _Chunk, kind: str, label: str) -> str:
        first = chunk.pieces[0]
        place = f"{first.first}, {first.digest[:12]}, {self._name}"
        return f"{kind} of {label or 'the reference'} ({place})"


def _error(part: Part | None) -> BitlossError | None:
    if part is None or not part.done.done():
        return None
    error = part.done.result().error
    return None if error is None else error.raised()
