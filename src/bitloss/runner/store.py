"""The run directory: what is written there, and how nothing half-written is ever left.

    RUN/records/<fingerprint>.parquet      per-token results of a variant on a piece of a text; a
                                           task's questions, a model's answers to them
    RUN/states/<fingerprint>.safetensors   tensors that an engine keeps between two jobs
    RUN/unfinished.json                    the manifest so far, and what is missing; goes when
    RUN/manifest.json                      which records belong to which row is written, at last
    RUN/comparison.json                    the result
    RUN/report.html                        the same to read, `bitloss report` writes it again
    RUN/.finished, RUN/.report             what result and page were made from (`unchanged`)

Every file is written under a temporary name and renamed, so one that is there is complete, and
resuming is skipping what is there. A fingerprint covers everything that decides a file's content,
the engine included, so files of another engine or version are never taken for these.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import StorageError
from bitloss.files import (
    locked,
    make_folder,
    remove_leftovers,
    remove_scratch,
    replacing,
    storage_errors,
    write_text,
)
from bitloss.results.manifest import MANIFEST_FILE, UNFINISHED_FILE, Manifest
from bitloss.types import TokenRecords

__all__ = ["KeptStates", "RunStore"]

_COLUMNS = TokenRecords.__slots__
# All other columns of records hold numbers.
_TEXTS = frozenset({
    "item", "subject", "cluster", "detail", "answer", "question", "options", "gold", "text",
    "reason", "thinking", "speed",
})  # fmt: skip
# What pyarrow raises for a damaged file; memory that runs out is no damage.
_UNREADABLE = (KeyError, ValueError, TypeError, NotImplementedError)
_LIBRARYS_OWN = ".tmp*"  # safetensors, too, writes under a temporary name first
_ELSEWHERE = "give another directory with --out"


class KeptStates(Protocol):
    """Hidden states that are kept elsewhere, to be read only."""

    def has(self, fingerprint: str) -> bool:
        """Whether a tensor is there."""

    def read(self, fingerprint: str) -> Any:
        """The tensor; raises `StorageError` if its file is damaged or missing."""


class RunStore:
    """One run directory; it is made when the first thing is written.

    Args:
        root: the directory.
        kept: further hidden states, which are read where they are.
    """

    def __init__(self, root: Path, kept: KeptStates | None = None) -> None:
        self.root = root
        self._kept = kept

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process, and clear what a killed one left behind.

        Raises:
            StorageError: another process is at work in it, or it cannot be made.
        """
        for folder in ("records", "states"):
            make_folder(self.root / folder)

        def refuse() -> Any:
            raise StorageError(
                f"another process is writing to {self.root}", hint=f"wait for it, or {_ELSEWHERE}"
            )

        with locked(self.root / ".lock", busy=refuse, elsewhere=_ELSEWHERE):
            remove_leftovers(self.root)
            remove_leftovers(self.root / "states", _LIBRARYS_OWN)
            remove_scratch()
            yield

    # Records ------------------------------------------------------------------------------

    def has_records(self, fingerprint: str) -> bool:
        """Whether these records are there."""
        return self._records(fingerprint).is_file()

    def write_records(
        self, fingerprint: str, columns: Mapping[str, NDArray[Any] | list[Any]]
    ) -> None:
        """Write arrays or lists of equal length as one parquet file."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.table({name: pa.array(values) for name, values in columns.items()})
        self._write(
            self._records(fingerprint), lambda path: pq.write_table(table, path, compression="zstd")
        )

    def read_records(self, fingerprints: Sequence[str], columns: tuple[str, ...]) -> dict[str, Any]:
        """Read columns of several record files, joined in the given order.

        Raises:
            StorageError: a file is missing, damaged, or lacks a column; it is named.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = []
        for fingerprint in fingerprints:
            path = self._records(fingerprint)
            try:
                # Not `read_table`, which imports pandas where there is one: half a second.
                with pq.ParquetFile(path) as file:
                    lacking = [name for name in columns if name not in file.schema_arrow.names]
                    if not lacking:
                        parts.append(file.read(columns=list(columns)).select(columns))
                if not lacking:
                    _require_columns(parts[-1], columns)
            except (OSError, *_UNREADABLE) as error:
                raise _damaged(path, error) from error
            if lacking:
                raise _of_an_older_version(path, lacking)
        try:
            table = pa.concat_tables(parts)
        except _UNREADABLE as error:
            raise _damaged(self._records(fingerprints[-1]), error) from error
        return {name: _as_numpy(table.column(name)) for name in columns}

    def record_columns(self, fingerprint: str) -> frozenset[str]:
        """Names of a record's columns: an engine may give fewer than another.

        Raises:
            StorageError: the file is missing or damaged.
        """
        import pyarrow.parquet as pq

        path = self._records(fingerprint)
        try:
            return frozenset(pq.read_schema(path).names)
        except (OSError, *_UNREADABLE) as error:
            raise _damaged(path, error) from error

    def read_token_records(self, fingerprints: Sequence[str]) -> TokenRecords:
        """The records of one variant on one corpus; see `read_records` for errors."""
        return TokenRecords(**self.read_records(fingerprints, _COLUMNS))

    def _records(self, fingerprint: str) -> Path:
        return self.root / "records" / f"{fingerprint}.parquet"

    # What engines keep --------------------------------------------------------------------

    def has_states(self, fingerprint: str) -> bool:
        """Whether this tensor is there."""
        if self._states(fingerprint).is_file():
            return True
        return self._kept is not None and self._kept.has(fingerprint)

    def write_states(self, fingerprint: str, states: Any) -> None:
        """Keep a tensor."""
        from safetensors.torch import save_file

        self._write(self._states(fingerprint), lambda path: save_file({"states": states}, path))

    def read_states(self, fingerprint: str) -> Any:
        """Read a tensor, mapped from disk.

        Raises:
            StorageError: the file is missing or damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._states(fingerprint)
        if self._kept is not None and not path.is_file() and self._kept.has(fingerprint):
            return self._kept.read(fingerprint)
        try:
            return load_file(path)["states"]
        except (OSError, SafetensorError, KeyError) as error:
            raise StorageError(
                f"{path}: damaged states ({error})",
                hint="delete the file and rerun the same command",
            ) from error

    def drop_states(self, fingerprint: str) -> None:
        """Remove a tensor that is no longer needed."""
        path = self._states(fingerprint)
        with storage_errors(path, elsewhere=_ELSEWHERE):
            path.unlink(missing_ok=True)

    def _states(self, fingerprint: str) -> Path:
        return self.root / "states" / f"{fingerprint}.safetensors"

    # Documents ----------------------------------------------------------------------------

    def write_unfinished(self, manifest: Manifest) -> None:
        """Write the manifest so far; its ``missing`` says what is not there yet."""
        write_text(self.root / UNFINISHED_FILE, manifest.to_json())

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest with the digests of its records: after this the run is complete."""
        paths = {name: self._records(name) for name in manifest.records}
        digests = {name: _sha256(path) for name, path in paths.items() if path.is_file()}
        written = manifest.model_copy(update={"digests": digests})
        write_text(self.root / MANIFEST_FILE, written.to_json())
        with storage_errors(self.root, elsewhere=_ELSEWHERE):
            (self.root / UNFINISHED_FILE).unlink(missing_ok=True)

    def read_manifest(self) -> Manifest:
        """Read the manifest of a complete run, and look whether its records are as they were.

        Raises:
            StorageError: there is none, or it is damaged or of another version; or a record was
                cut, exchanged for another one, or changed.
        """
        manifest = self._read_manifest(MANIFEST_FILE)
        self._require_unchanged(manifest)
        return manifest

    def require_unchanged(self) -> None:
        """Before scoring into a complete run: what is there is used again, and has to be right.

        Raises:
            StorageError: see `read_manifest`. A damaged manifest does not count.
        """
        try:
            manifest = self._read_manifest(MANIFEST_FILE)
        except StorageError:
            return
        self._require_unchanged(manifest)

    def _require_unchanged(self, manifest: Manifest) -> None:
        """A record that is missing is named when it is read, or made again."""
        command = manifest.environment.command
        for name, digest in manifest.digests.items():
            path = self._records(name)
            if path.is_file() and _sha256(path) != digest:
                raise StorageError(
                    f"{path}: not the record that the run wrote, but cut off, replaced or changed",
                    hint="delete the file and rerun the same command"
                    + (f": {command}" if command else ""),
                )

    def read_unfinished(self) -> Manifest:
        """Read the manifest of a run that was stopped; ``missing`` in it says what is not there.

        Raises:
            StorageError: there is none, or it is damaged or of another version.
        """
        return self._read_manifest(UNFINISHED_FILE)

    def _read_manifest(self, name: str) -> Manifest:
        path = self.root / name
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            raise StorageError(
                f"{self.root}: not a finished run (no {name})",
                hint="rerun the same `bitloss compare` to resume",
            ) from None
        except OSError as error:
            raise StorageError(
                f"cannot read {path}: {error.strerror or error}",
                hint="make the file readable, or delete it and rerun the same command",
            ) from error
        return Manifest.from_json(text, name=str(path))

    def _write(self, path: Path, writer: Callable[[Path], Any]) -> None:
        from safetensors import SafetensorError

        make_folder(path.parent)
        with replacing(path, elsewhere=_ELSEWHERE, also=(SafetensorError,)) as temporary:
            writer(temporary)


def _sha256(path: Path) -> str:
    with storage_errors(path, elsewhere=_ELSEWHERE), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_columns(table: Any, columns: Sequence[str]) -> None:
    """Refuse columns of a kind that nobody wrote.

    Raises:
        ValueError: one is missing, has nulls, or holds text where numbers belong or the reverse.
    """
    import pyarrow as pa

    for name in columns:
        if name not in table.column_names:
            raise ValueError(f"no column `{name}`")
        column = table.column(name)
        numbers = any(
            test(column.type)
            for test in (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        )
        text = pa.types.is_string(column.type) or pa.types.is_null(column.type)
        kind = "text" if name in _TEXTS else "numbers"
        if len(column) and not (text if kind == "text" else numbers and not column.null_count):
            got = f"{column.type}, {column.null_count} of them null"
            raise ValueError(f"column `{name}`: expected {kind}, got {got}")


def _as_numpy(column: Any) -> NDArray[Any]:
    """A column as its own `to_numpy` gives it, which imports pandas too."""
    import pyarrow as pa

    kind = column.type
    if column.null_count:
        return np.asarray(column.to_numpy())
    if pa.types.is_boolean(kind):
        return np.array(np.from_dlpack(column.cast(pa.uint8()).combine_chunks())).view(np.bool_)
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return np.array(np.from_dlpack(column.combine_chunks()))
    return np.array(column.to_pylist(), dtype=object)


def _of_an_older_version(record: Path, lacking: Sequence[str]) -> StorageError:
    names = ", ".join(f"`{name}`" for name in lacking)
    return StorageError(
        f"{record}: made by an older version of bitloss, which kept no {names}",
        hint="score again: delete the file and rerun the same command",
    )


def _damaged(record: Path, error: Exception) -> StorageError:
    return StorageError(
        f"{record}: damaged or missing record ({error})",
        hint="delete the file and rerun the same command",
    )
