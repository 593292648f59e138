"""A leaderboard as a table."""

from __future__ import annotations

from bitloss.results.leaderboard import Leaderboard, LeaderboardRow
from bitloss.tables.text_table import Cell, TextTable
from bitloss.wording import (
    divergence_interval,
    near_floor,
    near_floor_note,
    points_interval,
    ratio_interval,
    share_interval,
)
from bitloss.wording import size as size_text

__all__ = ["leaderboard_table"]

_MARK = "="


def leaderboard_table(board: Leaderboard) -> TextTable:
    """A row for each variant; rows that are like the best have a mark at their rank."""
    first = board.rows[0]
    columns = {"rank": "", "model": "variant", "engine": "engine", "bits": "bits/weight",
               "size": "size"}  # fmt: skip
    many = len(first.kl_divergence) > 1
    for name in first.kl_divergence:
        where = f", {name}" if many else ""
        columns |= {
            f"kld {name}": f"KLD (nats/token){where}",
            f"ppl {name}": f"relative PPL{where}",
            f"top1 {name}": f"same top-1{where}",
        }
    columns |= {f"task {name}": f"{name}, change" for name in first.score_change}
    pack = board.pack
    failed = [f"{row.name} ({row.run}) has no results: {row.error}" for row in board.rows
              if row.error is not None]  # fmt: skip
    return TextTable(
        title=f"pack of {pack.reference}, digest {pack.digest}",
        columns=columns,
        rows=tuple(map(_cells, board.rows)),
        notes=(
            f"sorted by {board.rule}",
            f"{_MARK} beside a rank: like the best",
            *((near_floor_note(exact=True),) * any(row.near_floor for row in board.rows)),
            *board.notes,
            *failed,
        ),
        left=("rank", "model", "engine"),
        wrapped=("model",),
        dropped_first=("size", *(key for key in columns if key.startswith("top1 ")), "engine"),
    )


def _cells(row: LeaderboardRow) -> dict[str, Cell]:
    cells: dict[str, Cell] = {
        "rank": "-" if row.rank is None else f"{row.rank}{_MARK if row.like_best else ''}",
        "model": row.name,
        "engine": row.engine,
        "bits": "" if row.bits_per_weight is None else f"{row.bits_per_weight:.2f}",
        "size": "" if row.file_bytes is None else size_text(row.file_bytes),
    }
    for name, value in row.kl_divergence.items():
        text = divergence_interval(value)
        cells[f"kld {name}"] = near_floor(text) if name in row.near_floor else text
        cells[f"ppl {name}"] = ratio_interval(row.relative_perplexity[name])
        cells[f"top1 {name}"] = share_interval(row.top1_agreement[name])
    for name, change in row.score_change.items():
        cells[f"task {name}"] = points_interval(change)
    return cells
