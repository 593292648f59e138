"""A pack made: the reference is scored as in any run, and what that leaves is put together.

    OUT.unfinished    the run directory, in which a stopped pack is resumed
    OUT               the pack, once every file of it is there

The document is written last, and then the folder is renamed: what stands under the pack's name is
complete whenever the process is killed.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bitloss import registry
from bitloss._version import __version__
from bitloss.contents.kinds import PACK_FILE
from bitloss.datasets.corpora import license_of
from bitloss.engines.base import Engine
from bitloss.errors import StorageError, UnsupportedModel, UsageError
from bitloss.files import make_folder, replacing, storage_errors, write_text
from bitloss.formats.base import implied_keys
from bitloss.results.pack import (
    Excerpt,
    PackChoices,
    PackDocument,
    PackedCorpus,
    PackedFile,
    PackedReference,
    PackedTask,
    PackedTasks,
    StateType,
)
from bitloss.runner.corpus import CorpusRun
from bitloss.runner.environment import describe_packages
from bitloss.runner.execution import list_jobs, sandbox_of
from bitloss.runner.executor import run_locally
from bitloss.runner.packs.model import CONFIG, HEAD, TOKENIZER, find_license, write_model
from bitloss.runner.packs.opened import open_pack, record_file, refuse_inside, state_file
from bitloss.runner.packs.questions import write_questions, write_windows
from bitloss.runner.packs.rounding_floor import (
    added_to_tasks,
    added_to_text,
    raised,
    write_rounded,
)
from bitloss.runner.plan import Plan
from bitloss.runner.run import Run
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.grading import Grader
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.run import TASKS, TasksRun
from bitloss.spec.fingerprint import canonical_json
from bitloss.tasks.custom import store_definition
from bitloss.types import Progress

__all__ = ["default_engines", "make_pack", "require_free", "unfinished_folder"]

_ELSEWHERE = "give another directory with --out"
_OWN_FOLDERS = ("records", "states", "states-bf16", "states-int8", "windows", "tasks", TOKENIZER)


def default_engines() -> tuple[str, ...]:
    """The engines that are installed and need no address: a noise floor of each is measured."""
    names = []
    for name in registry.ENGINES:
        engine: Engine = registry.load("engine", registry.ENGINES, name)
        installed = set(describe_packages([engine])).issuperset(engine.packages)
        if engine.at is None and engine.logits is not None and (name == "dense" or installed):
            names.append(name)
    return ("dense", *(name for name in names if name != "dense"))


def unfinished_folder(out: Path) -> Path:
    """Where a pack is made before it is complete."""
    return out.with_name(f"{out.name}.unfinished")


def require_free(out: Path) -> None:
    """Refuse a place that holds something else than a pack, or that is in one.

    Raises:
        UsageError: see above.
    """
    refuse_inside(out.parent, "a place for the pack")
    if not out.exists() or (out / PACK_FILE).is_file():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise UsageError(
            f"expected a new directory for the pack, got {out}, which holds something else",
            hint=_ELSEWHERE,
        )


def make_pack(
    plan: Plan, out: Path, *, states: StateType, force: bool, progress: Progress
) -> PackDocument:
    """Score the reference, measure the noise floors, and put the pack together.

    A pack that is there already and is the same is read, and nothing is scored.

    Args:
        plan: prepared with ``makes_pack``.
        out: the pack's directory.
        states: how hidden states are stored.
        force: replace another pack in `out`.
        progress: where to report.

    Raises:
        UsageError: `out` holds another pack, or something else.
        UnsupportedModel: the reference has Python code of its own.
        BitlossError: the reference cannot be scored, or the directory not be written.
    """
    require_free(out)
    if plan.dtype == "bf16" and states != "fp32":
        raise UsageError(
            f"expected hidden states in float32 to store as {states}, got --dtype bf16",
            hint="drop --states or --dtype",
        )
    if plan.reference.model.code is not None:
        raise UnsupportedModel(
            f"{plan.reference.name}: expected a model of a class that transformers has, got one "
            "with Python code of its own, which nobody should run from a pack",
            hint="compare with the model itself",
        )
    if (out / PACK_FILE).is_file() and (there := _same(plan, out, states, force, progress)):
        return there
    folder = unfinished_folder(out)
    make_folder(folder, elsewhere=_ELSEWHERE)
    store = RunStore(folder)
    with store.locked():
        document = _score(plan, store, states, progress)
        _clear(folder, document)
        _put_in_place(folder, out)
    return document


def _same(
    plan: Plan, out: Path, states: StateType, force: bool, progress: Progress
) -> PackDocument | None:
    """The pack that is there, if making it again would give the same."""
    there = open_pack(out, progress).document
    wanted = (_choices(plan), plan.reference.model.identity.info.digest, states, __version__)
    reference = there.reference
    found = (there.choices, reference.info.digest, reference.states, there.bitloss)
    if found == wanted:
        return there
    if force:
        return None
    raise UsageError(
        f"{out} holds another pack ({reference.name}, digest {there.digest[:16]}...)",
        hint=f"{_ELSEWHERE}, or --force to replace it",
    )


@dataclass(frozen=True, slots=True)
class _Making:
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


def _score(plan: Plan, store: RunStore, states: StateType, progress: Progress) -> PackDocument:
    run = Run(plan, store, progress)
    making = _Making(plan, run, store.root, states)
    with Grader(sandbox_of(plan)) as grader:
        run_locally(list_jobs(run, grader), end=grader.stop)
        corpora = {planned.facts.name: _corpus(making, index) for index, planned in
                   enumerate(plan.corpora)}  # fmt: skip
        tasks = _tasks(making, grader) if plan.tasks else None
    reference = _reference(making)
    document = PackDocument(
        bitloss=__version__,
        reference=reference,
        choices=_choices(plan),
        fitted=plan.fitted,
        corpora=corpora,
        tasks=tasks,
        excerpts=_excerpts(plan),
        versions=describe_packages(plan.engines),
        cpu=_cpu(),
        device=plan.spec.device.partition(":")[0],
        files=_files(making, corpora, tasks, progress),
    ).signed()
    write_text(store.root / PACK_FILE, document.to_json(), elsewhere=_ELSEWHERE)
    return document


# Parts --------------------------------------------------------------------------------------------


def _reference(making: _Making) -> PackedReference:
    plan, run = making.plan, making.run
    reference = plan.reference
    tokens = sum(c.tokens for c in plan.corpora) + sum(t.tokens for t in plan.tasks)
    candidate = run.reference_candidate(run.arithmetic(tokens))
    engine = plan.reference_engine
    identity = engine.identity(candidate, batch_tokens=plan.spec.batch_tokens)
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


def _corpus(making: _Making, index: int) -> PackedCorpus:
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


def _tasks(making: _Making, grader: Grader) -> PackedTasks:
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


def _choices(plan: Plan) -> PackChoices:
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
        batch_tokens=spec.batch_tokens,
        seed=spec.seed,
    )


def _excerpts(plan: Plan) -> tuple[Excerpt, ...]:
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


# Files --------------------------------------------------------------------------------------------


def _files(
    making: _Making,
    corpora: dict[str, PackedCorpus],
    tasks: PackedTasks | None,
    progress: Progress,
) -> dict[str, PackedFile]:
    """Every file of the pack, hashed."""
    plan, run = making.plan, making.run
    states = [name for corpus in corpora.values() for name in corpus.states]
    records = [name for corpus in corpora.values() for name in corpus.records]
    names = [corpus.windows for corpus in corpora.values()]
    if tasks is not None:
        states += tasks.states
        records += tasks.records
        for name, task in tasks.by_name.items():
            names.append(task.questions)
            records += task.texts
            entry = run.tasks[name]
            records += (entry.questions, entry.items[plan.reference.name])
        records += making.grades
    names += [state_file(name, making.states) for name in dict.fromkeys(states)]
    names += [record_file(name) for name in dict.fromkeys(records)]
    names += [CONFIG, HEAD]
    tokenizer = making.folder / TOKENIZER
    names += [f"{TOKENIZER}/{file.name}" for file in sorted(tokenizer.iterdir())]
    found = {}
    with progress.task("hash the pack", len(names), "files") as advance:
        for name in names:
            path = making.folder / name
            if not path.is_file():
                raise StorageError(
                    f"{path}: a file of the pack is missing",
                    hint=f"delete {making.folder} and rerun the same command",
                )
            found[name] = _hashed(path)
            advance(1)
    return found


def _hashed(path: Path) -> PackedFile:
    with storage_errors(path, elsewhere=_ELSEWHERE), path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return PackedFile(sha256=digest, bytes=path.stat().st_size)


def _written(path: Path, write: Any) -> None:
    make_folder(path.parent, elsewhere=_ELSEWHERE)
    with replacing(path, elsewhere=_ELSEWHERE) as temporary:
        write(temporary)


def _clear(folder: Path, document: PackDocument) -> None:
    """Remove what is no part of the pack: noise floors' records, another attempt's states."""
    kept = {PACK_FILE, *document.files}
    with storage_errors(folder, elsewhere=_ELSEWHERE):
        for path in [path for name in _OWN_FOLDERS for path in (folder / name).rglob("*")]:
            if path.is_file() and path.relative_to(folder).as_posix() not in kept:
                path.unlink()
        (folder / "unfinished.json").unlink(missing_ok=True)
        for name in _OWN_FOLDERS:
            if (folder / name).is_dir() and not any((folder / name).iterdir()):
                (folder / name).rmdir()


def _put_in_place(folder: Path, out: Path) -> None:
    """Rename the finished folder; a pack that it replaces goes afterwards."""
    with storage_errors(out, elsewhere=_ELSEWHERE):
        (folder / ".lock").unlink(missing_ok=True)  # held until the folder has its name
        old = out.with_name(f"{out.name}.replaced")
        shutil.rmtree(old, ignore_errors=True)
        if out.is_dir():
            out.rename(old)
        folder.rename(out)
        shutil.rmtree(old, ignore_errors=True)


def _cpu() -> str:
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def _bare(name: str) -> str:
    """A name without the folders of this machine: a pack is published."""
    path = Path(name).expanduser()
    local = name.startswith(("/", ".", "~")) or path.exists()
    return path.absolute().name if local else name
