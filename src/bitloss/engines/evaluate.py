"""Scorers put to work: which one serves a candidate, and a whole scoring in one call."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss import registry
from bitloss.engines.base import Engine, PairScorer, Piece
from bitloss.engines.logits import LogitsScorer
from bitloss.engines.several import SeveralScorer
from bitloss.engines.values import Candidate, Scores, Setup
from bitloss.errors import BitlossError, StorageError, UsageError

__all__ = ["evaluate", "load_engine", "make_scorer"]


def load_engine(name: str) -> Engine:
    """The engine of that name, or at that address (``server=URL``).

    Raises:
        UnknownName: there is none.
        UsageError: an address where none belongs, or none where one does.
        ServerError: nobody answers at the address.
    """
    kind, equals, address = name.partition("=")
    engine: Engine = registry.load("engine", registry.ENGINES, kind)
    if engine.at is None and equals:
        raise UsageError(
            f"engine `{kind}` has no address, got `{name}`", hint=f"write `--engine {kind}`"
        )
    if engine.at is None:
        return engine
    if not address:
        raise UsageError(
            f"engine `{kind}`: expected an address, got none",
            hint=f"write `--engine {kind}=http://127.0.0.1:8000`",
        )
    return engine.at(address)


def make_scorer(setup: Setup, *engines: str) -> PairScorer:
    """The scorer of candidates of some engines beside the setup's reference.

    An engine with a scorer of its own uses it for a reference of its own. Candidates of any other
    engine are compared by their logits with the logits that the reference's scorer gives.

    Args:
        setup: store, reference and the rest.
        engines: names of the candidates' engines, the one whose noise floor is measured first.

    Raises:
        UnknownName: no such engine.
    """
    home = load_engine(setup.reference.engine)
    of_reference = home.scorer(setup) if home.scorer is not None else LogitsScorer(setup, home)
    scorers = {
        name: of_reference
        if name == setup.reference.engine
        else LogitsScorer(setup, load_engine(name), (home, of_reference))
        for name in engines
    }
    if len(scorers) == 1:
        return scorers[engines[0]]
    return SeveralScorer(of_reference, scorers)


def evaluate(
    scorer: PairScorer, pieces: Sequence[Piece], candidates: Sequence[Candidate]
) -> Scores:
    """Prepare and score all candidates, in as many rounds as it takes.

    A candidate whose files or numbers are at fault is among `Scores.failed`, and the others go on.
    Without candidates the reference alone is scored.

    Raises:
        BitlossError: see `PairScorer.prepare` and `PairScorer.score`, for the reference.
    """
    total = Scores()
    size = scorer.rounds(pieces, len(candidates))
    for at in range(0, max(1, len(candidates)), size):
        group = list(candidates[at : at + size])
        scorer.prepare(pieces, scorer.reference, group)
        for candidate in list(group):
            try:
                scorer.prepare(pieces, candidate, group)
            except StorageError:
                raise
            except BitlossError as error:
                total.failed[candidate.label] = error
                group.remove(candidate)
        scores = scorer.score(pieces, group)
        total.reference = scores.reference
        total.variants.update(scores.variants)
        total.failed.update(scores.failed)
    return total
