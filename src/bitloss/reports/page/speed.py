"""Speed and memory of every variant in every way, for the page."""

from __future__ import annotations

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.reports.page.cells import Table, figure, join, ratio, row, table
from bitloss.results import Comparison
from bitloss.results.speed import SpeedRate
from bitloss.tables.speed import per_second, speed_notes, timed

__all__ = ["table_of"]

_COLUMNS = {
    "variant": False, "run by": False, "reading, tokens/s": True, "of the reference": True,
    "writing, tokens/s": True, "of the reference ": True, "memory": True, "load, s": True,
    "cache per token": True, "beside its file": True, "made in, s": True,
}  # fmt: skip


def table_of(comparison: Comparison) -> Table | None:
    """One row per variant and way; None where nothing was timed."""
    names = comparison.short_names
    places = {variant.name: index for index, variant in enumerate(comparison.variants)}
    rows, failed = [], []
    for one in timed(comparison):
        speed, name = one.speed, names[one.variant.name]
        if speed.error is not None:
            failed.append(f"{name}, {one.run_as}: not timed: {speed.error.message}")
            continue
        at = join("variants", places[one.variant.name], *one.path)
        foot, none = speed.footprint, figure(fmt.MISSING, at)
        rows.append(
            row(
                name,
                one.run_as,
                *_rate(speed.prefill, join(at, "prefill")),
                *_rate(speed.decode, join(at, "decode")),
                none
                if foot is None
                else _bytes(foot.resident_bytes, join(at, "footprint", "resident_bytes")),
                none
                if foot is None
                else figure(
                    fmt.number(foot.load_seconds, 1), join(at, "footprint", "load_seconds")
                ),
                none
                if speed.cache_bytes is None
                else _bytes(speed.cache_bytes, join(at, "cache_bytes")),
                none
                if speed.beside_bytes is None
                else _bytes(speed.beside_bytes, join(at, "beside_bytes")),
                figure(fmt.number(speed.made_in, 1), join(at, "made_in")),
            )
        )
    if not rows and not failed:
        return None
    return table(
        "Speed, in turns with the reference", _COLUMNS, rows,
        notes=(*failed, *speed_notes(comparison)),
    )  # fmt: skip


def _bytes(value: int, path: str) -> Markup:
    return figure(fmt.size(value), path, "bytes")


def _rate(rate: SpeedRate | None, at: str) -> tuple[Markup, Markup]:
    if rate is None:
        return figure(fmt.MISSING, at), figure(fmt.MISSING, at)
    shown = figure(per_second(rate), join(at, "tokens_per_second"))
    return shown, ratio(rate.ratio, join(at, "ratio"))
