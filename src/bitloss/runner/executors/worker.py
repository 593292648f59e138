"""Carries parts out: one of these is in every worker, on whatever machine that is.

It keeps what it has loaded from one part to the next, and only one such thing: a scorer with its
model, or a model that writes. Nothing here knows how parts travel.
"""

from __future__ import annotations

import gc
import platform
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import singledispatchmethod
from pathlib import Path
from typing import Any

from bitloss.engines.base import PairScorer, TextModel
from bitloss.engines.evaluate import load_engine, make_scorer
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.errors import BitlossError, StorageError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.quantizers import make_variant
from bitloss.runner.environment import describe_packages
from bitloss.runner.executors.parts import (
    Action,
    Columns,
    Compare,
    Estimate,
    Floor,
    Make,
    Outcome,
    Read,
    SentCandidate,
    SentError,
    SentModel,
    SentSetup,
    Write,
    file_sizes,
)
from bitloss.runner.tasks.texts import text_columns
from bitloss.system_errors import explain
from bitloss.types import SilentProgress

__all__ = ["MemoryStore", "Worker", "describe_machine"]


def describe_machine(engines: Sequence[str], device: str, threads: int) -> dict[str, str]:
    """What has to be the same on all machines for their numbers to be: versions of packages, the
    instructions that the processor's kernels use, threads, and the device.
    """
    import torch

    from bitloss.engines.devices import describe

    torch.set_num_threads(threads)
    return {
        **describe_packages([load_engine(name) for name in engines]),
        "machine": platform.machine(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "device": describe(device),
    }


class MemoryStore:
    """A store in memory; satisfies `bitloss.engines.values.Store`."""

    def __init__(self) -> None:
        self.records: dict[str, Columns] = {}
        self.states: dict[str, Any] = {}

    def has_records(self, fingerprint: str) -> bool:
        """See `Store`."""
        return fingerprint in self.records

    def write_records(self, fingerprint: str, columns: Columns) -> None:
        """See `Store`."""
        self.records[fingerprint] = dict(columns)

    def read_records(self, fingerprints: Sequence[str], columns: tuple[str, ...]) -> dict[str, Any]:
        """See `Store`."""
        import numpy as np

        parts = [self.records[name] for name in fingerprints]
        return {name: np.concatenate([part[name] for part in parts]) for name in columns}

    def has_states(self, fingerprint: str) -> bool:
        """See `Store`."""
        return fingerprint in self.states

    def write_states(self, fingerprint: str, states: Any) -> None:
        """See `Store`."""
        self.states[fingerprint] = states

    def read_states(self, fingerprint: str) -> Any:
        """See `Store`."""
        return self.states[fingerprint]

    def drop_states(self, fingerprint: str) -> None:
        """See `Store`."""
        self.states.pop(fingerprint, None)

    def clear(self) -> None:
        """Begin with nothing."""
        self.records, self.states = {}, {}


class Worker:
    """Carries parts out, one at a time.

    Args:
        place: what its machine is called in messages; None is the machine's own name.
        device: where it computes; None is where the run says.
    """

    def __init__(self, place: str | None = None, device: str | None = None) -> None:
        self._device = device
        self._place = place or socket.gethostname()
        self._store = MemoryStore()
        self._models: dict[SentModelKey, Model] = {}
        self._held: tuple[Any, Any] = (None, None)

    def run(
        self, action: Action, inputs: Sequence[Mapping[str, Any]] = ()
    ) -> tuple[Outcome, dict[str, Any]]:
        """Carry a part out.

        Args:
            action: the part.
            inputs: states that it takes, by fingerprint.

        Returns:
            What it came to, and the states that it gives. An error is part of the outcome: raised
            here, it could not be told from a worker that is lost.
        """
        began = time.monotonic()
        self._store.clear()
        given: dict[str, Any] = {}
        try:
            for states in inputs:
                self._store.states.update(states)
            outcome = self._do(action)
            outcome.records = dict(self._store.records)
            given = self._store.states if isinstance(action, Read) else {}
        except Exception as error:
            known = error if isinstance(error, BitlossError) else explain(error)
            if known is not None:
                outcome = Outcome(error=SentError.of(known))
            else:
                outcome = Outcome(crash=traceback.format_exc())
            self._let_go()
        self._store.clear()
        outcome.seconds = time.monotonic() - began
        return outcome, given

    # Parts ----------------------------------------------------------------------------------------

    @singledispatchmethod
    def _do(self, action: Action) -> Outcome:
        raise TypeError(f"no such part: {action!r}")

    @_do.register
    def _(self, action: Read) -> Outcome:
        scorer = self._scorer(action.setup)
        group = [self._candidate(one) for one in action.group]
        named = None if action.candidate is None else self._candidate(action.candidate)
        scorer.prepare(action.pieces, named or scorer.reference, group)
        return Outcome()

    @_do.register
    def _(self, action: Compare) -> Outcome:
        scores = self._scorer(action.setup).score(
            action.pieces, [self._candidate(one) for one in action.group]
        )
        return Outcome(failed={label: SentError.of(e) for label, e in scores.failed.items()})

    @_do.register
    def _(self, action: Floor) -> Outcome:
        scorer = self._scorer(action.setup)
        if action.serving is None:
            return Outcome(value=scorer.noise_floor(action.windows))
        candidate = None if action.candidate is None else self._candidate(action.candidate)
        return Outcome(value=scorer.rounding_noise(action.windows, action.serving, candidate))

    @_do.register
    def _(self, action: Write) -> Outcome:
        columns = text_columns(self._writer(action), action.requests)
        self._store.write_records(action.key, columns)
        return Outcome()

    @_do.register
    def _(self, action: Make) -> Outcome:
        self._let_go()
        made = make_variant(
            action.recipe,
            self._model(action.model).path or Path(),
            model_digest=action.model.identity.info.digest,
            data=action.data,
            cache=action.cache,
            device=self._device or action.device,
            progress=SilentProgress(),
        )
        return Outcome(value=(made, file_sizes(made)))

    @_do.register
    def _(self, action: Estimate) -> Outcome:
        cost = load_engine(action.engine).cost(
            action.work,
            action.identity,
            arithmetic=action.arithmetic,
            device=self._device or action.device,
            measure=True,
        )
        return Outcome(value=cost)

    # What is loaded -------------------------------------------------------------------------------

    def _scorer(self, sent: SentSetup) -> PairScorer:
        key = (sent.reference, sent.engines, sent.exact, dict(sent.values))
        if self._held[0] == key:
            scorer: PairScorer = self._held[1]
            return scorer
        self._let_go()
        setup = Setup(
            store=self._store,
            reference=self._candidate(sent.reference),
            progress=SilentProgress(),
            **sent.values,
        )
        made = make_scorer(setup, *sent.engines)
        scorer = (made.exact() or made) if sent.exact else made
        self._held = key, scorer
        return scorer

    def _writer(self, action: Write) -> TextModel:
        key = (action.candidate, action.batch_tokens, action.memory, action.room)
        if self._held[0] == key:
            kept: TextModel = self._held[1]
            return kept
        self._let_go()
        candidate = self._candidate(action.candidate)
        engine = load_engine(candidate.engine)
        assert engine.text_model is not None, "a run refuses tasks that its engine cannot write"
        setup = TextSetup(
            config=action.config,
            decode=action.tokenizer.decode,
            eos_ids=action.eos_ids,
            batch_tokens=action.batch_tokens,
            tokenizer=action.tokenizer,
            memory=action.memory,
            room=action.room,
        )
        model = engine.text_model(candidate, setup)
        self._held = key, model
        return model

    def _let_go(self) -> None:
        if self._held[0] is None:
            return
        self._held = None, None
        gc.collect()
        load_engine("dense").release()

    def _candidate(self, sent: SentCandidate) -> Candidate:
        device = self._device or sent.run.device
        return replace(sent.run, model=self._model(sent.model), device=device)

    def _model(self, sent: SentModel) -> Model:
        """The model's files, opened here once they are known to be those that were sent.

        Raises:
            StorageError: they are not on this machine, or others are.
        """
        key = (sent.name, sent.path, sent.files)
        if key not in self._models:
            self._models[key] = self._opened(sent)
        return self._models[key]

    def _opened(self, sent: SentModel) -> Model:
        path = sent.path
        if path is None:
            return Model(sent.name, sent.identity, cache=sent.cache)
        if not path.exists():
            raise StorageError(
                f"expected {path} on every machine, {self._place} has no such path",
                hint="put it in a folder that all machines share, under the same path",
            )
        checkpoint = open_checkpoint(path, name=sent.name)
        if file_sizes(path) != sent.files:
            own = identify(checkpoint).info.digest
            if own != sent.identity.info.digest:
                raise StorageError(
                    f"{path} holds other weights on {self._place} than where the run was started",
                    hint="put it in a folder that all machines share, or copy it there again",
                )
        return Model(sent.name, sent.identity, checkpoint, path, sent.code, sent.cache)


SentModelKey = tuple[str, Path | None, tuple[tuple[str, int, int], ...]]
