"""The table of replicates: every figure is one of the result."""

from __future__ import annotations

from bitloss.reports.page.replicates import replicates
from bitloss.results import Comparison, Replicates, Spread
from example_run import make_comparison
from page_reader import check_figures


def with_replicates() -> Comparison:
    made = make_comparison()
    found = Replicates(
        seeds=(0, 1, 2),
        digests=("a", "b", "c"),
        corpora={
            "wiki.x": {
                "relative_perplexity": Spread(values=(1.05, 1.0712, 1.06), deviation=0.0106),
                "top1_agreement": Spread(values=(0.92, 0.911, None), deviation=None),
                "kl_divergence": Spread(values=(0.031, 0.0402, 0.03), deviation=0.0056),
            }
        },
        capabilities={
            "math": {"difference": Spread(values=(-0.02, -0.065, 0.005), deviation=0.0357)}
        },
    )
    first = made.variants[0].model_copy(update={"own_spread": "included", "replicates": found})
    return made.model_copy(update={"variants": (first, *made.variants[1:])})


def test_every_figure_is_one_of_the_result() -> None:
    comparison = with_replicates()
    table = replicates(comparison)
    assert table is not None
    titles = [column.title for column in table.columns]
    assert titles[3:] == ["seed 0", "seed 1", "seed 2", "SD"]
    assert (
        check_figures(table, comparison) == 4 * 4 - 2
    )  # one replicate has no agreement, and so no deviation
    assert [str(row.cells[2].content) for row in table.rows] == [
        "relative PPL", "KLD, nats/token", "same top-1", "change, points",
    ]  # fmt: skip


def test_no_table_without_replicates() -> None:
    assert replicates(make_comparison()) is None
