"""The page's table of ways: every figure is one of the result."""

from __future__ import annotations

from bitloss.reports.page.served import of_corpus, of_tasks
from example_run import make_comparison
from example_served import served_run
from page_reader import check_figures


def test_every_figure_is_one_of_the_result() -> None:
    comparison = served_run()
    (name,) = comparison.reference.corpora
    table = of_corpus(comparison, name)
    assert table is not None
    assert [column.title for column in table.columns] == [
        "variant", "weights", "+ cache q8_0", "+ activations int8", "run by llama.cpp",
        "llama.cpp + cache q8_0/q4_0",
    ]  # fmt: skip
    # The weights and three ways, each with two bounds; in the fourth way it was not run.
    assert check_figures(table, comparison) == 4 * 3
    assert str(table.rows[0].cells[-1].content) == "not run"


def test_no_table_for_a_run_in_one_way() -> None:
    comparison = make_comparison()
    assert of_corpus(comparison, next(iter(comparison.reference.corpora))) is None
    assert of_tasks(comparison) is None
