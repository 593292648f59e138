"""The page's and the terminal's tables of speed, and its chart."""

from __future__ import annotations

from bitloss.reports.page.speed import table_of
from bitloss.reports.scatter import by_speed
from bitloss.results import Comparison, Estimate, Failure
from bitloss.results.speed import Footprint, ModelSpeed, SpeedRate, Workload
from bitloss.tables.speed import speed_tables
from example_run import make_comparison
from example_served import served_run
from page_reader import check_figures

WORK = Workload(prompt=256, new_tokens=16, sequences=1, rounds=5)
FAST = ModelSpeed(
    work=WORK,
    prefill=SpeedRate(
        tokens_per_second=1234.5,
        reference=617.25,
        ratio=Estimate(value=2.0, low=1.9, high=2.1),
    ),
    footprint=Footprint(load_seconds=0.52, resident_bytes=63_000_000, device_bytes=0),
    cache_bytes=2048,
    beside_bytes=8192 * 2048,
    made_in=12.3,
)
UNTIMED = ModelSpeed(work=WORK, error=Failure(message="writing took no longer than reading"))


def timed_run() -> Comparison:
    run = served_run()
    variant = run.variants[0]
    assert variant.served is not None
    served = (
        variant.served[0].model_copy(update={"speed": FAST}),
        variant.served[1].model_copy(update={"speed": UNTIMED}),
        *variant.served[2:],
    )
    first = variant.model_copy(update={"speed": FAST, "served": served})
    return run.model_copy(update={"variants": (first, *run.variants[1:])})


def test_every_figure_is_one_of_the_result() -> None:
    comparison = timed_run()
    table = table_of(comparison)
    assert table is not None
    assert [str(row.cells[1].content) for row in table.rows] == ["dense", "+ cache q8_0"]
    # Reading, its ratio and two bounds, memory, load, cache, beside it, making; it does not write.
    assert check_figures(table, comparison) == 2 * 9
    assert any("writing took no longer" in note for note in table.notes)


def test_the_terminals_table_adds_a_cache_to_the_file() -> None:
    comparison = timed_run()
    table, memory = speed_tables(comparison)
    row = table.rows[0]
    assert (table.text(row, "prefill"), table.text(row, "decode")) == ("1,234", "-")
    whole = comparison.variants[0].file_bytes
    assert whole is not None
    assert memory.text(row, "held").split() == [f"{(whole + 8192 * 2048) / 1e6:.0f}", "MB"] or (
        memory.text(row, "held") == f"{(whole + 8192 * 2048) / 1e9:.1f} GB"
    )


def test_runs_that_were_not_timed_have_neither() -> None:
    run = make_comparison()
    (corpus,) = run.reference.corpora
    assert table_of(run) is None
    assert speed_tables(run) == ()
    assert by_speed(run, corpus) is None
    assert by_speed(timed_run(), corpus) is not None
