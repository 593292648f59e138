"""How fast a run's variants are in each of their ways, and what memory they take.

What was measured is kept in the run directory, so that a run that is resumed, or shown again, says
the same. It is the only part of a run that another run need not repeat to the byte.
"""

from __future__ import annotations

import json
from functools import partial

from bitloss.engines.speed import measure_speed
from bitloss.engines.values import Candidate
from bitloss.errors import BitlossError, StorageError
from bitloss.quantizers import made_in
from bitloss.results.speed import COLUMN, ModelSpeed, Workload
from bitloss.results.values import Failure
from bitloss.runner.jobs import Job
from bitloss.runner.memory import buffer_bytes, cache_bytes, context_bytes
from bitloss.runner.models import Variant
from bitloss.runner.run import Run
from bitloss.runner.tasks.writers import text_setup
from bitloss.spec.fingerprint import fingerprint

__all__ = ["SpeedRun"]


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
        context = run.reference.model.identity.context or self._work.prompt
        work = self._work.model_copy(
            update={"prompt": max(1, min(self._work.prompt, context // 2))}
        )
        arithmetic = run.arithmetic(work.prompt)
        pair = (run.reference_candidate(arithmetic), run.candidate(variant, arithmetic))
        batch = run.plan.spec.tokens_in_forward
        facts = [run.engine_of(one).identity(one, batch_tokens=batch) for one in pair]
        key = fingerprint({"kind": "speed", "models": facts, "work": work.model_dump()})
        if not run.store.has_records(key):
            with run.progress.task(f"time {name}", None):
                found = self._found(*pair, work).model_copy(update={"made_in": _made_in(variant)})
            run.store.write_records(key, {COLUMN: [json.dumps(found.model_dump(mode="json"))]})
        run.speeds[name] = key

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
