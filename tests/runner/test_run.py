"""Oracle: weak references, which tell what is still held."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from bitloss.errors import CheckpointError, NumericalError
from bitloss.runner import RunStore
from peers.runs import corpus_jobs, make_run


class Loaded:
    """Stands for a model's weights."""


def test_a_failure_holds_nothing_that_was_loaded(tmp_path, models):
    held: list[weakref.ref[Loaded]] = []

    def load() -> None:
        weights = Loaded()
        held.append(weakref.ref(weights))
        raise CheckpointError("damaged", hint="no")

    def generate() -> None:
        weights = Loaded()
        held.append(weakref.ref(weights))
        try:
            load()
        except CheckpointError as error:
            raise NumericalError("no", hint="no") from error

    run = make_run(RunStore(tmp_path), models, [], "a")
    try:
        generate()
    except NumericalError as error:
        run.fail("a", error)
    gc.collect()
    assert [reference() for reference in held] == [None, None]
    assert run.failures["a"].message == "no"


def test_a_corpus_that_is_collected_holds_no_scorer(tmp_path, models, windows, monkeypatch):
    made: list[Any] = []
    run = make_run(RunStore(tmp_path), models, windows, "a")
    original = type(run).scorer

    def scorer(self: Any, *args: Any, **options: Any) -> Any:
        result = original(self, *args, **options)
        made.append(weakref.ref(result))
        return result

    monkeypatch.setattr(type(run), "scorer", scorer)
    jobs = corpus_jobs(run)
    for job in jobs:
        job.run()
    gc.collect()
    assert len(made) > 1
    assert [reference() for reference in made] == [None] * len(made)
