"""What a run has come to so far: its opened models, their failures, its entries of the manifest."""

from __future__ import annotations

import traceback
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from bitloss.engines.base import Engine, PairScorer
from bitloss.engines.evaluate import load_engine, make_scorer
from bitloss.engines.values import Candidate, Setup, Work
from bitloss.errors import BitlossError, DataError, StorageError, UnsupportedModel, UsageError
from bitloss.quantizers import Workers
from bitloss.results.environment import Engine as EngineUsed
from bitloss.results.manifest import (
    CorpusEntry,
    Manifest,
    MeasuredFloor,
    ModelEntry,
    ReferenceEntry,
    TaskEntry,
)
from bitloss.results.served import Way as WayEntry
from bitloss.results.values import Failure
from bitloss.runner.costs import Costs
from bitloss.runner.environment import describe_environment
from bitloss.runner.jobs import Resources
from bitloss.runner.models import Reference, Variant, open_variant
from bitloss.runner.store import RunStore
from bitloss.spec.model import ModelRef
from bitloss.types import Progress

if TYPE_CHECKING:
    from bitloss.runner.executors.elsewhere import Elsewhere
    from bitloss.runner.plan import Plan

__all__ = ["Arithmetic", "Run"]


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """What models are scored in, each in its engine's own.

    Attributes:
        reference: the reference's.
        variants: by engine, the variants'; the reference's, too, if both are run with one engine.
    """

    reference: str
    variants: Mapping[str, str]


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
        tasks: likewise, and as far as they are decided.
        undecided: names of corpora and tasks of which more is to be known.
        speeds: by name of a variant, the record of its speed.
        task_floors: by engine and task, noise floors.
        elsewhere: does the work of models in this process's place; None if nobody does.
        no_floor: by corpus (``tasks`` for all tasks) and engine, why a noise floor is not known.
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
    undecided: set[str] = field(default_factory=set)
    speeds: dict[str, str] = field(default_factory=dict)
    task_floors: dict[str, dict[str, MeasuredFloor]] = field(default_factory=dict)
    no_floor: dict[str, dict[str, str]] = field(default_factory=dict)
    elsewhere: Elsewhere | None = None

    @property
    def reference(self) -> Reference:
        """The reference."""
        return self.plan.reference

    @property
    def reference_engine(self) -> Engine:
        """The engine that the reference is run with."""
        return self.plan.reference_engine

    def variants(self) -> list[Variant]:
        """The variants that are opened and have not failed, in the order they were named."""
        names = [ref.text for ref in self.plan.variants]
        usable = [name for name in names if name in self.opened and name not in self.failures]
        return [self.opened[name] for name in usable]

    def open(self, ref: ModelRef) -> None:
        """Make and open a variant, in every way in which it is run; one that cannot be is noted and
        does not stop the others.
        """
        plan = self.plan
        try:
            self._make_elsewhere(ref, begin=False)
            opened = open_variant(
                ref,
                plan.spec,
                plan.reference,
                cache=plan.cache,
                progress=self.progress,
                workers=self.workers,
            )
        except BitlossError as error:
            self.fail(ref.text, error)
            return
        self.opened[ref.text] = opened
        for other in plan.variants:
            if other.run_of == ref.text:
                model = replace(opened.model, name=other.text)
                self.opened[other.text] = replace(
                    opened, ref=replace(other, recipe=opened.ref.recipe), model=model
                )
        self._check([ref.text, *(one.text for one in plan.variants if one.run_of == ref.text)])

    def begin(self, ref: ModelRef) -> None:
        """Hand out the making of a variant."""
        self._make_elsewhere(ref, begin=True)

    def _make_elsewhere(self, ref: ModelRef, *, begin: bool) -> None:
        if self.elsewhere is None or ref.recipe is None:
            return
        spec = self.plan.spec
        call = self.elsewhere.begin_variant if begin else self.elsewhere.make_variant
        call(ref.recipe, self.reference.model, data=spec.data, device=spec.main_device)

    def _check(self, names: Iterable[str]) -> None:
        """Note what an engine refuses of opened variants: not after the reference was read."""
        arithmetic = self.arithmetic(1)
        tokenizer, passages = self.reference.tokenizer, self.plan.passages
        for name in names:
            variant = self.opened[name]
            candidate = self.candidate(variant, arithmetic)
            with self.blame(name):
                check = self.engine_of(candidate).check
                notes = check(candidate, tokenizer, passages)
                self.opened[name] = replace(variant, notes=(*variant.notes, *notes))

    def fail(self, name: str, error: BitlossError) -> None:
        """Leave a variant out of all that follows."""
        _forget_frames(error)
        self.failures.setdefault(name, error)

    def require_usable(self, failed: Collection[str]) -> None:
        """Raise what was wrong with the variants of these names; nothing if there are none.

        Raises:
            BitlossError: with the hint of the first one.
        """
        errors = [(name, self.failures[name]) for name in failed]
        if not errors:
            return
        texts = [
            error.message
            if name.removeprefix("./") in error.message
            else f"{name}: {error.message}"
            for name, error in errors
        ]
        first = errors[0][1]
        if len(errors) == 1 and texts[0] == first.message:
            raise first
        kind = UsageError if isinstance(first, UsageError) else DataError
        if len(errors) > 1:
            texts = ["\n  ".join([f"{len(errors)} variants cannot be evaluated:", *texts])]
        raise kind(texts[0], hint=first.hint) from first

    def require_variants(self) -> None:
        """End a run of which no variant is left, before the reference is scored for nothing.

        Raises:
            BitlossError: see `require_usable`.
        """
        if self.plan.variants and not self.variants():
            self.require_usable(self.failures)

    def arithmetic(self, tokens: int) -> Arithmetic:
        """What so many tokens, of all models together, are scored in first."""
        spec, home = self.plan.spec, self.reference_engine.name
        parameters = self.reference.model.identity.info.parameters
        reference, *variants = (
            engine.arithmetic(
                self.plan.dtype if engine.name == home else spec.dtype,
                device=spec.main_device,
                parameters=parameters,
                tokens=tokens,
            )
            for engine in (self.reference_engine, *self.plan.engines)
        )
        return Arithmetic(reference, dict(zip(spec.engine, variants, strict=True)))

    def run_with(self, name: str, arithmetic: Arithmetic) -> tuple[Engine, str]:
        """The engine and the arithmetic that the model of this name is run with."""
        if name == self.reference.name:
            return self.reference_engine, arithmetic.reference
        engine = self.plan.way_of(name).engine
        return load_engine(engine), arithmetic.variants[engine]

    def resources(
        self, costs: Costs, work: Work, name: str, arithmetic: Arithmetic, parts: int = 1
    ) -> Resources:
        """What some work of one model takes; nothing where a pack has what comes of it."""
        if name == self.reference.name and self.reference.pack is not None:
            return Resources()
        return costs.of(work, *self.run_with(name, arithmetic), parts)

    def compared(
        self, names: Collection[str], work: Work, arithmetic: Arithmetic
    ) -> list[tuple[Work, Engine, str]]:
        """The work of comparing these variants, by the engines that run them."""
        engines = Counter(self.plan.way_of(name).engine for name in names)
        return [
            (replace(work, variants=count), load_engine(engine), arithmetic.variants[engine])
            for engine, count in engines.items()
        ]

    def engine_of(self, candidate: Candidate) -> Engine:
        """The engine that a candidate is run with."""
        return load_engine(candidate.engine)

    def reference_candidate(self, arithmetic: Arithmetic) -> Candidate:
        """The reference as it is run."""
        engine, own = self.reference_engine.name, arithmetic.reference
        model = replace(self.reference.model, cache=self.plan.cache)
        return Candidate(model, engine, own, self.plan.spec.main_device)

    def candidate(self, variant: Variant, arithmetic: Arithmetic) -> Candidate:
        """A variant as it is run."""
        way = self.plan.way_of(variant.name)
        own = arithmetic.variants[way.engine]
        device = self.plan.spec.main_device
        model = replace(variant.model, cache=self.plan.cache)
        return Candidate(model, way.engine, own, device, serving=way.serving)

    def scorer(
        self, arithmetic: Arithmetic, *engines: str, share_prefixes: bool = False
    ) -> PairScorer:
        """A scorer beside the reference in this arithmetic, of all engines or of these."""
        setup = Setup(
            store=self.store,
            reference=self.reference_candidate(arithmetic),
            progress=self.progress,
            batch_tokens=self.plan.spec.tokens_in_forward,
            share_prefixes=share_prefixes,
            arithmetic=arithmetic.variants,
            tokenizer=self.reference.tokenizer,
            memory=self.plan.spec.memory_bytes,
            room=self.plan.room,
            scratch=self.store.root,
            devices=self.plan.spec.devices,
        )
        names = engines or self.plan.spec.engine
        if self.elsewhere is not None:
            return self.elsewhere.scorer(setup, names)
        return make_scorer(setup, *names)

    @contextmanager
    def blame(self, name: str) -> Iterator[None]:
        """Note an error of the block as the variant's instead of raising it; the disk's errors end
        the run.
        """
        try:
            yield
        except StorageError:
            raise
        except BitlossError as error:
            self.fail(name, error)

    @contextmanager
    def floor_may_fail(self, place: str, label: str) -> Iterator[None]:
        """Measure a way's noise floor in the block; where it cannot be measured, note why.

        It runs the reference as variants are run, which another engine than the reference's may
        refuse: a runtime of quantized files cannot load unquantized ones. So may any engine with
        types of caches or activations.
        """
        try:
            yield
        except BitlossError as error:
            plain = label == self.reference_engine.name
            if plain or isinstance(error, StorageError):
                raise
            self.no_floor.setdefault(place, {})[label] = error.message

    def about_floors(self, place: str) -> list[str]:
        """What a reader should know of noise floors that are not there."""
        notes = []
        for label, reason in self.no_floor.get(place, {}).items():
            first = label == self.plan.engine.name
            whose = "the noise floor" if first else f"the noise floor of {label}"
            notes.append(f"{whose} was not measured: {reason}")
        return notes

    def floor_of_pack(self, place: str, label: str, known: Mapping[str, str]) -> None:
        """Note why a pack has no noise floor of a way.

        Args:
            place: see `no_floor`.
            label: of the way.
            known: by way, what was wrong when the pack was made.
        """
        reason = known.get(label, f"the pack was made without {label}")
        self.no_floor.setdefault(place, {})[label] = reason

    def manifest(self, missing: Iterable[str] = ()) -> Manifest:
        """All of it as the manifest; unfinished if something is missing."""
        reference = self.reference
        return Manifest(
            reference=ReferenceEntry(
                name=reference.name,
                info=reference.model.identity.info,
                pack=None if reference.pack is None else reference.pack.document.used,
            ),
            variants=tuple(
                self._variant_entry(ref) for ref in self.plan.variants if self._has(ref)
            ),
            corpora=dict(self.corpora),
            tasks=dict(self.tasks),
            speeds=dict(self.speeds),
            environment=describe_environment(self.plan.spec, self.plan.engines, self.command),
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
        undecided = [name for name in (*self.corpora, *self.tasks) if name in self.undecided]
        parts = {"not scored": texts, "not evaluated": tasks, "not decided": undecided}
        return [f"{', '.join(names)}: {what} yet" for what, names in parts.items() if names]

    def _has(self, ref: ModelRef) -> bool:
        return ref.text in self.opened or ref.text in self.failures

    def _variant_entry(self, ref: ModelRef) -> ModelEntry:
        error = self.failures.get(ref.text)
        opened = self.opened.get(ref.text)
        recipe = (ref if opened is None else opened.ref).recipe
        return ModelEntry(
            name=ref.text,
            info=None
            if error is not None or ref.kind == "served"
            else self.opened[ref.text].model.identity.info,
            recipe=None if recipe is None else recipe.to_dict(),
            error=None if error is None else Failure(message=error.message, hint=error.hint),
            seeded=recipe is not None and recipe.depends_on_seed,
            replicate_of=ref.replicate_of,
            run_of=ref.run_of,
            way=self._way_entry(ref),
            unsupported=isinstance(error, UnsupportedModel),
        )

    def _way_entry(self, ref: ModelRef) -> WayEntry | None:
        way = ref.way
        if ref.run_of is None or way is None or way.adds is None:
            return None
        serving, version = way.serving, load_engine(way.engine).version
        return WayEntry(
            label=way.label,
            engine=EngineUsed(name=way.engine, version=version),
            keys=serving.keys,
            values=serving.values,
            activations=serving.activations,
            adds=way.adds,
            beside=way.beside,
        )


def _forget_frames(error: BaseException) -> None:
    """Let go of what the functions that raised an error had loaded: an error is kept to the end of
    the run, and its traceback would keep their variables, a whole model among them.
    """
    chain: BaseException | None = error
    while chain is not None:
        traceback.clear_frames(chain.__traceback__)
        chain = chain.__cause__ or chain.__context__
