"""How far a level holds up: up to which length retrieval is kept and divergence does not grow."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss import wording
from bitloss.studies.context.positions import Positions, position_finding, positions_of
from bitloss.studies.context.recall import Recall, recall_finding, recall_of
from bitloss.studies.findings import Finding, FindingColumn, FindingRow, FindingTable
from bitloss.studies.measured import Measured

__all__ = ["conclude", "holds_up_to"]


def conclude(measured: Measured) -> tuple[Finding, ...]:
    """The findings of one model; see `bitloss.studies.base.Study.conclude`."""
    recall = recall_of(measured)
    texts = [
        found for name in measured.corpora if (found := positions_of(measured, name)) is not None
    ]
    model = measured.result.name
    behind = [recall_finding(model, recall)] if recall is not None else []
    behind += [position_finding(model, found) for found in texts]
    if not behind:
        return ()
    return (_together(measured, recall, texts), *behind)


def holds_up_to(level: str, recall: Recall | None, texts: Sequence[Positions]) -> int | None:
    """Tokens up to which a level can be said to hold: retrieval is shown to be kept at every length
    up to there, and on no text is more divergence shown before. None if that is no length, or the
    reference cannot retrieve.
    """
    if recall is None or (kept := recall.kept_up_to(level)) is None:
        return None
    grows = _grows_at(level, texts)
    most = kept if grows is None else min(kept, grows)
    return max((length for length in recall.able if length <= most), default=None)


def _first_worse(found: Positions, level: str) -> tuple[int, int] | None:
    return found.first_worse(level) if level in found.levels else None


def _together(measured: Measured, recall: Recall | None, texts: Sequence[Positions]) -> Finding:
    names = [level.level for level in measured.levels]
    rows = [
        FindingRow(
            name=name,
            cells=(
                _tokens(holds_up_to(name, recall, texts)),
                _tokens(None if recall is None else recall.kept_up_to(name)),
                _tokens(None if recall is None else recall.lost_from(name)),
                _tokens(_grows_at(name, texts)),
            ),
        )
        for name in names
    ]
    return Finding(
        name="how far it holds",
        sentences=tuple(_sentence(name, recall, texts) for name in names),
        tables=(
            FindingTable(
                title=f"{measured.result.name}: tokens up to which a level holds",
                columns=(
                    FindingColumn(title="holds up to", unit="count"),
                    FindingColumn(title="retrieval kept up to", unit="count"),
                    FindingColumn(title="retrieval lost from", unit="count"),
                    FindingColumn(title="divergence grows from", unit="count"),
                ),
                rows=tuple(rows),
                notes=(
                    "holds: retrieval is shown to be kept at every length up to there, and no more "
                    "divergence is shown at earlier positions",
                ),
            ),
        ),
    )


def _tokens(length: int | None) -> float | None:
    return None if length is None else float(length)


def _grows_at(level: str, texts: Sequence[Positions]) -> int | None:
    starts = [place[0] for found in texts if (place := _first_worse(found, level)) is not None]
    return min(starts, default=None)


def _sentence(level: str, recall: Recall | None, texts: Sequence[Positions]) -> str:
    held, grows = holds_up_to(level, recall, texts), _grows_at(level, texts)
    growth = (
        "its divergence is not shown to grow with the position"
        if grows is None
        else f"its divergence grows from position {wording.count(grows)} on"
    )
    if held is not None:
        lost = None if recall is None else recall.lost_from(level)
        then = "" if lost is None else f"; retrieval is lost in {wording.count(lost)}"
        return f"{level} can be said to hold up to {wording.count(held)} tokens{then}; {growth}."
    if recall is None or not recall.able:
        return (
            f"How far {level} holds cannot be said, as the reference does not retrieve; {growth}."
        )
    return f"{level} cannot be said to hold at any length: see retrieval; {growth}."
