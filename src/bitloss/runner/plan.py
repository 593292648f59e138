"""A run made ready: everything checked that can be checked before the long work begins."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

from bitloss.engines.evaluate import load_engine
from bitloss.errors import CheckpointError, UsageError
from bitloss.expectations import Expectations, load_expectations
from bitloss.formats.tokenizers.loading import eos_ids
from bitloss.quantizers import check_recipe
from bitloss.runner.corpora import PlannedCorpus, fit_protocol, plan_corpora
from bitloss.runner.executors.choose import check_executor
from bitloss.runner.models import Reference, name_variants, open_reference
from bitloss.runner.packs.opened import reads_pack
from bitloss.runner.packs.reading import open_packed, packed_corpora, packed_tasks
from bitloss.runner.plan_checks import (
    require_abilities,
    require_devices,
    require_installed,
    require_own_name,
    require_share,
)
from bitloss.runner.planned import Plan
from bitloss.runner.sequential import Stopping
from bitloss.runner.tasks.encoding import Encoder
from bitloss.runner.tasks.plan import PlannedTask, plan_tasks
from bitloss.runner.tasks.trying import with_tried_tests
from bitloss.runner.ways import in_ways, ways_of
from bitloss.sandbox import open_sandbox
from bitloss.spec.chat import parse_markers
from bitloss.spec.model import ModelRef
from bitloss.spec.recipe import require_calibrating
from bitloss.spec.run import RunSpec
from bitloss.spec.serving import parse_serving
from bitloss.types import ModelInfo, Progress

__all__ = ["Plan", "prepare"]

# Bits of a weight that is stored as it was trained.
DENSE_BITS = 16


def prepare(
    spec: RunSpec,
    *,
    cache: Path | None = None,
    expectations: Expectations | None = None,
    recipes_must_fit: bool = True,
    makes_pack: bool = False,
    progress: Progress,
) -> Plan:
    """Open the reference, name the variants, check their recipes, load and cut the corpora.

    Args:
        spec: the run.
        cache: see `Plan`.
        expectations: whose levels decide; None is bitloss's own.
        recipes_must_fit: whether a recipe that does not fit the reference ends the run here; else
            it is a variant that fails.
        makes_pack: see `Plan`.
        progress: where to report.

    Raises:
        UsageError: names or parameters that mean nothing, or a device that is not there.
        BitlossError: whatever is wrong with the reference or a corpus, or a recipe that cannot be
            carried out for the reference.
    """
    refs = name_variants(spec)
    require_installed(spec)
    if not makes_pack:
        refs = _in_ways(refs, spec)
    require_devices(spec.devices)
    _ = spec.memory_bytes  # refuses what is no size, before a model is opened
    require_share(spec)
    check_executor(spec)
    measured = _measured(spec, refs, recipes_must_fit=recipes_must_fit, progress=progress)
    reference, corpora, tasks = measured.reference, measured.corpora, measured.tasks
    quantized = _about_reference(reference.model.identity.info) if refs else ()
    about = (*measured.fitted, *reference.notes, *quantized)
    # Said once: a run has corpora, tasks or both.
    of_tasks = (*reference.notes, *quantized)
    plan = Plan(
        spec=spec,
        reference=reference,
        variants=tuple(refs),
        corpora=tuple(
            replace(c, facts=replace(c.facts, notes=(*c.facts.notes, *about))) for c in corpora
        ),
        tasks=tasks if corpora else tuple(replace(t, notes=(*t.notes, *of_tasks)) for t in tasks),
        encoder=measured.encoder,
        eos_ids=measured.eos_ids,
        cache=cache,
        stopping=_stopping(spec, expectations, acceptance=bool(tasks)),
        variants_must_work=recipes_must_fit,
        laid_out=measured.laid_out,
        makes_pack=makes_pack,
        fitted=measured.fitted,
    )
    require_abilities(plan)
    require_own_name(plan)
    return plan


@dataclass(frozen=True, slots=True)
class _Measured:
    """What a run measures with, before notes are added; see `Plan`."""

    reference: Reference
    corpora: tuple[PlannedCorpus, ...]
    tasks: tuple[PlannedTask, ...]
    laid_out: tuple[PlannedTask, ...]
    encoder: Encoder
    eos_ids: frozenset[int]
    fitted: tuple[str, ...]


def _measured(
    spec: RunSpec, refs: Sequence[ModelRef], *, recipes_must_fit: bool, progress: Progress
) -> _Measured:
    """From weights and data, or from a pack."""
    if reads_pack(spec):
        return _from_pack(spec, progress)
    recipes = [ref.recipe for ref in refs if ref.recipe is not None and ref.run_of is None]
    require_calibrating(spec.calibration, recipes)
    reference = open_reference(spec, progress)
    for recipe in recipes:
        check_recipe(recipe, reference.path, data=spec.data, must_fit=recipes_must_fit)
    tokenizer, identity = reference.tokenizer, reference.model.identity
    context = identity.context
    if context is None:
        raise CheckpointError(
            f"{reference.name}: the config does not specify a context length",
            hint="add `max_position_embeddings` to its config.json",
        )
    protocol, fitted = fit_protocol(spec.protocol, spec.protocol_parameters, context)
    corpora = plan_corpora(spec, protocol, tokenizer, identity.vocabulary)
    encoder = _encoder(reference, context, spec)
    tasks = _tried(plan_tasks(spec, encoder, progress), spec, progress)
    ends = eos_ids(tokenizer, reference.path)
    return _Measured(reference, tuple(corpora), tasks, tasks, encoder, ends, fitted)


def _from_pack(spec: RunSpec, progress: Progress) -> _Measured:
    reference = open_packed(spec, progress)
    pack, context = reference.pack, reference.model.identity.context
    assert pack is not None, "just opened"
    assert context is not None, "no pack is made of a model without one"
    encoder = _encoder(reference, context, spec)
    laid_out = tuple(packed_tasks(pack, spec, encoder))
    names = {choice.name for choice in spec.tasks}
    document = pack.document
    return _Measured(
        reference,
        tuple(packed_corpora(pack, spec)),
        tuple(planned for planned in laid_out if planned.name in names),
        laid_out,
        encoder,
        frozenset(document.reference.eos_ids),
        document.fitted,
    )


def _encoder(reference: Reference, context: int, spec: RunSpec) -> Encoder:
    return Encoder(
        reference.tokenizer,
        context=context,
        chat=spec.chat,
        arguments=spec.template_args,
        markers=parse_markers(spec.thinking_markers),
    )


def _in_ways(refs: Sequence[ModelRef], spec: RunSpec) -> list[ModelRef]:
    """The variants in all ways in which the run runs them."""
    engines = [load_engine(name) for name in spec.engine]
    serving = parse_serving(spec.cache_type, spec.activations)
    if not refs and (serving or len(engines) > 1):
        raise UsageError(
            "expected variants to run in several ways, got only the reference",
            hint="add variants, or leave --cache-type, --activations and further engines out",
        )
    ways = ways_of(engines, serving)
    if spec.sequential and len(ways) > 1:
        raise UsageError(
            "expected ways that are scored on the same windows, got --until or --precision, which "
            "stop each at a window of its own",
            hint="drop --until and --precision, or give every way a run of its own",
        )
    return in_ways(refs, ways)


def _tried(
    tasks: Sequence[PlannedTask], spec: RunSpec, progress: Progress
) -> tuple[PlannedTask, ...]:
    """The tasks, once a sandbox is there and has tried their tests: not hours later."""
    if not any(planned.task.facts.needs_sandbox for planned in tasks):
        return tuple(tasks)
    # Not left to the garbage collector, which would lose an interruption meanwhile.
    with closing(open_sandbox(unsafe=spec.unsafe_exec)) as sandbox:
        return tuple(with_tried_tests(planned, sandbox, progress) for planned in tasks)


def _about_reference(info: ModelInfo) -> tuple[str, ...]:
    """What comparisons with a reference that is no original have to say with every number."""
    if info.bits >= DENSE_BITS:
        return ()
    return (
        f"the reference is itself quantized ({info.format}, {info.bits_per_weight:.3g} bits per "
        "weight): what that cost is not part of these losses",
    )


def _stopping(
    spec: RunSpec, expectations: Expectations | None, *, acceptance: bool
) -> Stopping | None:
    if not spec.sequential:
        return None
    decide = spec.until == "decided"
    table = (expectations or load_expectations()) if decide else None
    return Stopping(table, spec.precision, acceptance)
