"""A run's report in the formats asked for, made from the run directory alone.

Where each goes in a folder, which is the run directory if no other is given:

html       ``report.html``
json       ``report.json``, as ``comparison.json``, which itself is never touched unless named
markdown   ``markdown/report.md`` and its pictures
csv        ``csv/tokens.csv`` and ``csv/items.csv``
lm-eval    ``lm-eval/<model>.json``, one for each model
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from bitloss.analysis.collect import collect
from bitloss.errors import DataError, StorageError, UnknownName, UsageError
from bitloss.expectations import load_expectations
from bitloss.files import make_folder, write_text
from bitloss.report.unfinished import unfinished
from bitloss.results import Comparison
from bitloss.runner import RunStore

if TYPE_CHECKING:
    from bitloss.report.details import Details

__all__ = ["FORMATS", "Written", "write_page_of", "write_report"]

_Content = TypeVar("_Content")

_PAGE = "report.html"
_MANIFESTS = ("manifest.json", "unfinished.json")
_MANIFEST_PARTS = frozenset({"reference", "variants", "corpora", "tasks", "environment"})


@dataclass(frozen=True, slots=True)
class Written:
    """What came of it.

    Attributes:
        paths: the files, in the order of the formats.
        missing: what the run does not have, in sentences.
    """

    paths: tuple[Path, ...]
    missing: tuple[str, ...]


def write_report(
    run: Path,
    *,
    out: Path | None = None,
    formats: Sequence[str] = ("html",),
    expectations: Path | None = None,
) -> Written:
    """Analyse a run's records anew and write what they come to.

    Args:
        run: its directory; of a run that was stopped, what it has is written.
        out: a folder; for a single ``html`` or ``json`` a file, if it has an ending.
        formats: names in `FORMATS`.
        expectations: a file that verdicts are made with.

    Raises:
        UnknownName: no such format.
        UsageError: `out` is a file where a folder is needed, or the expectations have mistakes.
        MissingDependency: a format needs a package that is not installed.
        DataError: no model has scores that lm-eval has a place for.
        StorageError: there is no run with figures, a record is damaged, or `out` cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownName("format", name, FORMATS)
    chosen = tuple(dict.fromkeys(formats))
    places = _places(run if out is None else out, chosen, given=out is not None)
    source = _Run(run, expectations)
    paths: list[Path] = []
    missing = list(unfinished(source.comparison))
    missing += [
        f"{v.name} failed: {v.error.message}" for v in source.comparison.variants if v.error
    ]
    for name in chosen:
        written = FORMATS[name](source, places[name])
        paths.extend(written.paths)
        missing.extend(line for line in written.missing if line not in missing)
    return Written(tuple(paths), tuple(missing))


def write_page_of(comparison: Comparison, run: Path) -> Path:
    """Write the page of a run whose result is at hand beside it.

    Raises:
        MissingDependency: a package that draws is not installed.
        StorageError: a record is damaged, or the page cannot be written.
    """
    from bitloss.report.details import read_details
    from bitloss.report.page import write_page

    store = RunStore(run)
    return write_page(comparison, read_details(store, store.read_manifest()), run / _PAGE)


# Where ----------------------------------------------------------------------------------------

_SINGLE: Mapping[str, str] = MappingProxyType({"html": _PAGE, "json": "report.json"})


def _places(out: Path, formats: Sequence[str], *, given: bool) -> dict[str, Path]:
    """By format, the file or folder that it is written to."""
    is_file = given and bool(out.suffix) and not out.is_dir()
    if is_file and (len(formats) > 1 or formats[0] not in _SINGLE):
        what = " and ".join(formats)
        raise UsageError(
            f"--out: expected a folder for {what}, got {out}",
            hint=f"for example --out {out.with_suffix('')}",
        )
    if is_file:
        return {formats[0]: out}
    alone = given and len(formats) == 1
    return {name: out / _SINGLE[name] if name in _SINGLE else out if alone else out / name
            for name in formats}  # fmt: skip


# From what ------------------------------------------------------------------------------------


class _Run:
    """A run directory: its result made anew, and its details where they are asked for."""

    def __init__(self, root: Path, expectations: Path | None) -> None:
        if not root.is_dir():
            found = "it is a file" if root.exists() else "there is none"
            raise StorageError(
                f"expected a run directory, got {root}: {found}",
                hint="give the --out of a `bitloss compare`; without one it is in runs/",
            )
        table = load_expectations(expectations)
        self.manifest = _read_manifest(root)
        self.store = RunStore(root)
        self.comparison = self._read(lambda: collect(self.store, self.manifest, table))

    @cached_property
    def details(self) -> Details:
        """What charts and the flips browser show besides."""
        from bitloss.report.details import read_details

        return self._read(lambda: read_details(self.store, self.manifest))

    def _read(self, read: Callable[[], _Content]) -> _Content:
        """Whatever is read; a record that cannot be names the command that makes it anew."""
        try:
            return read()
        except StorageError as fault:
            command = self.manifest["environment"].get("command")
            hint = f"{fault.hint}: {command}" if command else fault.hint
            raise StorageError(fault.message, hint=hint) from fault


def _read_manifest(root: Path) -> dict[str, Any]:
    """The manifest; of a run that was stopped, what it has so far."""
    file = next((f for name in _MANIFESTS if (f := root / name).exists()), None)
    if file is None:
        raise StorageError(
            f"{root}: not a finished run (no manifest.json)", hint=_how_to_finish(root)
        )
    store = RunStore(root)  # it makes its folders: only where there is a run
    finished = file.name == _MANIFESTS[0]
    manifest = store.read_manifest() if finished else store.read_unfinished()
    if not isinstance(manifest, dict) or not manifest.keys() >= _MANIFEST_PARTS:
        raise StorageError(
            f"{file}: not a manifest of this version of bitloss",
            hint="run the same `bitloss compare` again: what is scored is not scored again",
        )
    return manifest


def _how_to_finish(root: Path) -> str:
    """The command, if an earlier result has it."""
    again = "it goes on where it stopped"
    try:
        command = Comparison.load(root).environment.command
    except DataError:
        command = ""
    if command:
        return f"run it again, {again}: {command}"
    if (root / "records").is_dir():
        return f"run the same `bitloss compare` again: {again}"
    return "give the --out of a `bitloss compare`; without one it is in runs/"


# Formats --------------------------------------------------------------------------------------


def _html(run: _Run, target: Path) -> Written:
    from bitloss.report.page import write_page

    details = run.details
    make_folder(target.parent)
    return Written((write_page(run.comparison, details, target),), details.missing)


def _json(run: _Run, target: Path) -> Written:
    make_folder(target.parent)
    run.comparison.write(target)
    return Written((target,), ())


def _markdown(run: _Run, folder: Path) -> Written:
    from bitloss.report.markdown import write_markdown

    return Written((write_markdown(run.comparison, run.details, folder),), ())


def _csv(run: _Run, folder: Path) -> Written:
    from bitloss.report.records_csv import write_csv

    return Written(write_csv(run.store, run.manifest, folder), ())


def _lm_eval(run: _Run, folder: Path) -> Written:
    from bitloss.report.lm_eval import to_lm_eval

    texts: dict[str, str] = {}
    comparison = run.comparison
    models = [comparison.reference, *(v for v in comparison.variants if v.error is None)]
    for model in models:
        document = to_lm_eval(comparison, model.name)
        stem = re.sub(r"[^\w.-]+", "-", model.name, flags=re.ASCII).strip("-.") or "model"
        name, n = f"{stem}.json", 2
        while name in texts:
            name, n = f"{stem}-{n}.json", n + 1
        texts[name] = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    make_folder(folder)
    for name, text in texts.items():
        write_text(folder / name, text)
    return Written(tuple(folder / name for name in texts), ())


FORMATS: Mapping[str, Callable[[_Run, Path], Written]] = MappingProxyType(
    {"html": _html, "markdown": _markdown, "json": _json, "csv": _csv, "lm-eval": _lm_eval}
)
"""What a report can be written as."""
