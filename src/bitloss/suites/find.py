"""`load_suite`: what a user may write where a suite is expected."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss import registry
from bitloss.datasets import is_corpus_path
from bitloss.errors import UnknownName, UsageError
from bitloss.spec.documents import (
    Document,
    Issue,
    did_you_mean,
    raise_issues,
    read_document,
    validate,
)
from bitloss.tasks.find import has_source

if TYPE_CHECKING:
    from bitloss.spec.suite import Suite, TaskChoice

__all__ = ["list_suites", "load_suite", "suite_contents"]

_FOLDER = Path(__file__).parent
_TASK_FILES = (".yaml", ".yml", ".jsonl", ".jsonl.gz")
_HINT = "run `bitloss list` for the names of corpora, tasks and suites"


def list_suites() -> dict[str, str]:
    """The suites that come with bitloss, and what each is for."""
    return {name: load_suite(name).description for name in _built_in()}


def load_suite(name_or_path: str) -> Suite:
    """A built-in suite, or a YAML file of the user's.

    Args:
        name_or_path: one of `list_suites`, or the path of a ``.yaml`` or ``.yml`` file; paths in
            it are relative to it.

    Returns:
        The suite; the names in it are registered ones, or paths of files that are there.

    Raises:
        UnknownName: neither a suite's name nor a path.
        UsageError: the file cannot be read, or has mistakes, all of them told with their lines.
    """
    built_in = _built_in()
    if name_or_path in built_in:
        return _load(built_in[name_or_path])
    path = Path(name_or_path).expanduser()
    if path.suffix.lower() not in (".yaml", ".yml") and not _has_folder(name_or_path):
        raise UnknownName("suite", name_or_path, built_in)
    if not path.exists():
        raise UsageError(f"no suite file at `{name_or_path}`", hint="check the path")
    return _load(path)


def suite_contents(suite: Suite) -> tuple[str, str]:
    """Corpora and tasks of a suite in words, with what they are limited to."""
    corpora = [
        entry.name + (f" ({entry.limit:,} windows)" if entry.limit else "")
        for entry in suite.corpora
    ]
    tasks = []
    for entry in suite.tasks:
        words = [
            f"{value:,} {word}"
            for value, word in (
                (entry.limit, "items"),
                (entry.shots, "shots"),
                (entry.samples, "samples"),
            )
            if value is not None
        ]
        tasks.append(entry.name + (f" ({', '.join(words)})" if words else ""))
    return ", ".join(corpora), ", ".join(tasks)


def _built_in() -> dict[str, Path]:
    return {path.stem: path for path in sorted(_FOLDER.glob("*.yaml"))}


def _load(path: Path) -> Suite:
    from bitloss.spec.suite import Suite

    document, mistakes = read_document(path, "suite", rows=())
    suite, invalid = validate(Suite, document)
    mistakes += invalid
    mistakes += _check_names(document, "corpora", "corpus", registry.CORPORA)
    mistakes += _check_names(document, "tasks", "task", registry.TASKS)
    if not document.value.get("corpora") and not document.value.get("tasks"):
        mistakes.append(document.mistake("expected `corpora`, `tasks` or both, got none"))
    raise_issues(path, "suite", mistakes, hint=_HINT)
    assert suite is not None
    return suite.model_copy(
        update={
            "corpora": _resolved(suite.corpora, registry.CORPORA, path.parent),
            "tasks": tuple(
                _with_folders(entry, path.parent)
                for entry in _resolved(suite.tasks, registry.TASKS, path.parent)
            ),
        }
    )


def _resolved(entries: tuple[Any, ...], known: Mapping[str, str], folder: Path) -> tuple[Any, ...]:
    """Entries whose names are registered, or paths from the working directory."""
    return tuple(
        entry
        if entry.name in known or has_source(entry.name)
        else entry.model_copy(update={"name": str(Path(folder, Path(entry.name).expanduser()))})
        for entry in entries
    )


def _with_folders(entry: TaskChoice, folder: Path) -> TaskChoice:
    """The entry with folders of task files from the working directory."""
    folders = tuple(str(Path(folder, Path(one).expanduser())) for one in entry.include_path)
    return entry.model_copy(update={"include_path": folders})


def _has_folder(text: str) -> bool:
    # Not `Path.parts`: it drops the `./` by which a path is told from a name.
    return "/" in text or os.sep in text


def _check_names(
    document: Document, key: str, kind: str, known: Mapping[str, str]
) -> Iterator[Issue]:
    entries = document.value.get(key)
    seen: set[str] = set()
    for number, entry in enumerate(entries if isinstance(entries, list) else []):
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(name, str):  # told by the schema
            continue
        if name in seen:
            yield document.mistake(f"{kind} `{name}` is named twice", key, number)
        seen.add(name)
        if wrong := _wrong_name(document.path.parent, name, kind, known):
            yield document.mistake(wrong, key, number)


def _wrong_name(folder: Path, name: str, kind: str, known: Mapping[str, str]) -> str:
    if name in known or (kind == "task" and has_source(name)):
        return ""
    path = Path(folder, Path(name).expanduser())
    if kind == "corpus" and is_corpus_path(str(path)):
        return ""
    if path.is_file():
        if kind == "task" and not name.lower().endswith(_TASK_FILES):
            return f"expected a task file (.yaml or .jsonl), got `{name}`"
        return ""
    if _has_folder(name) or Path(name).suffix:
        return f"no file `{path}`"
    return f"unknown {kind} `{name}`; " + (
        did_you_mean(name, known) or f"known: {', '.join(sorted(known))}"
    )
