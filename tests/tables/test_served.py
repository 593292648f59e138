"""The table of ways: what stands in it is in the result, and sentences say no more."""

from __future__ import annotations

import pytest

from bitloss.results import Added, Comparison, Engine, Estimate, Failure, Served, ServedCorpus, Way
from bitloss.tables.served import column_title, served_tables
from example_run import make_comparison

NOTHING = Estimate(value=0.001, low=-0.001, high=0.003)
LESS = Estimate(value=-0.002, low=-0.003, high=-0.001)
MORE = Estimate(value=0.009, low=0.008, high=0.010)


def way(engine: str, adds: str, **types: str) -> Way:
    label = ", ".join([engine, *(f"{key} {value}" for key, value in types.items())])
    return Way(label=label, engine=Engine(name=engine), adds=adds, beside="dense", **types)


WAYS = (
    way("dense", "cache", keys="q8_0", values="q8_0"),
    way("dense", "activations", activations="int8"),
    way("llama.cpp", "engine"),
    way("llama.cpp", "cache", keys="q8_0", values="q4_0"),
)


def served_run() -> Comparison:
    """The example run, its first variant in four ways, the last of which it cannot be run in."""
    run = make_comparison()
    variant = run.variants[0]
    (name,) = variant.corpora
    served = [
        Served(
            way=one,
            corpora={
                name: ServedCorpus(
                    result=variant.corpora[name],
                    added=Added(
                        kl_divergence=added, relative_perplexity=added, top1_agreement=added
                    ),
                )
            },
        )
        for one, added in zip(WAYS[:3], (MORE, LESS, NOTHING), strict=True)
    ]
    error = Failure(message=f"{variant.name} [llama.cpp]: expected a GGUF file, got gptq")
    served.append(Served(way=WAYS[3], status="unsupported", error=error))
    first = variant.model_copy(update={"served": tuple(served)})
    return run.model_copy(update={"variants": (first, *run.variants[1:])})


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
