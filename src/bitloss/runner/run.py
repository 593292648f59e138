"""What a run has come to so far: its opened models, their failures, its entries of the manifest."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from bitloss.engines.base import Engine, PairScorer
from bitloss.engines.evaluate import load_engine, make_scorer
from bitloss.engines.values import Candidate, Setup
from bitloss.errors import BitlossError
from bitloss.quantizers import Workers
from bitloss.results.manifest import CorpusEntry, Manifest, ModelEntry, ReferenceEntry, TaskEntry
from bitloss.results.models import Failure
from bitloss.runner.environment import describe_environment
from bitloss.runner.models import Reference, Variant, open_variant
from bitloss.runner.store import RunStore
from bitloss.spec.model import ModelRef
from bitloss.types import Progress

if TYPE_CHECKING:
    from bitloss.runner.plan import Plan

__all__ = ["Run"]


@dataclass(slots=True)
class Run:
    """A plan being carried out in a run directory.

    Attributes:
        plan: what was asked for.
        store: the run directory.
        progress: where to report.
        command: as the user typed it, recorded in the result.
        workers: the processes that quantize.
        opened: variants by name, those that failed later included.
        failures: by the variant's name, why it has no results, or not all of them.
        corpora: the manifest's entries by name, as far as they are complete.
        tasks: likewise.
    """

    plan: Plan
    store: RunStore
    progress: Progress
    command: str = ""
    workers: Workers = field(default_factory=Workers)
    opened: dict[str, Variant] = field(default_factory=dict)
    failures: dict[str, BitlossError] = field(default_factory=dict)
    corpora: dict[str, CorpusEntry] = field(default_factory=dict)
    tasks: dict[str, TaskEntry] = field(default_factory=dict)

    @property
    def reference(self) -> Reference:
        """The reference."""
        return self.plan.reference

    @property
    def engine(self) -> Engine:
        """The engine that variants are run with."""
        return load_engine(self.plan.spec.engine)

    def variants(self) -> list[Variant]:
        """The variants that are opened and have not failed, in the order they were named."""
        names = [ref.text for ref in self.plan.variants]
        usable = [name for name in names if name in self.opened and name not in self.failures]
        return [self.opened[name] for name in usable]

    def open(self, ref: ModelRef) -> None:
        """Make and open a variant; one that cannot be is noted and does not stop the others."""
        plan = self.plan
        try:
            self.opened[ref.text] = open_variant(
                ref,
                plan.spec,
                plan.reference,
                cache=plan.cache,
                progress=self.progress,
                workers=self.workers,
            )
        except BitlossError as error:
            self.fail(ref.text, error)

    def fail(self, name: str, error: BitlossError) -> None:
        """Leave a variant out of all that follows."""
        self.failures.setdefault(name, error)

    def arithmetic(self, tokens: int) -> str:
        """The arithmetic that so many tokens, of all models together, are scored in first."""
        spec = self.plan.spec
        parameters = self.reference.model.identity.info.parameters
        return self._reference_engine().arithmetic(
            spec.dtype, device=spec.device, parameters=parameters, tokens=tokens
        )

    def engine_of(self, candidate: Candidate) -> Engine:
        """The engine that a candidate is run with."""
        return load_engine(candidate.engine)

    def reference_candidate(self, arithmetic: str) -> Candidate:
        """The reference as it is run."""
        engine = self._reference_engine().name
        return Candidate(self.reference.model, engine, arithmetic, self.plan.spec.device)

    def candidate(self, variant: Variant, arithmetic: str) -> Candidate:
        """A variant as it is run."""
        spec = self.plan.spec
        return Candidate(variant.model, self.engine.name, arithmetic, spec.device)

    def scorer(self, arithmetic: str, *, share_prefixes: bool = False) -> PairScorer:
        """A scorer beside the reference in this arithmetic."""
        setup = Setup(
            store=self.store,
            reference=self.reference_candidate(arithmetic),
            progress=self.progress,
            batch_tokens=self.plan.spec.batch_tokens,
            share_prefixes=share_prefixes,
        )
        return make_scorer(setup, self.engine.name)

    def manifest(self, missing: Iterable[str] = ()) -> Manifest:
        """All of it as the manifest; unfinished if something is missing."""
        reference = self.reference
        return Manifest(
            reference=ReferenceEntry(name=reference.name, info=reference.model.identity.info),
            variants=tuple(
                self._variant_entry(ref) for ref in self.plan.variants if self._has(ref)
            ),
            corpora=dict(self.corpora),
            tasks=dict(self.tasks),
            environment=describe_environment(self.plan.spec, self.engine, self.command),
            missing=tuple(missing) or None,
        )

    def save_unfinished(self) -> None:
        """Write what there is, so that a run that is stopped can be reported."""
        if missing := self._missing():
            self.store.write_unfinished(self.manifest(missing))

    def _missing(self) -> list[str]:
        """What was asked for and is not there yet, in sentences."""
        texts = [c.facts.name for c in self.plan.corpora if c.facts.name not in self.corpora]
        tasks = [planned.name for planned in self.plan.tasks if planned.name not in self.tasks]
        parts = {"not scored": texts, "not evaluated": tasks}
        return [f"{', '.join(names)}: {what} yet" for what, names in parts.items() if names]

    def _reference_engine(self) -> Engine:
        return load_engine(self.engine.reference_engine)

    def _has(self, ref: ModelRef) -> bool:
        return ref.text in self.opened or ref.text in self.failures

    def _variant_entry(self, ref: ModelRef) -> ModelEntry:
        error = self.failures.get(ref.text)
        opened = self.opened.get(ref.text)
        recipe = (ref if opened is None else opened.ref).recipe
        return ModelEntry(
            name=ref.text,
            info=None if error is not None else self.opened[ref.text].model.identity.info,
            recipe=None if recipe is None else recipe.to_dict(),
            error=None if error is None else Failure(message=error.message, hint=error.hint),
        )
