"""The table of ways: what stands in it is in the result, and sentences say no more."""

from __future__ import annotations

import pytest

from bitloss.results import Added, Engine, Estimate, NoiseFloor
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
    assert "llama.cpp, which runs the file itself, adds nothing significant" in said
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


def test_only_the_engine_that_decodes_has_the_weights_alone():
    run = served_run()
    assert served_tables(run)[0].columns["first"] == "weights"
    environment = run.environment.model_copy(update={"engine": Engine(name="llama.cpp")})
    (table,) = served_tables(run.model_copy(update={"environment": environment}))
    assert table.columns["first"] == "run by llama.cpp"
    assert "run by llama.cpp it loses" in table.notes[0]
    assert "weights" not in " ".join((table.title, *table.columns.values(), *table.notes))


def test_what_is_within_ten_floors_is_marked():
    """0.009 nats beside a floor of 0.001, and of 0.0008."""
    marked = {}
    for floor in (0.001, 0.0008):
        run = served_run()
        served = run.variants[0].served
        assert served is not None
        (name,) = served[0].corpora
        found = served[0].corpora[name]
        assert found.result is not None
        result = found.result.model_copy(
            update={"noise_floor": NoiseFloor(kl_divergence=floor, dtype="fp32", n_scored=100)}
        )
        one = served[0].model_copy(
            update={"corpora": {name: found.model_copy(update={"result": result})}}
        )
        variant = run.variants[0].model_copy(update={"served": (one,)})
        (table,) = served_tables(run.model_copy(update={"variants": (variant,)}))
        marked[floor] = table.text(table.rows[0], WAYS[0].label)
    assert marked == {0.001: "~+0.0090 [0.0080, 0.0100]", 0.0008: "+0.0090 [0.0080, 0.0100]"}
