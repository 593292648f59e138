"""Variants of several runs beside one pack, ranked: what `bitloss leaderboard` writes."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from bitloss.results.document import dumps
from bitloss.results.environment import PackUsed
from bitloss.results.values import OMIT_NULL, Estimate, Frozen

__all__ = ["LEADERBOARD_VERSION", "Leaderboard", "LeaderboardRow"]

LEADERBOARD_VERSION: Final = 1


class LeaderboardRow(Frozen):
    """A variant of one of the runs.

    Attributes:
        rank: from 1; null for one that lacks what the rule ranks by.
        name: of the variant, with its run where two have one name.
        run: as the user named it.
        engine: that ran the variant.
        format: of its files.
        digest: of its files; null if they could not be opened.
        bits_per_weight: of its files.
        file_bytes: of its files.
        ranked_by: the number that the rule ranks by.
        like_best: whether its interval and that of the first row overlap, so that their order is
            not shown.
        relative_perplexity: on the corpora that all variants have, by name.
        kl_divergence: likewise, nats per token.
        near_floor: corpora on which that divergence is within ten noise floors of zero.
        top1_agreement: likewise.
        score_change: of the tasks that all variants have, by name, variant minus reference.
        answer_change: likewise.
        error: why it has no results; absent if it has.
    """

    rank: int | None
    name: str
    run: str
    engine: str
    format: str | None
    digest: str | None
    bits_per_weight: float | None
    file_bytes: int | None
    ranked_by: Estimate | None
    like_best: bool
    relative_perplexity: dict[str, Estimate]
    kl_divergence: dict[str, Estimate]
    near_floor: tuple[str, ...]
    top1_agreement: dict[str, Estimate]
    score_change: dict[str, Estimate]
    answer_change: dict[str, Estimate | None]
    error: Annotated[str | None, OMIT_NULL] = None


class Leaderboard(Frozen):
    """The table.

    Attributes:
        leaderboard_version: of this document.
        pack: that all runs were made from.
        rule: how rows are sorted, in words.
        rows: the best first; those without a rank last.
        notes: what a reader should know.
    """

    leaderboard_version: Literal[1] = LEADERBOARD_VERSION
    pack: PackUsed
    rule: str
    rows: tuple[LeaderboardRow, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> str:
        """The document: fields in declared order, one final newline."""
        return dumps(self)
