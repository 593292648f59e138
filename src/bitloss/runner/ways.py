"""The ways in which a run runs its variants: engines, and types of caches and activations.

A variant that is run in several ways is a variant for each of them: opened once, and scored by its
own fingerprints. `bitloss.analysis.served` holds them against each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from bitloss.engines.base import Engine
from bitloss.errors import UnsupportedModel, UsageError
from bitloss.spec.model import ModelRef
from bitloss.spec.serving import Serving
from bitloss.spec.ways import Adds, Way

__all__ = ["in_ways", "ways_of"]


def ways_of(engines: Sequence[Engine], serving: Serving) -> tuple[Way, ...]:
    """The ways, the plainest of every engine first.

    Args:
        engines: as requested; the first runs what everything else is held against.
        serving: types of caches and activations; an engine takes of them what it offers.

    Raises:
        UsageError: an engine is named twice.
        UnsupportedModel: no engine can set one of the types, or they run the reference in
            different engines.
    """
    names = [engine.name for engine in engines]
    if len({*names}) < len(names):
        raise UsageError("an engine is named twice", hint="name each of them once")
    offered = frozenset[str]().union(*(engine.offers for engine in engines))
    if lacking := sorted(serving.fields - offered):
        raise UnsupportedModel(
            f"expected an engine that can set the type of {lacking[0]}, got {', '.join(names)}",
            hint="choose another --engine (`bitloss list engines`)",
        )
    if len({engine.reference_engine for engine in engines}) > 1:
        raise UnsupportedModel(
            f"expected engines beside one reference, got {', '.join(names)}, which run it each in "
            "an engine of its own",
            hint="give each of them a run of its own",
        )
    ways: list[Way] = []
    for engine in engines:
        first = ways[0].label if ways else ""
        ways.append(Way(engine.name, adds="engine" if ways else None, beside=first))
        ways += _served(engine, serving, ways[-1])
    return tuple(ways)


def _served(engine: Engine, serving: Serving, plain: Way) -> list[Way]:
    """The engine's ways with a cache, and with activations besides."""
    ways: list[Way] = []
    before = plain
    cache = Serving(keys=serving.keys, values=serving.values)
    parts: tuple[tuple[Adds, Serving], ...] = (("cache", cache), ("activations", serving))
    for adds, more in parts:
        own = before.serving != more and more.fields - before.serving.fields <= engine.offers
        if own and more:
            before = Way(engine.name, more, adds=adds, beside=before.label)
            ways.append(before)
    return ways


def in_ways(refs: Sequence[ModelRef], ways: Sequence[Way]) -> list[ModelRef]:
    """The variants, and then each of them in every further way.

    Args:
        refs: the run's variants with their replicates, the second and further of which are run in
            the first way only.
        ways: from `ways_of`.
    """
    first, *others = ways
    named = [replace(ref, way=first) for ref in refs]
    return named + [
        replace(ref, text=f"{ref.text} [{way.label}]", way=way, run_of=ref.text)
        for ref in named
        if ref.replicate_of is None
        for way in others
    ]
