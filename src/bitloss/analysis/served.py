"""Variants in further ways to run them, each held beside the way that differs in one thing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from bitloss.analysis.corpus_collect import CollectedCorpus
from bitloss.analysis.task_collect import CollectedTasks
from bitloss.errors import NumericalError
from bitloss.results.manifest import Manifest, ModelEntry
from bitloss.results.served import Served, ServedCorpus, Way
from bitloss.results.speed import ModelSpeed
from bitloss.results.values import Failure

__all__ = ["analyse_served"]


def analyse_served(
    name: str,
    manifest: Manifest,
    corpora: Mapping[str, CollectedCorpus],
    tasks: CollectedTasks,
    speeds: Mapping[str, ModelSpeed],
) -> tuple[Served, ...] | None:
    """A variant in its further ways; None if it is run in one only.

    Args:
        name: of the variant in the first way.
        manifest: of the run.
        corpora: its corpora by name.
        tasks: its tasks.
        speeds: by name, of all variants in all ways.
    """
    entries = [entry for entry in manifest.variants if entry.run_of == name]
    names = {manifest.environment.engine.name: name}
    names |= {entry.way.label: entry.name for entry in entries if entry.way is not None}
    found = list(_first_way(name, manifest, corpora))
    for entry in entries:
        assert entry.way is not None, "a variant that is a run of another has a way"
        before = names.get(entry.way.beside)
        failure = entry.error
        scored: dict[str, ServedCorpus] = {}
        for corpus, collected in corpora.items():
            if entry.name not in collected.variants:
                continue
            try:
                scored[corpus] = collected.served(entry.name, before)
            except NumericalError as error:
                failure = failure or Failure(message=error.message, hint=error.hint)
        found.append(
            Served(
                way=entry.way,
                status=_status(entry, failure),
                error=failure,
                corpora=scored,
                tasks=tasks.served(entry.name, before),
                not_measured=tasks.not_measured(entry.name),
                speed=speeds.get(entry.name),
            )
        )
    return tuple(found) or None


def _first_way(
    name: str, manifest: Manifest, corpora: Mapping[str, CollectedCorpus]
) -> Iterator[Served]:
    """The run's first way, if only likely tokens are known in it: such results on corpora are none
    of those that a variant has, and no verdict is drawn from them.
    """
    engine = manifest.environment.engine
    scored = {
        corpus: collected.served(name, None)
        for corpus, collected in corpora.items()
        if name in collected.variants and collected.variants[name].top_k
    }
    if scored:
        way = Way(label=engine.name, engine=engine, adds="engine", beside="")
        yield Served(way=way, corpora=scored)


def _status(entry: ModelEntry, failure: Failure | None) -> Literal["ok", "unsupported", "failed"]:
    if failure is None:
        return "ok"
    return "unsupported" if entry.unsupported else "failed"
