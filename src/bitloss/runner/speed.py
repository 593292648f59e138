"""How fast a run's variants are in each of their ways, and what memory they take.

What was measured is kept in the run directory, so that a run that is resumed, or shown again, says
the same. It is the only part of a run that another run need not repeat to the byte.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from bitloss.engines.speed import measure_speed
from bitloss.engines.values import Candidate
from bitloss.errors import BitlossError, StorageError
from bitloss.quantizers import made_in
from bitloss.results.speed import COLUMN, ModelSpeed, Workload
from bitloss.results.values import Failure
from bitloss.runner.jobs import Job
from bitloss.runner.memory import buffer_bytes, cache_bytes, context_bytes
from bitloss.runner.models import Variant
from bitloss.runner.plan import prepare
from bitloss.runner.run import Run
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.writers import text_setup
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.run import RunSpec
from bitloss.types import Progress

__all__ = ["SpeedRun", "compare_speeds"]


class SpeedRun:
    """Measures every variant of a run, in every way, in turns with the reference.

    Args:
        run: the run.
        work: what is timed.
    """

    def __init__(self, run: Run, work: Workload | None = None) -> None:
        self._run = run
        self._work = work or Workload(context=run.plan.spec.context_tokens)

    def jobs(self) -> list[Job]:
        """One for each variant and way, after everything else."""
        return [
            Job(f"speed/{ref.text}", "speed", partial(self._measure, ref.text), ref.text)
            for ref in self._run.plan.variants
            if ref.replicate_of is None
        ]

    def _measure(self, name: str) -> None:
        run = self._run
        variant = next((one for one in run.variants() if one.name == name), None)
        if variant is None:
            return
        work = self._shortened()
        arithmetic = run.arithmetic(work.prompt)
        pair = (run.reference_candidate(arithmetic), run.candidate(variant, arithmetic))
        run.speeds[name], _ = self._kept(pair, work, variant)

    def beside(self, first: str, second: str) -> ModelSpeed:
        """The second variant in turns with the first, both as the run's first engine runs them."""
        run, work = self._run, self._shortened()
        arithmetic = run.arithmetic(work.prompt)
        variants = {one.name: one for one in run.variants()}
        if absent := [name for name in (first, second) if name not in variants]:
            error = run.failures[absent[0]]
            return ModelSpeed(work=work, error=Failure(message=error.message, hint=error.hint))
        pair = (
            run.candidate(variants[first], arithmetic),
            run.candidate(variants[second], arithmetic),
        )
        return self._kept(pair, work, variants[second])[1]

    def _shortened(self) -> Workload:
        """The work, with a prompt that leaves room in the model's context."""
        context = self._run.reference.model.identity.context or self._work.prompt
        return self._work.model_copy(
            update={"prompt": max(1, min(self._work.prompt, context // 2))}
        )

    def _kept(
        self, pair: tuple[Candidate, Candidate], work: Workload, variant: Variant
    ) -> tuple[str, ModelSpeed]:
        """What was measured, now or before, and the record that holds it."""
        run = self._run
        batch = run.plan.spec.tokens_in_forward
        facts = [run.engine_of(one).identity(one, batch_tokens=batch) for one in pair]
        key = fingerprint({"kind": "speed", "models": facts, "work": work.model_dump()})
        if run.store.has_records(key):
            (text,) = run.store.read_records([key], (COLUMN,))[COLUMN]
            return key, ModelSpeed.model_validate_json(text)
        with run.progress.task(f"time {variant.name}", None):
            found = self._found(*pair, work).model_copy(update={"made_in": _made_in(variant)})
        run.store.write_records(key, {COLUMN: [json.dumps(found.model_dump(mode="json"))]})
        return key, found

    def _found(self, reference: Candidate, candidate: Candidate, work: Workload) -> ModelSpeed:
        size, beside = _arithmetic(candidate, work.context)
        try:
            speed = measure_speed(reference, candidate, text_setup(self._run.plan), work)
        except StorageError:
            raise
        except BitlossError as error:
            failure = Failure(message=error.message, hint=error.hint)
            return ModelSpeed(work=work, cache_bytes=size, beside_bytes=beside, error=failure)
        return ModelSpeed(
            work=work,
            prefill=speed.prefill,
            decode=speed.decode,
            footprint=speed.candidate,
            reference=speed.reference,
            cache_bytes=size,
            beside_bytes=beside,
        )


def compare_speeds(
    spec: RunSpec,
    out: Path,
    pairs: Sequence[tuple[str, str]],
    *,
    engine: str,
    progress: Progress,
    work: Workload | None = None,
) -> dict[tuple[str, str], ModelSpeed]:
    """How fast variants of a finished run are beside other variants of it, in turns.

    What was measured is kept in the run directory; nothing is timed twice.

    Args:
        spec: of the run.
        out: the run directory.
        pairs: names of variants, what is held against and what is timed.
        engine: that runs both: one that runs files as they are stored.
        progress: where to report.
        work: what is timed.

    Returns:
        By pair; in `ModelSpeed`, the first one has the reference's place. Where the engine cannot
        run one of them, its error.

    Raises:
        BitlossError: the run cannot be prepared, or its directory not be written.
    """
    names = dict.fromkeys(name for pair in pairs for name in pair)
    own = replace(
        spec, variants=tuple(names), engine=(engine,), tasks=(), speed=False, replicates=1
    )
    plan = prepare(own, recipes_must_fit=False, progress=progress)
    run = Run(plan, RunStore(out), progress)
    for ref in plan.variants:
        run.open(ref)
    timed = SpeedRun(run, work)
    return {pair: timed.beside(*pair) for pair in pairs}


def _made_in(variant: Variant) -> float | None:
    path = variant.model.path
    return None if variant.ref.recipe is None or path is None else made_in(path)


def _arithmetic(candidate: Candidate, context: int) -> tuple[int | None, int | None]:
    """Bytes of a token's keys and values, and of all that is held beside the file for a context."""
    identity = candidate.model.identity
    cache = context_bytes(identity.config, candidate.serving, context)
    buffers = buffer_bytes(identity.config, identity.vocabulary)
    beside = None if cache is None or buffers is None else cache + buffers
    return cache_bytes(identity.config, candidate.serving), beside
