"""What variants lose in further ways to run them: other engines, caches and activations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bitloss.results.corpora import CorpusComparison, TopKCorpus
from bitloss.results.environment import Engine
from bitloss.results.speed import ModelSpeed
from bitloss.results.values import OMIT_NULL, Estimate, Failure, Frozen

__all__ = ["Added", "Served", "ServedCorpus", "ServedTask", "Way"]


class Way(Frozen):
    """A further way to run a variant (`bitloss.spec.ways.Way`).

    Attributes:
        label: for people: ``dense, cache q8_0``.
        engine: that runs it.
        keys: type of cached keys; empty is the engine's own.
        values: type of cached values.
        activations: type of what enters matrix products; empty is not quantized.
        adds: what it has beyond the way that it is held beside.
        beside: label of that way. The first way's is its engine's name; its results are the
            variant's own. Empty for the first way itself, whose results on corpora stand here where
            only likely tokens are known.
    """

    label: str
    engine: Engine
    keys: str = ""
    values: str = ""
    activations: str = ""
    adds: Literal["cache", "activations", "engine"]
    beside: str


class Added(Frozen):
    """What a way adds to a text's losses, from the same tokens in both ways.

    Attributes:
        kl_divergence: difference of the mean divergences from the reference, nats per token; absent
            where one of them is not known.
        relative_perplexity: perplexity in this way over that in the other.
        top1_agreement: difference of the shares of tokens that the reference agrees on; absent
            where one of them is not known.
    """

    kl_divergence: Annotated[Estimate | None, OMIT_NULL] = None
    relative_perplexity: Estimate
    top1_agreement: Annotated[Estimate | None, OMIT_NULL] = None


class ServedCorpus(Frozen):
    """A variant on one corpus, run in this way.

    Attributes:
        result: beside the reference; absent where only likely tokens are known.
        top_k: beside the reference, where only likely tokens are known; else absent.
        added: beside the same variant without what the way adds; absent if that has no results.
    """

    result: Annotated[CorpusComparison | None, OMIT_NULL] = None
    top_k: Annotated[TopKCorpus | None, OMIT_NULL] = None
    added: Annotated[Added | None, OMIT_NULL] = None


class ServedTask(Frozen):
    """A variant on one task, run in this way.

    Attributes:
        score: by the task's own metric.
        difference: from the reference's score; 0 is no loss.
        expected_difference: the same of the expected score, where the task has one.
        added: from the same variant's score without what the way adds; absent if that has none.
        expected_added: the same of the expected score.
    """

    score: Estimate
    difference: Estimate
    expected_difference: Annotated[Estimate | None, OMIT_NULL] = None
    added: Annotated[Estimate | None, OMIT_NULL] = None
    expected_added: Annotated[Estimate | None, OMIT_NULL] = None


class Served(Frozen):
    """A variant, run in a further way.

    Attributes:
        way: how.
        status: ``"unsupported"`` where the way's engine cannot run such a model at all.
        error: why there are no results, or not all of them.
        corpora: by name.
        tasks: by name; absent if none was run.
        not_measured: by task that this way does not have, why; absent if it has all of them.
        speed: how fast it is in this way, and what it takes; absent if that was not measured.
    """

    way: Way
    status: Literal["ok", "unsupported", "failed"] = "ok"
    error: Annotated[Failure | None, OMIT_NULL] = None
    corpora: dict[str, ServedCorpus] = Field(default_factory=dict)
    tasks: Annotated[dict[str, ServedTask] | None, OMIT_NULL] = None
    not_measured: Annotated[dict[str, str] | None, OMIT_NULL] = None
    speed: Annotated[ModelSpeed | None, OMIT_NULL] = None
