"""What a run found on tasks: scores, flips, and the loss on the gold answers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bitloss.results.values import OMIT_NULL, ChatSettings, Estimate, Frozen, NoiseFloor, Stopped

__all__ = [
    "ENDINGS",
    "Ability",
    "CapabilityResult",
    "EndingChange",
    "Flips",
    "ReferenceTask",
    "SubjectScore",
    "VariantTask",
    "Writing",
]


class Flips(Frozen):
    """Items that one model gets right and the other wrong.

    Attributes:
        right_to_wrong: right with the reference, wrong with the variant.
        wrong_to_right: the other way round.
        p_value: exact McNemar test that both are equally likely, two-sided; null where items were
            evaluated in looks, for which it does not hold.
    """

    right_to_wrong: int = Field(ge=0)
    wrong_to_right: int = Field(ge=0)
    p_value: float | None


class SubjectScore(Frozen):
    """The score on a part of a task: a subject, or a group of subjects."""

    score: float | None
    n_scored: int = Field(ge=0)


class Writing(Frozen):
    """What the texts that a model generated for a task were like, means over the items.

    Attributes:
        answer_tokens: tokens of an answer, its end included.
        thinking_tokens: tokens of thinking before it, its marks included.
        cut_off: share of texts that ended because their tokens were spent.
        unanswered: share of texts whose thinking did not end; they have no answer.
        loops: share of texts that were cut off while they repeated themselves
            (`bitloss.metrics.repetition`).
        same_text: share of a variant's texts that are the reference's, character for character;
            absent for the reference, and where tokens are drawn at random.
        parts_at: tokens of the reference's text before the first that differs, median of the texts
            that part from it; absent where none does.
    """

    answer_tokens: float = Field(ge=0)
    thinking_tokens: float = Field(ge=0)
    cut_off: float = Field(ge=0, le=1)
    unanswered: float = Field(ge=0, le=1)
    loops: float = Field(ge=0, le=1)
    same_text: Annotated[float | None, OMIT_NULL] = Field(default=None, ge=0, le=1)
    parts_at: Annotated[float | None, OMIT_NULL] = Field(default=None, ge=0)


ENDINGS = ("cut_off", "loops")
"""Ways in which texts end badly, as `Writing` has them."""


class EndingChange(Frozen):
    """How many more of a variant's texts end badly than of the reference's, on the same items.

    Attributes:
        difference: of the shares, variant minus reference; best value 0 or less.
        more: items whose text ends so with the variant only; absent where items have several texts.
        fewer: with the reference only.
        p_value_alone: exact McNemar test that both are equally likely, two-sided; absent where
            items have several texts.
        p_value: that as many texts end so, adjusted for all variants, tasks and ways of the page
            (`bitloss.analysis.families`). Absent where nothing is tested.
    """

    difference: Estimate
    more: Annotated[int | None, OMIT_NULL] = Field(default=None, ge=0)
    fewer: Annotated[int | None, OMIT_NULL] = Field(default=None, ge=0)
    p_value_alone: Annotated[float | None, OMIT_NULL] = None
    p_value: Annotated[float | None, OMIT_NULL] = None


class ReferenceTask(Frozen):
    """A model's own results on one task.

    Attributes:
        capability: the one that the task measures.
        metric: the one of `scores` that is the task's score.
        score: mean over the items, 0 to 1, best value 1.
        scores: of every metric, that one first.
        totals: metrics that are no mean over items, such as a perplexity or a correlation, of all
            items together: no intervals; absent where the task has none.
        macro: mean over the subjects' scores; absent where there are no subjects.
        subjects: by subject.
        groups: by group of subjects; absent where there are none.
        chance: the score of a guess.
        expected_score: mean probability of the right answer (`bitloss.analysis.expected_scores`);
            absent where it does not stand for the score.
        n_scored: items that were evaluated and graded.
        n_items: items that the limit left.
        n_total: items of the task.
        samples: texts per item.
        shots: solved examples before a question, where there is room.
        split: of the data; absent if it is not on the hub.
        gold: what the gold answers are: the correct ``option``, the data's own ``answer``, or, if
            the data has none, what the ``reference`` wrote.
        chat: how the chat template was applied; absent if it was not.
        writing: lengths and ends of what was generated; absent where nothing was.
        gold_nll: mean negative log-likelihood of the gold answers, nats per token.
        gold_tokens: tokens of the gold answers.
        dtype: arithmetic of the scoring.
        noise_floor: divergence on gold answers that the measurement itself makes.
        digest: sha256 (hex) of the data.
        identity: fingerprint of task, version, data and items.
        license: of the data.
        source: where the data was read from.
        notes: what a reader should know.
    """

    capability: str
    metric: str
    score: Estimate
    scores: dict[str, Estimate]
    totals: Annotated[dict[str, float] | None, OMIT_NULL] = None
    macro: Annotated[float | None, OMIT_NULL] = None
    subjects: dict[str, SubjectScore] = Field(default_factory=dict)
    groups: dict[str, SubjectScore] = Field(default_factory=dict)
    chance: float | None = None
    expected_score: Annotated[float | None, OMIT_NULL] = None
    n_scored: int = Field(ge=0)
    n_items: int = Field(ge=0)
    n_total: int = Field(ge=0)
    samples: int = Field(default=1, ge=1)
    shots: int = Field(default=0, ge=0)
    split: Annotated[str | None, OMIT_NULL] = None
    gold: Literal["option", "answer", "reference"]
    chat: Annotated[ChatSettings | None, OMIT_NULL] = None
    writing: Annotated[Writing | None, OMIT_NULL] = None
    gold_nll: Annotated[Estimate | None, OMIT_NULL] = None
    gold_tokens: int = Field(default=0, ge=0)
    dtype: str
    noise_floor: NoiseFloor | None = None
    digest: str
    identity: str
    license: str
    source: str
    notes: tuple[str, ...] = ()


class VariantTask(ReferenceTask):
    """A variant's results on one task, beside the reference's on the same items.

    Attributes:
        reference_score: the reference's, on the items that both were scored on.
        difference: variant minus reference, by items; best value 0 or more.
        differences: of every metric.
        expected_difference: of the expected scores, variant minus reference; absent where they do
            not stand for the score.
        flips: absent where an item's score is not right or wrong, and for a mean over replicates.
        endings: by way of ending, `cut_off` and `loops`, how many more texts end so; absent where
            none does, and for a mean over replicates.
        answer_change: how far a gold answer is from coming out as the reference has it, mean over
            the answers, 0 to 1: 1 minus the product over its tokens of what both models'
            distributions have in common, sum sqrt(p q). Shows a loss long before the score does.
        kl_divergence: mean over the gold answers' tokens, nats; best value 0.
        gold_nll_difference: variant minus reference, nats per token.
        stopped: why no more items were evaluated; absent if all of them were requested. Intervals
            hold at every look then, and `n_scored` of `n_items` were evaluated.
    """

    reference_score: float | None
    difference: Estimate
    differences: dict[str, Estimate]
    expected_difference: Annotated[Estimate | None, OMIT_NULL] = None
    flips: Annotated[Flips | None, OMIT_NULL] = None
    endings: Annotated[dict[str, EndingChange] | None, OMIT_NULL] = None
    answer_change: Estimate | None = None
    kl_divergence: Estimate | None = None
    gold_nll_difference: Annotated[Estimate | None, OMIT_NULL] = None
    stopped: Annotated[Stopped | None, OMIT_NULL] = None


class Ability(Frozen):
    """What the reference scores in one capability, beside what guessing scores.

    Attributes:
        score: mean of its tasks' scores, 0 to 1.
        chance: mean of what guessing scores on them.
        p_value: that guessing scores as much, adjusted for the number of capabilities (Holm, 1979).
        measurable: whether the reference is shown to do better; if not, no variant's loss is
            ranked, judged or claimed.
    """

    score: float = Field(ge=0, le=1)
    chance: float = Field(ge=0, le=1)
    p_value: float = Field(ge=0, le=1)
    measurable: bool


class CapabilityResult(Frozen):
    """What the tasks of one capability say together, each counting the same.

    Attributes:
        tasks: their names.
        n_scored: items of all of them that were graded.
        score: mean of the variant's task scores.
        reference_score: mean of the reference's.
        difference: mean of the tasks' differences.
        expected_difference: mean of the differences of their expected scores, a task without one
            counting with its score; absent where none has one.
        flips: over all tasks whose items are right or wrong.
        p_value: that the score did not change: of the flips, or where items are not right or
            wrong, of the interval; adjusted for all variants and capabilities of the page
            (`bitloss.analysis.families`). Null where nothing is tested: an exact copy, or what is
            not measurable.
        answer_change: mean of the tasks' answer changes.
        kl_divergence: mean of the tasks' divergences on gold answers, nats per token.
        gold_nll_difference: mean of the tasks' differences, nats per token.
    """

    tasks: tuple[str, ...]
    n_scored: int = Field(default=0, ge=0)
    score: float | None
    reference_score: float | None
    difference: Estimate
    expected_difference: Annotated[Estimate | None, OMIT_NULL] = None
    flips: Annotated[Flips | None, OMIT_NULL] = None
    p_value: float | None = None
    answer_change: Estimate | None = None
    kl_divergence: Estimate | None = None
    gold_nll_difference: Annotated[Estimate | None, OMIT_NULL] = None
