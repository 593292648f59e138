"""What a plan takes from a pack in place of weights and data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from bitloss.engines.base import Engine
from bitloss.engines.devices import describe
from bitloss.engines.evaluate import load_engine
from bitloss.engines.values import Model
from bitloss.errors import Incomparable
from bitloss.formats.location.locate import pack_folder
from bitloss.results.pack import PackDocument, PackedTask
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.environment import describe_packages
from bitloss.runner.models import Reference
from bitloss.runner.packs.model import open_model, open_tokenizer
from bitloss.runner.packs.opened import Pack, open_pack
from bitloss.runner.packs.questions import read_questions, read_windows
from bitloss.runner.tasks.chat import as_asked
from bitloss.runner.tasks.encoding import Encoder
from bitloss.runner.tasks.plan import PlannedTask, sampled
from bitloss.spec.run import RunSpec
from bitloss.tasks.base import Task
from bitloss.tasks.custom import restore_task
from bitloss.tasks.find import resolve_task
from bitloss.types import Progress

__all__ = ["open_packed", "packed_corpora", "packed_tasks"]


def open_packed(spec: RunSpec, progress: Progress) -> Reference:
    """The reference of a run beside a pack.

    Raises:
        Incomparable: another version of an engine computed its hidden states.
        StorageError: the pack is damaged; see `open_pack`.
    """
    path = pack_folder(spec.reference, progress=progress)
    pack = open_pack(path, progress)
    model = open_model(pack, spec.reference)
    _require_same_engine(pack, model)
    return Reference(model, path, open_tokenizer(pack), pack)


def packed_corpora(pack: Pack, spec: RunSpec) -> list[PlannedCorpus]:
    """The chosen corpora, with what a reader should know of where the reference was scored."""
    notes = _elsewhere(pack.document, spec)
    return [
        PlannedCorpus(
            replace(one.facts, notes=(*one.facts.notes, *notes)),
            read_windows(pack.root / one.windows),
        )
        for name, one in pack.document.corpora.items()
        if name in spec.corpora
    ]


def packed_tasks(pack: Pack, spec: RunSpec, encoder: Encoder) -> list[PlannedTask]:
    """All tasks of the pack, in the order in which their windows stand.

    Raises:
        Incomparable: a task of this version of bitloss is graded in another way.
    """
    tasks = pack.document.tasks
    if tasks is None:
        return []
    notes = () if spec.corpora else _elsewhere(pack.document, spec)  # said once
    return [_planned(pack.root, one, spec, encoder, notes) for one in tasks.by_name.values()]


def _planned(
    root: Path, one: PackedTask, spec: RunSpec, encoder: Encoder, notes: Sequence[str]
) -> PlannedTask:
    task = sampled(as_asked(_task(one), spec, encoder), one.choice, spec)
    facts = replace(task.facts, n_items=one.n_items, chance=one.chance, license=one.license)
    planned = PlannedTask(
        task=replace(task, facts=facts),
        choice=one.choice,
        questions=read_questions(root / one.questions),
        n_total=one.n_total,
        digest=one.digest,
        source=one.source,
        notes=(*one.notes, *notes),
        seed=one.seed,
        chat=one.chat,
    )
    if planned.identity != one.identity:
        raise Incomparable(
            f"task `{planned.name}`: expected the task that the pack was made with, got version "
            f"{facts.version} of this bitloss, which prompts or grades differently",
            hint="choose other tasks with --tasks, or make the pack again",
        )
    return planned


def _task(one: PackedTask) -> Task:
    if one.definition is None:
        return resolve_task(one.choice.name)
    return restore_task(one.definition, one.source)


def _require_same_engine(pack: Pack, model: Model) -> None:
    """Another version of the engine may compute other states: a variant's loss would be in part
    the difference of the versions.
    """
    recorded = dict(model.recorded or {})
    engine: Engine = load_engine(str(recorded.get("engine", "")))
    if recorded.get("version") != engine.version:
        raise Incomparable(
            f"{pack.root}: expected hidden states of engine {engine.version}, got those of "
            f"{recorded.get('version')} (bitloss {pack.document.bitloss})",
            hint="make the pack again, or use the bitloss that made it",
        )


def _elsewhere(document: PackDocument, spec: RunSpec) -> tuple[str, ...]:
    """What differs between where the reference was scored and where the variants are."""
    import torch

    here = {
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "device": describe(spec.main_device),
        **describe_packages(),
    }
    there = {"cpu": document.cpu, "device": document.device, **document.versions}
    parts = [
        f"{name} {there[name]} there, {here[name]} here"
        for name in ("device", "cpu", "torch", "transformers")
        if there.get(name) != here.get(name)
    ]
    if not parts:
        return ()
    return (
        f"the reference was scored elsewhere ({'; '.join(parts)}): differences in "
        "rounding are part of these losses, not of the noise floor",
    )
