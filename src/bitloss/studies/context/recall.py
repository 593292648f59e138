"""What the study of context concludes from its retrieval task: up to which length keys are found.

A level *keeps* retrieval at a length if its loss is shown to be within the margin that verdicts
have for text completion, and *loses* it if more is shown, corrected for all levels and lengths
(Holm's method). Where the reference is not shown to do better than guessing, nothing can be lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from bitloss import wording
from bitloss.analysis.score_losses import deciding_loss
from bitloss.analysis.verdicts import judge_loss
from bitloss.expectations import load_expectations
from bitloss.metrics.multiple import SIGNIFICANT, adjust, beyond
from bitloss.results import Estimate
from bitloss.results.verdicts import CapabilityVerdict
from bitloss.studies.context.retrieval import CHANCE, KEYS, context_of
from bitloss.studies.findings import (
    Chart,
    ChartPoint,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.measured import Measured

__all__ = ["Recall", "recall_finding", "recall_of"]

_Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Recall:
    """Retrieval of one model.

    Attributes:
        reference: the reference's score by length.
        able: lengths at which it is shown to do better than guessing, by more than the margin.
        outcomes: by level and length.
        scores: of the levels, likewise.
        margin: the loss that is still acceptable.
        items: of each length.
    """

    reference: Mapping[int, Estimate]
    able: tuple[int, ...]
    outcomes: Mapping[_Key, CapabilityVerdict]
    scores: Mapping[_Key, Estimate]
    margin: float
    items: int

    def kept_up_to(self, level: str) -> int | None:
        """The last length before the first one that is not kept; None if there is none."""
        last = None
        for length in self.able:
            if self.outcomes[level, length].outcome != "kept":
                break
            last = length
        return last

    def lost_from(self, level: str) -> int | None:
        """The first length at which it is lost."""
        lost = (one for one in self.able if self.outcomes[level, one].outcome == "lost")
        return next(lost, None)


def recall_of(measured: Measured) -> Recall | None:
    """What the tasks say; None where none was evaluated."""
    tasks = {
        name: length for name in measured.result.tasks if (length := context_of(name)) is not None
    }
    if not tasks or not measured.levels:
        return None
    margin = load_expectations().margin("text completion")
    reference = {length: measured.result.tasks[name].score for name, length in tasks.items()}
    able = _able(reference, margin)
    found = {
        (level.level, length): one
        for level in measured.levels
        for name, length in tasks.items()
        if (one := (measured.variant(level.level).tasks or {}).get(name)) is not None
    }
    tests = {
        key: test
        for key, one in found.items()
        if key[1] in able and (test := beyond(deciding_loss(one), margin)) is not None
    }
    adjusted = adjust(tests)
    return Recall(
        reference=reference,
        able=able,
        outcomes={
            key: judge_loss(one, margin, measurable=key[1] in able, p_value=adjusted.get(key))
            for key, one in found.items()
        },
        scores={key: one.score for key, one in found.items()},
        margin=margin,
        items=max(measured.result.tasks[name].n_scored for name in tasks),
    )


def _able(reference: Mapping[int, Estimate], margin: float) -> tuple[int, ...]:
    tests = {
        length: test
        for length, score in reference.items()
        if (test := beyond(score, CHANCE)) is not None
    }
    adjusted = adjust(tests)
    return tuple(
        length
        for length, score in sorted(reference.items())
        if adjusted.get(length, 1.0) < SIGNIFICANT and (score.value or 0.0) - CHANCE > margin
    )


def recall_finding(model: str, recall: Recall) -> Finding:
    """Sentences, the table and the chart."""
    levels = list(dict.fromkeys(level for level, _ in recall.outcomes))
    return Finding(
        name="retrieval",
        sentences=_sentences(recall, levels),
        tables=(_table(model, recall, levels),),
        charts=(_chart(recall, levels),),
    )


def _sentences(recall: Recall, levels: list[str]) -> tuple[str, ...]:
    lengths = sorted(recall.reference)
    if not recall.able:
        ends = " to ".join(dict.fromkeys(map(wording.count, (lengths[0], lengths[-1]))))
        return (
            f"The reference is not shown to find pass keys better than guessing ({CHANCE:.0%}) in "
            f"texts of {ends} tokens, so no level can lose that.",
        )
    return tuple(_sentence(recall, level) for level in levels)


def _sentence(recall: Recall, level: str) -> str:
    kept, lost = recall.kept_up_to(level), recall.lost_from(level)
    points = f"{100 * recall.margin:g} points"
    if kept is None:
        text = f"{level} is not shown to keep retrieval within {points} at any length"
    else:
        text = f"{level} keeps retrieval within {points} up to {wording.count(kept)} tokens"
    if lost is not None:
        loss = wording.unsigned_points_interval(recall.outcomes[level, lost].loss)
        return f"{text}; in {wording.count(lost)} it loses {loss} points."
    return f"{text}; no loss beyond that is shown."


def _table(model: str, recall: Recall, levels: list[str]) -> FindingTable:
    return FindingTable(
        title=f"{model}: retrieval by context length, points lost",
        head="tokens",
        columns=(
            FindingColumn(title="reference", unit="share"),
            *(FindingColumn(title=level, unit="points") for level in levels),
        ),
        rows=tuple(
            FindingRow(
                name=wording.count(length),
                cells=(
                    score,
                    *(
                        one.loss if (one := recall.outcomes.get((level, length))) else None
                        for level in levels
                    ),
                ),
                note=None if length in recall.able else "not shown to be better than guessing",
            )
            for length, score in sorted(recall.reference.items())
        ),
        notes=(
            f"{recall.items} questions per length: one of {KEYS} pass keys hidden in text, among "
            f"all {KEYS}; guessing scores {CHANCE:.0%}",
            "losses are of the probability of the right key",
            "lost (Holm's method): "
            + (
                ", ".join(
                    f"{level} in {wording.count(length)}"
                    for (level, length), one in recall.outcomes.items()
                    if one.outcome == "lost"
                )
                or "none"
            ),
        ),
    )


def _chart(recall: Recall, levels: list[str]) -> Chart:
    lengths = sorted(recall.reference)
    scores = {("reference", length): recall.reference[length] for length in lengths}
    scores |= recall.scores
    return Chart(
        title="Pass keys found, by length of the text",
        caption=f"Guessing scores {CHANCE:.0%}. Bars are 95% intervals over questions.",
        across="tokens of context",
        up="share of keys found",
        unit="share",
        points=tuple(
            ChartPoint(
                name=name if length == lengths[-1] else "",
                x=length,
                y=scores[name, length],
                series=name,
            )
            for name in ["reference", *levels]
            for length in lengths
            if (name, length) in scores
        ),
        log_x=True,
        around=CHANCE,
    )
