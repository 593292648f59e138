"""The example run, its first variant in several ways: cache, activations, other engines."""

from __future__ import annotations

from bitloss.results import Added, Comparison, Engine, Estimate, Failure, Served, ServedCorpus, Way
from example_run import make_comparison

__all__ = ["WAYS", "served_run", "way"]

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
