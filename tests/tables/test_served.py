"""The table of ways: what stands in it is in the result, and sentences say no more."""

from __future__ import annotations

import pytest

from bitloss.results import Added, Estimate
from bitloss.tables.served import column_title, served_tables
from example_run import make_comparison
from example_served import WAYS, served_run, way


def test_columns_say_what_a_way_adds():
    assert [column_title(one, "dense") for one in WAYS] == [
        "+ cache q8_0", "+ activations int8", "run by llama.cpp", "llama.cpp + cache q8_0/q4_0",
    ]  # fmt: skip


def test_a_run_in_one_way_has_no_such_table():
    assert served_tables(make_comparison()) == ()


def test_every_way_has_a_cell_and_a_sentence():
    (table,) = served_tables(served_run())
    cells = [table.text(table.rows[0], one.label) for one in WAYS]
    assert cells == [
        "+0.0090 [0.0080, 0.0100]", "-0.0020 [-0.0030, -0.0010]",
        "+0.0010 [-0.0010, 0.0030]", "not run",
    ]  # fmt: skip
    assert (table.left, table.muted) == (("model",), {len(table.rows) - 1})
    said = table.notes[0]
    assert "the cache adds 0.0090 [0.0080, 0.0100]" in said
    assert "the activations takes off 0.0020" not in said
    assert "the activations take off 0.0020 [0.0010, 0.0030]" in said
    assert "llama.cpp, which runs the file itself, adds nothing that is shown" in said
    assert any("not run by llama.cpp: expected a GGUF file, got gptq" in n for n in table.notes)


@pytest.mark.parametrize("adds", ["cache", "engine"])
def test_a_missing_interval_claims_nothing(adds):
    run = served_run()
    served = run.variants[0].served
    assert served is not None
    (name,) = served[0].corpora
    bare = Estimate(value=0.009, low=None, high=None)
    one = served[0].model_copy(
        update={
            "way": way("dense", adds, keys="q8_0", values="q8_0"),
            "corpora": {
                name: served[0]
                .corpora[name]
                .model_copy(
                    update={
                        "added": Added(
                            kl_divergence=bare, relative_perplexity=bare, top1_agreement=bare
                        )
                    }
                )
            },
        }
    )
    variant = run.variants[0].model_copy(update={"served": (one,)})
    (table,) = served_tables(run.model_copy(update={"variants": (variant,)}))
    assert "+0.0090, of which no interval is known" in table.notes[0]
