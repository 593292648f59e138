"""A run's report in the formats asked for, made from the run directory alone.

Where each goes in a folder, which is the run directory if no other is given:

html       ``report.html``
json       ``report.json``, as ``comparison.json``, which itself is never touched unless named
markdown   ``markdown/report.md`` and its pictures
csv        ``csv/summary.csv``, ``csv/tokens.csv`` and ``csv/items.csv``
lm-eval    ``lm-eval/<model>.json``, one per model
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar

from bitloss.analysis.collect import collect
from bitloss.errors import DataError, StorageError, UnknownName, UsageError, not_there
from bitloss.expectations import load_expectations
from bitloss.files import PACKAGE, file_marks, make_folder, write_bytes, write_text
from bitloss.reports.file_names import file_name
from bitloss.reports.unfinished import unfinished
from bitloss.results import Comparison
from bitloss.results.manifest import MANIFEST_FILE, UNFINISHED_FILE, Manifest
from bitloss.runner import RunStore
from bitloss.spec.fingerprint import fingerprint

if TYPE_CHECKING:
    from bitloss.reports.details import Details

__all__ = ["FORMATS", "Written", "write_page_of", "write_report"]

_Content = TypeVar("_Content")

_PAGE, _PAGE_MARK = "report.html", ".report"


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
    """Analyse a run's records again and write what they come to.

    Args:
        run: its directory; if the run was stopped, what was completed is written.
        out: a folder; for a single ``html`` or ``json`` a file, if it has an ending.
        formats: names in `FORMATS`.
        expectations: a file that verdicts are made with.

    Raises:
        UnknownName: no such format.
        UsageError: `out` is a file where a folder is needed, or the expectations have errors.
        MissingDependency: a format needs a package that is not installed.
        DataError: no model has scores that lm-eval has a place for.
        StorageError: there is no run with results, its manifest or a record is damaged or of
            another version, or `out` cannot be written.
    """
    for name in formats:
        if name not in FORMATS:
            raise UnknownName("format", name, FORMATS)
    chosen = tuple(dict.fromkeys(formats))
    places = _places(run if out is None else out, chosen, given=out is not None)
    source = _Run(run, expectations)
    paths: list[Path] = []
    missing = [*unfinished(source.comparison), *_later_run(run)]
    missing += [
        f"{v.name} failed: {v.error.message}" for v in source.comparison.variants if v.error
    ]
    for name in chosen:
        paths.extend(FORMATS[name](source, places[name]))
    return Written(tuple(paths), tuple(missing))


def write_page_of(comparison: Comparison, run: Path) -> Path:
    """Write a run's page beside its result, unless it is there and neither has changed since.

    Args:
        comparison: what the run's ``comparison.json`` holds.
        run: the run directory.

    Raises:
        MissingDependency: a package that draws is not installed.
        StorageError: a record is damaged, the page cannot be written, or the directory is another
            run's by now.
    """
    from bitloss.reports.details import read_details
    from bitloss.reports.page import write_page

    page, mark = run / _PAGE, run / _PAGE_MARK
    if page.is_file() and mark.is_file() and mark.read_bytes() == _drawn(run):
        return page
    store = RunStore(run)
    with store.locked():
        if (run / "comparison.json").read_text(encoding="utf-8") != comparison.to_json():
            raise StorageError(
                f"another process has replaced the result in {run}",
                hint=f"write the page of what is there now: bitloss report {run}",
            )
        write_page(comparison, read_details(store, store.read_manifest()), page)
        write_bytes(mark, _drawn(run))
    return page


def _drawn(run: Path) -> bytes:
    """The page, what it shows, and what draws it."""
    files = file_marks((run / _PAGE, run / "comparison.json", PACKAGE))
    return fingerprint(list(files)).encode()


# Where ----------------------------------------------------------------------------------------

_SINGLE: Mapping[str, str] = MappingProxyType({"html": _PAGE, "json": "report.json"})


def _places(out: Path, formats: Sequence[str], *, given: bool) -> dict[str, Path]:
    """By format, the file or folder that it is written to."""
    is_file = given and bool(out.suffix) and not out.is_dir()
    if is_file and (len(formats) > 1 or formats[0] not in _SINGLE):
        what = " and ".join(formats)
        raise UsageError(
            f"--out: expected a folder for {what}, got {out}",
            hint=f"give a folder, such as --out {out.with_suffix('')}",
        )
    if is_file:
        meant = out.suffix.lower().removeprefix(".")
        if meant in _SINGLE and meant != formats[0]:
            raise UsageError(
                f"--out: expected a name that ends with .{formats[0]}, got {out}",
                hint=f"choose the format of that name: --format {meant}",
            )
        return {formats[0]: out}
    alone = given and len(formats) == 1
    return {name: out / _SINGLE[name] if name in _SINGLE else out if alone else out / name
            for name in formats}  # fmt: skip


# From what ------------------------------------------------------------------------------------


class _Run:
    """A run directory: its result made again, and its details if they are requested."""

    def __init__(self, root: Path, expectations: Path | None) -> None:
        if not root.is_dir():
            what = "a file" if root.exists() else "nothing"
            raise not_there(
                StorageError(
                    f"expected a run directory at {root}, got {what}",
                    hint="give the --out of a `bitloss compare`; without one it is in runs/",
                )
            )
        table = load_expectations(expectations)
        self.manifest = _read_manifest(root)
        self.store = RunStore(root)
        self.comparison = self._read(lambda: collect(self.store, self.manifest, table))

    @cached_property
    def details(self) -> Details:
        """What charts and the flips browser show besides."""
        from bitloss.reports.details import read_details

        return self._read(lambda: read_details(self.store, self.manifest))

    def _read(self, read: Callable[[], _Content]) -> _Content:
        """Whatever is read; a record that cannot be names the command that makes it again."""
        try:
            return read()
        except StorageError as error:
            command = self.manifest.environment.command
            hint = f"{error.hint}: {command}" if command else error.hint
            raise StorageError(error.message, hint=hint) from error


def _read_manifest(root: Path) -> Manifest:
    """The manifest; of a run that was stopped, what it has so far."""
    finished, unfinished = (root / name for name in (MANIFEST_FILE, UNFINISHED_FILE))
    if not finished.exists() and not unfinished.exists():
        raise StorageError(
            f"{root}: not a finished run (no {MANIFEST_FILE})", hint=_how_to_finish(root)
        )
    store = RunStore(root)  # it makes its folders: only where there is a run
    if not finished.exists():
        with contextlib.suppress(StorageError):
            return store.read_unfinished()
        if not finished.exists():
            return store.read_unfinished()
        # The run was finished between the two looks.
    return store.read_manifest()


def _later_run(root: Path) -> tuple[str, ...]:
    """What to say if a run was stopped in the directory of a finished one, which is reported."""
    try:
        finished, stopped = (
            (root / name).stat().st_mtime_ns for name in (MANIFEST_FILE, UNFINISHED_FILE)
        )
        command = RunStore(root).read_unfinished().environment.command
    except (OSError, StorageError):
        return ()
    if stopped < finished:  # a run that was killed just before it removed the file
        return ()
    how = f": {command}" if command else ""
    return (
        "a later run in this directory is not finished, and the finished one is reported: rerun "
        f"the same command to resume{how}",
    )


def _how_to_finish(root: Path) -> str:
    """The command, if an earlier result has it."""
    try:
        command = Comparison.load(root).environment.command
    except DataError:
        command = ""
    if command:
        return f"rerun it to resume: {command}"
    if (root / "records").is_dir():
        return "rerun the same `bitloss compare` to resume"
    return "give the --out of a `bitloss compare`; without one it is in runs/"


# Formats --------------------------------------------------------------------------------------


def _html(run: _Run, target: Path) -> tuple[Path, ...]:
    from bitloss.reports.page import write_page

    details = run.details
    make_folder(target.parent)
    return (write_page(run.comparison, details, target),)


def _json(run: _Run, target: Path) -> tuple[Path, ...]:
    make_folder(target.parent)
    run.comparison.write(target)
    return (target,)


def _markdown(run: _Run, folder: Path) -> tuple[Path, ...]:
    from bitloss.reports.markdown import write_markdown

    return (write_markdown(run.comparison, run.details, folder),)


def _csv(run: _Run, folder: Path) -> tuple[Path, ...]:
    from bitloss.reports.records_csv import write_csv
    from bitloss.reports.summary_csv import write_summary

    return (write_summary(run.comparison, folder), *write_csv(run.store, run.manifest, folder))


def _lm_eval(run: _Run, folder: Path) -> tuple[Path, ...]:
    from bitloss.reports.lm_eval import to_lm_eval

    texts: dict[str, str] = {}
    comparison = run.comparison
    models = [comparison.reference, *(v for v in comparison.variants if v.error is None)]
    for model in models:
        document = to_lm_eval(comparison, model.name)
        name = file_name(model.name, ".json", default="model", taken=texts)
        texts[name] = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    make_folder(folder)
    for name, text in texts.items():
        write_text(folder / name, text)
    return tuple(folder / name for name in texts)


FORMATS: Mapping[str, Callable[[_Run, Path], tuple[Path, ...]]] = MappingProxyType(
    {"html": _html, "markdown": _markdown, "json": _json, "csv": _csv, "lm-eval": _lm_eval}
)
"""What a report can be written as."""
