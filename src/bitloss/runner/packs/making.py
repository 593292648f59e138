"""A pack made: the reference is scored as in any run, and what that leaves is put together.

    OUT.unfinished    the run directory, in which a stopped pack is resumed
    OUT               the pack, once every file of it is there

The document is written last, and then the folder is renamed: what stands under the pack's name is
complete whenever the process is killed.
"""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from bitloss import registry
from bitloss._version import __version__
from bitloss.contents.kinds import PACK_FILE
from bitloss.engines.base import Engine
from bitloss.engines.devices import describe
from bitloss.errors import StorageError, UnsupportedModel, UsageError
from bitloss.files import make_folder, storage_errors, write_text
from bitloss.results.pack import (
    PackDocument,
    PackedCorpus,
    PackedFile,
    PackedTasks,
    StateType,
)
from bitloss.runner.environment import describe_packages
from bitloss.runner.execution import list_jobs, sandbox_of
from bitloss.runner.executors.local import run_locally
from bitloss.runner.packs.model import CONFIG, HEAD, TOKENIZER
from bitloss.runner.packs.opened import open_pack, record_file, refuse_inside, state_file
from bitloss.runner.packs.parts import (
    Making,
    choices_of,
    excerpts_of,
    packed_corpus,
    packed_reference,
    packed_tasks,
)
from bitloss.runner.plan import Plan
from bitloss.runner.remaining import counted
from bitloss.runner.run import Run
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.grading import Grader
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
            "with Python code of its own, which is not run from a pack",
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
    wanted = (choices_of(plan), plan.reference.model.identity.info.digest, states, __version__)
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


def _score(plan: Plan, store: RunStore, states: StateType, progress: Progress) -> PackDocument:
    run = Run(plan, store, progress)
    making = Making(plan, run, store.root, states)
    with sandbox_of(plan) as sandbox, Grader(sandbox) as grader:
        with counted(list_jobs(run, grader), run.progress) as jobs:
            run_locally(jobs, end=grader.stop)
        corpora = {planned.facts.name: packed_corpus(making, index) for index, planned in
                   enumerate(plan.corpora)}  # fmt: skip
        tasks = packed_tasks(making, grader) if plan.tasks else None
    reference = packed_reference(making)
    document = PackDocument(
        bitloss=__version__,
        reference=reference,
        choices=choices_of(plan),
        fitted=plan.fitted,
        corpora=corpora,
        tasks=tasks,
        excerpts=excerpts_of(plan),
        versions=describe_packages(plan.engines),
        cpu=_cpu(),
        device=describe(plan.spec.main_device),
        files=_files(making, corpora, tasks, progress),
    ).signed()
    write_text(store.root / PACK_FILE, document.to_json(), elsewhere=_ELSEWHERE)
    return document


# Files --------------------------------------------------------------------------------------------


def _files(
    making: Making,
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
