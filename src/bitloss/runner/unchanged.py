"""A finished run that would come out as it is: it is shown again, and nothing is opened.

``RUN/.finished`` holds a fingerprint of everything that a run's result depends on: what was asked
for, the versions of the packages, the machine, and every file that is read. A file is known by its
size and the times at which it was changed, as git knows one, not by its content. Where anything
differs, or cannot be known so, the run is carried out as any other: it skips what the store holds.

Cannot be known: a model or text of a hub, which may have changed there, and a task file, which
names others.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

from bitloss import environment, registry
from bitloss.contents.kinds import is_pack
from bitloss.datasets.corpora import corpus_path
from bitloss.errors import BitlossError, StorageError
from bitloss.files import PACKAGE, file_marks, write_text
from bitloss.results.manifest import MANIFEST_FILE, UNFINISHED_FILE, Manifest
from bitloss.runner.store import RunStore
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.model import parse_model
from bitloss.spec.run import RunSpec

__all__ = ["FINISHED_FILE", "forget", "is_unchanged", "read_inputs", "remember"]

FINISHED_FILE = ".finished"

_BUNDLED = "bitloss/"  # what the sources of bundled texts begin with
# Of a folder with more files it would take as long to ask for their times as is saved.
_MOST_FILES = 20_000
_OWN_FILES = (MANIFEST_FILE, UNFINISHED_FILE, "comparison.json")


def read_inputs(spec: RunSpec, asked: Any) -> str | None:
    """A fingerprint of what a run reads, apart from its own directory.

    Args:
        spec: the run.
        asked: whatever else decides the result, as JSON has it.

    Returns:
        None if it cannot be known whether something changed.
    """
    try:
        places = list(_places(spec))
    except (BitlossError, LookupError, OSError):
        return None  # carrying the run out will say what is wrong
    return _fingerprint(
        places,
        [
            spec.to_json(),
            asked,
            list(platform.uname()),
            list(environment.thread_settings()),
        ],
    )


def is_unchanged(store: RunStore, inputs: str | None) -> bool:
    """Whether the directory holds the result of a finished run that read the same.

    Args:
        store: the run directory.
        inputs: from `read_inputs`.
    """
    if inputs is None:
        return False
    try:
        known = (store.root / FINISHED_FILE).read_bytes()
    except OSError:
        return False
    state = _state(store, inputs)
    return state is not None and known == state.encode()


def remember(store: RunStore, manifest: Manifest, before: str | None, after: str | None) -> None:
    """Note that the run is finished, with its result written.

    Args:
        store: the run directory.
        manifest: of the run.
        before: from `read_inputs`, before anything was read.
        after: the same afterwards: what changed meanwhile may have been read or not.

    Raises:
        StorageError: the directory cannot be written.
    """
    failed = any(variant.error is not None for variant in manifest.variants)
    state = None
    if before is not None and before == after and not failed and _all_local(manifest):
        state = _state(store, before)
    if state is None:
        forget(store)
    else:
        write_text(store.root / FINISHED_FILE, state)


def forget(store: RunStore) -> None:
    """Carry the run out the next time."""
    (store.root / FINISHED_FILE).unlink(missing_ok=True)


# What a run reads ---------------------------------------------------------------------------------


def _places(spec: RunSpec) -> Iterator[Path]:
    """Files and folders with all that is read.

    Raises:
        LookupError: something is not on this machine.
    """
    if any("=" in engine for engine in spec.engine):
        raise LookupError("what is behind a server's address is not on this machine")
    yield PACKAGE
    beside_pack = is_pack(Path(spec.reference).expanduser())
    for name in filter(None, (spec.reference, spec.tokenizer, *spec.variants)):
        ref = parse_model(name, allow_recipe=True, calibration=spec.calibration, seed=spec.seed)
        if ref.kind == "hub":
            raise LookupError(name)
        if ref.path is not None:
            yield ref.path
        if ref.recipe is not None and ref.recipe.calibration is not None:
            yield from _text(ref.recipe.calibration.corpus)
    if beside_pack:  # which has all that is read of texts and tasks
        return
    for name in spec.corpora:
        yield from _text(name)
    for choice in spec.tasks:
        if choice.name not in registry.TASKS:
            raise LookupError(choice.name)
    data = environment.data_directory() if spec.data is None else spec.data.expanduser()
    if data is not None:
        yield data


def _text(name: str) -> Iterator[Path]:
    """The file or folder of a text that is not a registered one."""
    if name not in registry.CORPORA:
        yield corpus_path(name)


def _all_local(manifest: Manifest) -> bool:
    """Whether every text and task was read from this machine."""
    if manifest.reference.pack is not None:
        return True
    sources = [entry.facts.source for entry in manifest.corpora.values()]
    sources += [entry.source for entry in manifest.tasks.values()]
    return all(map(_is_local, sources))


def _is_local(source: str) -> bool:
    """Whether a source is bundled, or a file or folder of this machine, or several with commas
    between them.
    """
    if source.startswith(_BUNDLED) or Path(source).exists():
        return True
    files = source.split(", ")
    return len(files) > 1 and all(Path(file).exists() for file in files)


# What is known of it ------------------------------------------------------------------------------


def _state(store: RunStore, inputs: str) -> str | None:
    """A fingerprint of the inputs, the packages that the manifest names, and the run directory's
    own files; None if it has too many, or none that can be read.
    """
    root = store.root
    try:
        versions = store.read_manifest().environment.versions
    except StorageError:
        return None
    files = (root / "records", *(root / name for name in _OWN_FILES))
    return _fingerprint(files, [inputs, {name: _version(name) for name in versions}])


def _fingerprint(places: Iterable[Path], others: list[Any]) -> str | None:
    """Of all files below some places, and of other values; None if there are too many files."""
    files = list(islice(file_marks(places), _MOST_FILES + 1))
    return None if len(files) > _MOST_FILES else fingerprint([files, others])


def _version(package: str) -> str:
    if package == "python":
        return platform.python_version()
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
