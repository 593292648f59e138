"""What the study of act-order concludes: the divergence gained, and the speed that it costs.

Speed is that of the packed kernels, which run the file as it is stored: both levels are loaded in
one process and timed in turns (`bitloss.engines.speed`), so what slows the machine slows both.
"""

from __future__ import annotations

from bitloss import wording
from bitloss.results import Estimate
from bitloss.results.speed import ModelSpeed, SpeedRate
from bitloss.runner.speed import compare_speeds
from bitloss.studies.base import Prepared, Subject
from bitloss.studies.contrast import contrast, shown
from bitloss.studies.finding_tables import text_of
from bitloss.studies.findings import (
    Chart,
    ChartPoint,
    Finding,
    FindingColumn,
    FindingRow,
    FindingTable,
)
from bitloss.studies.measured import Measured
from bitloss.studies.paired import MeasuredLevel, measure_step
from bitloss.studies.result import LevelResult

__all__ = ["conclude", "without_speed"]

_OFF = "off"
_ENGINE = "packed"


def without_speed(subject: Subject) -> Prepared:
    """Levels are timed beside each other, not each beside the reference: see `conclude`."""
    options = {name: value for name, value in subject.options.items() if name != "speed"}
    return Prepared(subject.levels, options)


def conclude(measured: Measured) -> tuple[Finding, ...]:
    """The findings of one model; see `bitloss.studies.base.Study.conclude`."""
    found = []
    for method, levels in measured.of_series().items():
        base = next((level for level in levels if level.level.endswith(_OFF)), None)
        others = [level for level in levels if level is not base]
        if base is None or not others:
            continue
        speeds = _speeds(measured, base, others)
        found += [
            _of_corpus(measured, method, base, others, name, speeds) for name in measured.corpora
        ]
    return tuple(found)


def _speeds(
    measured: Measured, base: LevelResult, others: list[LevelResult]
) -> dict[str, ModelSpeed]:
    """By level, its speed in turns with the base; empty if speed was not asked for."""
    if not measured.timed:
        return {}
    run = measured.run_of(base.level)
    pairs = [(base.recipe, level.recipe) for level in others]
    timed = compare_speeds(
        run.spec, measured.folder, pairs, engine=_ENGINE, progress=measured.progress
    )
    return {level.level: timed[pair] for level, pair in zip(others, pairs, strict=True)}


def _of_corpus(
    measured: Measured,
    method: str,
    base: LevelResult,
    others: list[LevelResult],
    corpus: str,
    speeds: dict[str, ModelSpeed],
) -> Finding:
    gains = {
        level.level: contrast(measured, corpus, {base.level: 1.0, level.level: -1.0})
        for level in others
    }
    is_shown = shown(gains)
    sentences, rows = [], []
    for level in others:
        gain, speed = gains[level.level], speeds.get(level.level)
        sentences.append(_sentence(corpus, base, level, gain, is_shown[level.level], speed))
        rows.append(
            FindingRow(
                name=level.level,
                cells=(
                    gain,
                    _perplexity_ratio(measured, base, level, corpus),
                    _ratio(None if speed is None else speed.prefill),
                    _ratio(None if speed is None else speed.decode),
                ),
                note=None
                if speed is None or speed.error is None
                else f"not timed: {speed.error.message}",
            )
        )
    notes = [f"beside {base.level}, on the same tokens; KLD gained: nats per token less than it"]
    if speeds:
        work = next(iter(speeds.values())).work
        notes.append(
            f"speed: {_ENGINE} kernels of both levels in turns, {work.rounds} rounds, a prompt of "
            f"{work.prompt} tokens read, {work.new_tokens} written; above 1 is faster than "
            f"{base.level}"
        )
    else:
        notes.append("speed: not measured (--speed)")
    return Finding(
        name=f"act-order, {method} on {corpus}",
        sentences=tuple(sentences),
        tables=(
            FindingTable(
                title=f"{measured.result.name}, {method} on {corpus}: what reordering gains and "
                "costs",
                columns=(
                    FindingColumn(title="KLD gained", unit="nats"),
                    FindingColumn(title="PPL ratio", unit="ratio"),
                    FindingColumn(title="reading, ratio", unit="ratio"),
                    FindingColumn(title="writing, ratio", unit="ratio"),
                ),
                rows=tuple(rows),
                notes=tuple(notes),
            ),
        ),
        charts=(_chart(corpus, method, base, others),),
    )


def _perplexity_ratio(
    measured: Measured, base: LevelResult, level: LevelResult, corpus: str
) -> Estimate | None:
    before, after = (_at(measured, one) for one in (base, level))
    step = measure_step(before, after, ("relative_perplexity",), seed=measured.seed)
    return step.corpora.get(corpus, {}).get("relative_perplexity")


def _at(measured: Measured, level: LevelResult) -> MeasuredLevel:
    run = measured.run_of(level.level)
    return MeasuredLevel(next(one for one in run.levels if one.name == level.level), run.records)


def _ratio(rate: SpeedRate | None) -> Estimate | None:
    return None if rate is None else rate.ratio


def _sentence(
    corpus: str,
    base: LevelResult,
    level: LevelResult,
    gain: Estimate | None,
    is_shown: bool,
    speed: ModelSpeed | None,
) -> str:
    """``act gains x [..], costs y% [..]``: only what is shown is called a gain or a loss."""
    if gain is None or gain.value is None:
        return f"On {corpus}, {level.level} and {base.level} were not measured on the same tokens."
    before = level_divergence(base, corpus)
    share = f" ({gain.value / before:.0%} of {base.level}'s)" if before else ""
    if not is_shown:
        said = f"shows no change of the divergence ({text_of(gain, 'nats')} nats per token)"
    elif gain.value > 0:
        said = f"gains {text_of(gain, 'nats')} nats per token{share}"
    else:
        said = f"loses {text_of(gain.negated(), 'nats')} nats per token"
    cost = [
        text
        for what, rate in (
            ("reading", None if speed is None else speed.prefill),
            ("writing", None if speed is None else speed.decode),
        )
        if rate is not None and (text := _cost(what, rate.ratio))
    ]
    tail = f", and {wording.join_words(cost)}" if cost else ""
    return f"On {corpus}, {level.level} {said}{tail}."


def level_divergence(level: LevelResult, corpus: str) -> float | None:
    """A level's mean divergence on a corpus."""
    found = level.corpora.get(corpus, {}).get("kl_divergence")
    return None if found is None else found.value


def _cost(what: str, ratio: Estimate) -> str:
    """The time that it takes more, or less, where that is shown; both with bounds."""
    if ratio.value is None or ratio.low is None or ratio.high is None:
        return ""
    more, low, high = (100 * (1 / x - 1) for x in (ratio.value, ratio.high, ratio.low))
    interval = f"[{low:.0f}%, {high:.0f}%]"
    if low <= 0 <= high:
        return f"shows no cost in {what} ({more:+.0f}% of the time {interval})"
    if more > 0:
        return f"costs {more:.0f}% {interval} of the time of {what}"
    return f"saves {-more:.0f}% [{-high:.0f}%, {-low:.0f}%] of the time of {what}"


def _chart(corpus: str, method: str, base: LevelResult, others: list[LevelResult]) -> Chart:
    points = tuple(
        ChartPoint(name=level.level, x=float(place), y=level.corpora[corpus]["kl_divergence"])
        for place, level in enumerate((base, *others), start=1)
        if "kl_divergence" in level.corpora.get(corpus, {})
    )
    return Chart(
        title=f"KL divergence by order, {method}, {corpus}",
        caption=f"Beside {base.level}; bars are 95% intervals, each on its own.",
        across="order of the columns",
        up="nats per token",
        unit="nats",
        points=points,
        around=0.0,
    )
