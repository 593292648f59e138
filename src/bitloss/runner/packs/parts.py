"""The parts of a pack's document, put together from a run that was carried out."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bitloss import registry
from bitloss.datasets.corpora import license_of
from bitloss.files import make_folder, replacing
from bitloss.formats.base import implied_keys
from bitloss.results.pack import (
    Excerpt,
    PackChoices,
    PackedCorpus,
    PackedReference,
    PackedTask,
    PackedTasks,
    StateType,
)
from bitloss.runner.corpus import CorpusRun
from bitloss.runner.packs.model import find_license, write_model
from bitloss.runner.packs.questions import write_questions, write_windows
from bitloss.runner.packs.rounding_floor import (
    added_to_tasks,
    added_to_text,
    raised,
    write_rounded,
)
from bitloss.runner.plan import Plan
from bitloss.runner.run import Run
from bitloss.runner.tasks.floors import TASKS
from bitloss.runner.tasks.grading import Grader
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.run import TasksRun
from bitloss.spec.fingerprint import canonical_json
from bitloss.tasks.custom import store_definition

__all__ = [
    "Making",
    "choices_of",
    "excerpts_of",
    "packed_corpus",
    "packed_reference",
    "packed_tasks",
]

_ELSEWHERE = "give another directory with --out"


@dataclass(frozen=True, slots=True)
class Making:
    """A pack's parts, gathered in its folder.

    Attributes:
        plan: of the pack.
        run: carried out.
        folder: where it is made.
        states: how hidden states are stored.
        grades: fingerprints of the grades of what the reference wrote.
    """

    plan: Plan
    run: Run
    folder: Path
    states: StateType
    grades: list[str] = field(default_factory=list)


def packed_reference(making: Making) -> PackedReference:
    """The model, once its head and tokenizer are written to the pack's folder."""
    plan, run = making.plan, making.run
    reference = plan.reference
    tokens = sum(c.tokens for c in plan.corpora) + sum(t.tokens for t in plan.tasks)
    candidate = run.reference_candidate(run.arithmetic(tokens))
    engine = plan.reference_engine
    identity = engine.identity(candidate, batch_tokens=plan.spec.tokens_in_forward)
    model = reference.model
    assert model.weights is not None, "a pack is made of weights"
    implied = implied_keys(model.weights)
    name = _bare(reference.name)
    return PackedReference(
        name=name,
        info=replace(model.identity.info, name=name),
        implied=None if implied is None else tuple(sorted(implied)),
        license=find_license(reference.path),
        identity=canonical_json(identity),
        arithmetic=candidate.arithmetic,
        states=making.states,
        tokenizer=reference.tokenizer.digest,
        eos_ids=tuple(sorted(plan.eos_ids)),
        head=write_model(making.folder, candidate),
    )


def packed_corpus(making: Making, index: int) -> PackedCorpus:
    """A corpus of the plan, once its windows are written to the pack's folder."""
    plan, run = making.plan, making.run
    planned = plan.corpora[index]
    facts = planned.facts
    entry = run.corpora[facts.name]
    file = f"windows/{index + 1}.parquet"
    _written(making.folder / file, lambda path: write_windows(path, planned.windows))
    # What every run says of the reference and its tokenizer is said again there.
    said = len(plan.fitted) + len(plan.reference.notes)
    floors = dict(entry.floors)
    if entry.noise_floor is not None:
        floors = {plan.engine.name: entry.noise_floor, **floors}
    scorer, pieces = CorpusRun(run, planned).kept()
    states = tuple(scorer.kept_states(pieces))
    added = added_to_text(scorer, pieces, run.store, making.states)
    write_rounded(run.store, states, making.states)
    return PackedCorpus(
        facts=replace(
            facts, source=_bare(facts.source), notes=facts.notes[: len(facts.notes) - said]
        ),
        windows=file,
        states=states,
        records=entry.reference,
        floors={name: raised(floor, added) for name, floor in floors.items()},
        no_floor=run.no_floor.get(facts.name, {}),
        rounding=added,
    )


def packed_tasks(making: Making, grader: Grader) -> PackedTasks:
    """All tasks, once their items are written to the pack's folder."""
    plan, run = making.plan, making.run
    kept = TasksRun(run, grader).kept()
    making.grades.extend(kept.grades)
    states = tuple(kept.scorer.kept_states(kept.pieces))
    added = added_to_tasks(
        kept.scorer, kept.pieces, run.store, making.states, kept.layout, plan.laid_out
    )
    write_rounded(run.store, states, making.states)
    by_name = {}
    for index, planned in enumerate(plan.laid_out):
        file = f"tasks/{index + 1}.parquet"
        _written(making.folder / file, lambda path, task=planned: write_questions(path, task))
        by_name[planned.name] = _task(planned, file, kept.texts.get(planned.name, ()))
    return PackedTasks(
        by_name=by_name,
        states=states,
        records=kept.records,
        floors={
            engine: {
                name: raised(floor, *added.get(name, (0.0, 0.0))) for name, floor in floors.items()
            }
            for engine, floors in run.task_floors.items()
        },
        no_floor=run.no_floor.get(TASKS, {}),
        rounding={name: divergence for name, (divergence, _) in added.items()},
    )


def _task(planned: PlannedTask, file: str, texts: tuple[str, ...]) -> PackedTask:
    facts = planned.task.facts
    written = planned.choice.name
    registered = written in registry.TASKS
    return PackedTask(
        choice=planned.choice if registered else planned.choice.model_copy(
            update={"name": planned.name}
        ),
        definition=None if registered else store_definition(Path(written).expanduser()),
        questions=file,
        n_items=facts.n_items,
        chance=facts.chance,
        license=facts.license,
        n_total=planned.n_total,
        digest=planned.digest,
        source=_bare(planned.source),
        notes=planned.notes,
        seed=planned.seed,
        chat=planned.chat,
        identity=planned.identity,
        texts=texts,
    )  # fmt: skip


def choices_of(plan: Plan) -> PackChoices:
    """The options that decided what is measured."""
    spec = plan.spec
    names = dict(zip(spec.corpora, (c.facts.name for c in plan.corpora), strict=True))
    tasks = zip(spec.tasks, plan.laid_out, strict=True)
    return PackChoices(
        suite=None if spec.suite is None else _bare(spec.suite),
        corpora=tuple(names.values()),
        corpus_limits={names[name]: n for name, n in spec.corpus_limits.items() if name in names},
        tasks=tuple(
            one if one.name in registry.TASKS else one.model_copy(update={"name": planned.name})
            for one, planned in tasks
        ),
        protocol=spec.protocol,
        max_length=spec.max_length,
        stride=spec.stride,
        limit=spec.limit,
        chat=spec.chat,
        template_args=spec.template_args,
        thinking_budget=spec.thinking_budget,
        thinking_markers=spec.thinking_markers,
        samples=spec.samples,
        dtype=spec.dtype,
        batch_tokens=spec.tokens_in_forward,
        seed=spec.seed,
    )


def excerpts_of(plan: Plan) -> tuple[Excerpt, ...]:
    """What text a pack has, and under which license."""
    found = [
        Excerpt(
            data=planned.facts.name,
            license=license_of(written),
            text=f"{sum(len(w.ids) for w in planned.windows):,} of {planned.facts.n_tokens:,} "
            "tokens, as ids, windows that overlap counted each",
        )
        for written, planned in zip(plan.spec.corpora, plan.corpora, strict=True)
    ]
    found += [
        Excerpt(
            data=planned.name,
            license=planned.task.facts.license,
            text=f"{len(planned.questions):,} of {planned.n_total:,} items with their prompts and "
            "right answers"
            + (", and what the reference wrote" * (planned.task.facts.decoding is not None)),
        )
        for planned in plan.tasks
    ]
    return tuple(found)


def _written(path: Path, write: Any) -> None:
    make_folder(path.parent, elsewhere=_ELSEWHERE)
    with replacing(path, elsewhere=_ELSEWHERE) as temporary:
        write(temporary)


def _bare(name: str) -> str:
    """A name without the folders of this machine: a pack is published."""
    path = Path(name).expanduser()
    local = name.startswith(("/", ".", "~")) or path.exists()
    return path.absolute().name if local else name
