"""How fast every variant is in each of its ways, and what it takes to hold it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bitloss import wording as fmt
from bitloss.tables.served import column_title
from bitloss.tables.text_table import Cell, TextTable

if TYPE_CHECKING:
    from bitloss.results import Comparison, VariantResult
    from bitloss.results.speed import ModelSpeed, SpeedRate

__all__ = ["Timed", "held_bytes", "per_second", "speed_notes", "speed_tables", "timed"]


@dataclass(frozen=True, slots=True)
class Timed:
    """A variant in one way.

    Attributes:
        variant: the variant.
        run_as: the way, in few words.
        speed: what was measured.
        path: of it in the variant's part of the document.
    """

    variant: VariantResult
    run_as: str
    speed: ModelSpeed
    path: tuple[str | int, ...]


def timed(comparison: Comparison) -> Iterator[Timed]:
    """What was measured, by variant and way."""
    first = comparison.environment.engine.name
    for variant in comparison.variants:
        if variant.speed is not None:
            yield Timed(variant, first, variant.speed, ("speed",))
        for index, served in enumerate(variant.served or ()):
            if served.speed is not None:
                title = column_title(served.way, first).removeprefix("run by ")
                yield Timed(variant, title, served.speed, ("served", index, "speed"))


def speed_tables(comparison: Comparison) -> tuple[TextTable, ...]:
    """A table of speed and one of memory; none where nothing was timed."""
    names = comparison.short_names
    rows: list[dict[str, Cell]] = []
    failed: list[str] = []
    for one in timed(comparison):
        speed, name = one.speed, names[one.variant.name]
        if speed.error is not None:
            failed.append(f"{name}, {one.run_as}: not timed: {speed.error.message}")
            continue
        foot = speed.footprint
        rows.append(
            {
                "model": name,
                "way": one.run_as,
                "prefill": per_second(speed.prefill),
                "prefill_ratio": _ratio(speed.prefill),
                "decode": per_second(speed.decode),
                "decode_ratio": _ratio(speed.decode),
                "memory": fmt.MISSING if foot is None else fmt.size(foot.resident_bytes),
                "load": fmt.MISSING if foot is None else f"{foot.load_seconds:.1f} s",
                "held": fmt.size(held_bytes(one)),
                "made": fmt.MISSING if speed.made_in is None else f"{speed.made_in:.0f} s",
            }
        )
    if not rows and not failed:
        return ()
    model = {"model": "model", "way": "run by"}
    return (
        TextTable(
            title="speed, tokens/s, in turns with the reference",
            columns={
                **model, "prefill": "reading", "prefill_ratio": "reading, ratio",
                "decode": "writing", "decode_ratio": "writing, ratio",
            },
            rows=tuple(rows),
            notes=(*failed, *_work_notes(comparison)),
            left=("model", "way"),
            dropped_first=("prefill", "decode"),
        ),
        TextTable(
            title="memory, and the time to load and to make",
            columns={
                **model, "memory": "measured", "held": "to run it", "load": "load",
                "made": "made in",
            },
            rows=tuple(rows),
            notes=_memory_notes(comparison),
            left=("model", "way"),
            dropped_first=("made", "load"),
        ),
    )  # fmt: skip


def held_bytes(one: Timed) -> int | None:
    """Bytes of the file and of what is held beside it; None where either is not known."""
    if one.variant.file_bytes is None or one.speed.beside_bytes is None:
        return None
    return one.variant.file_bytes + one.speed.beside_bytes


def per_second(rate: SpeedRate | None) -> str:
    """Tokens per second: three digits or more."""
    if rate is None:
        return fmt.MISSING
    value = rate.tokens_per_second
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _ratio(rate: SpeedRate | None) -> Cell:
    return fmt.MISSING if rate is None else fmt.ratio_interval(rate.ratio)


def speed_notes(comparison: Comparison) -> tuple[str, ...]:
    """What was timed, and what the columns mean."""
    return (*_work_notes(comparison), *_memory_notes(comparison))


def _work_notes(comparison: Comparison) -> tuple[str, ...]:
    works = (one.speed.work.model_copy(update={"context": 0}) for one in timed(comparison))
    return tuple(
        f"reading a prompt of {work.prompt} tokens, writing {work.new_tokens} in "
        f"{work.sequences} {'text' if work.sequences == 1 else 'texts'}, {work.rounds} rounds; "
        "ratio: variant over reference, above 1 the variant is faster"
        for work in dict.fromkeys(works)
    )


def _memory_notes(comparison: Comparison) -> tuple[str, ...]:
    contexts = dict.fromkeys(one.speed.work.context for one in timed(comparison))
    return (
        "measured: resident memory at the peak of loading and the first forward pass",
        *(
            f"to run it: calculated: the file, the cache of {fmt.count(context)} tokens "
            "(--context-tokens) and buffers as llama.cpp allocates them"
            for context in contexts
        ),
    )
