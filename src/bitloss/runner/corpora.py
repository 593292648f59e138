"""Corpora of a run, cut into windows that the reference can read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bitloss.datasets import load_corpus
from bitloss.errors import CorpusError, UsageError
from bitloss.protocols import PerplexityProtocol, make_protocol, parameters_of
from bitloss.runner.draw import draw_windows, drawn_note
from bitloss.spec.run import RunSpec
from bitloss.types import ScoredCorpus, TextTokenizer, Window

__all__ = ["PlannedCorpus", "fit_protocol", "plan_corpora"]


@dataclass(frozen=True, slots=True)
class PlannedCorpus:
    """A corpus as every model will be asked it.

    Attributes:
        facts: what goes into the records.
        windows: in the order of the text; if a limit drew them, in the order of the draw, so that
            a larger limit adds to the end and the pieces before it are not scored again.
    """

    facts: ScoredCorpus
    windows: tuple[Window, ...]

    @property
    def tokens(self) -> int:
        """Tokens that a model reads."""
        return sum(len(window.ids) for window in self.windows)


def plan_corpora(
    spec: RunSpec, protocol: PerplexityProtocol, tokenizer: TextTokenizer, vocabulary: int
) -> list[PlannedCorpus]:
    """Load and cut every corpus of the run.

    Args:
        spec: the run.
        protocol: as `fit_protocol` gives it.
        tokenizer: the reference's.
        vocabulary: rows of the reference's embedding.

    Raises:
        UsageError: a corpus is named twice.
        CorpusError: one is missing, too short, or has tokens the model does not know.
    """
    planned: dict[str, PlannedCorpus] = {}
    for name in spec.corpora:
        corpus = load_corpus(name, data=spec.data)
        if corpus.name in planned:
            raise UsageError(f"corpus `{corpus.name}` is named twice", hint="name it once")
        plan = protocol.plan(corpus, tokenizer)
        highest = max(int(window.ids.max()) for window in plan.windows)
        if highest >= vocabulary:
            raise CorpusError(
                f"the tokenizer gives token {highest}, the model knows 0 to {vocabulary - 1}",
                hint="copy the tokenizer's files from the model that the weights belong to",
            )
        limit = spec.limit or spec.corpus_limits.get(name)
        windows = draw_windows(plan.windows, limit, text=corpus.digest, seed=spec.seed)
        if spec.sequential:  # its looks are random themselves, and count on the order of the text
            windows = tuple(sorted(windows, key=_place))
        drawn = len(windows) < len(plan.windows)
        facts = ScoredCorpus(
            name=corpus.name,
            digest=corpus.digest,
            source=corpus.source,
            protocol=plan.protocol,
            parameters=plan.parameters,
            averaging=plan.averaging,
            valid=plan.valid,
            n_windows=len(windows),
            n_windows_total=len(plan.windows),
            n_scored=sum(window.n_scored for window in windows),
            n_total=plan.n_scored,
            n_tokens=plan.n_tokens,
            n_bytes=plan.n_bytes,
            n_words=plan.n_words,
            notes=(
                *corpus.notes,
                *plan.notes,
                *((drawn_note(len(windows), len(plan.windows), "windows", spec.seed),) * drawn),
            ),
            vocabulary=vocabulary,
            draw_seed=spec.seed if drawn else None,
            documents=plan.documents,
        )
        planned[corpus.name] = PlannedCorpus(facts, windows)
    return list(planned.values())


def _place(window: Window) -> int:
    return window.place or 0


def fit_protocol(
    name: str, parameters: dict[str, Any], context: int
) -> tuple[PerplexityProtocol, tuple[str, ...]]:
    """The protocol with windows that fit the model's context.

    A protocol without a window of its own gets the model's context. A default window that is too
    long is shortened (and its stride in proportion), which is said; one that the user asked for
    is refused.

    Args:
        name: the protocol's name.
        parameters: those that the user gave.
        context: tokens the model can read at once.

    Returns:
        The protocol, and what a reader of its results should know.

    Raises:
        UsageError: the user's window is longer than the context; see also `make_protocol`.
    """
    protocol = make_protocol(name, parameters)
    values = parameters_of(protocol)
    if "max_length" not in values:
        return protocol, ()
    if values["max_length"] is None:
        return make_protocol(name, {**parameters, "max_length": context}), ()
    length = int(values["max_length"])
    if length <= context:
        return protocol, ()
    if "max_length" in parameters:
        raise UsageError(
            f"expected windows of at most {context} tokens (the model's context), got {length}",
            hint=f"use --max-length {context}",
        )
    changed = {**parameters, "max_length": context}
    if "stride" in values and "stride" not in parameters:
        changed["stride"] = max(1, int(values["stride"]) * context // length)
    note = f"windows of {context} tokens, the model's context, instead of {length}"
    return make_protocol(name, changed), (note,)
