"""The run directory: what is written there, and how nothing half-written is ever left.

    RUN/records/<fingerprint>.parquet      per-token results of a variant on a shard of a corpus;
                                           a task's questions, a model's answers to them
    RUN/states/<fingerprint>.safetensors   hidden states at scored positions: the reference's are
                                           kept, a variant's go as soon as its records are there
    RUN/unfinished.json                    the manifest so far, and what is missing; goes when
    RUN/manifest.json                      which records belong to which row is written, at last
    RUN/comparison.json                    the result
    RUN/report.html                        the same to read, `bitloss report` makes it anew

Every file is written under a temporary name and renamed, so one that is there is whole, and
resuming is skipping what is there.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from bitloss.errors import StorageError
from bitloss.results.manifest import MANIFEST_FILE, UNFINISHED_FILE, Manifest
from bitloss.types import TokenRecords

__all__ = ["RunStore"]

_COLUMNS = TokenRecords.__slots__


class RunStore:
    """One run directory, created if need be.

    Args:
        root: the directory.

    Raises:
        StorageError: it cannot be created.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        with _storage(root):
            for folder in ("records", "states"):
                (root / folder).mkdir(parents=True, exist_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the directory for this process, and clear what a killed one left behind.

        Raises:
            StorageError: another process is at work in it.
        """
        with _storage(self.root):
            lock = (self.root / ".lock").open("w")
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise StorageError(
                    f"another process is writing to {self.root}",
                    hint="wait for it, or give another directory with --out",
                ) from None
            with _storage(self.root):
                for left in self.root.rglob(".tmp-*"):
                    left.unlink(missing_ok=True)
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
            StorageError: a file is missing or damaged; it is named.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        parts = []
        for fingerprint in fingerprints:
            path = self._records(fingerprint)
            try:
                parts.append(pq.read_table(path, columns=list(columns)))
            except (OSError, pa.ArrowInvalid, KeyError) as fault:
                raise _damaged(path, fault) from fault
        table = pa.concat_tables(parts)
        return {name: table.column(name).to_numpy() for name in columns}

    def read_token_records(self, fingerprints: Sequence[str]) -> TokenRecords:
        """The records of one variant on one corpus; see `read_records` for errors."""
        return TokenRecords(**self.read_records(fingerprints, _COLUMNS))

    def _records(self, fingerprint: str) -> Path:
        return self.root / "records" / f"{fingerprint}.parquet"

    # Hidden states ------------------------------------------------------------------------

    def has_states(self, fingerprint: str) -> bool:
        """Whether these hidden states are there."""
        return self._states(fingerprint).is_file()

    def write_states(self, fingerprint: str, states: Any) -> None:
        """Write hidden states, a tensor of shape ``[positions, d_model]``."""
        from safetensors.torch import save_file

        self._write(self._states(fingerprint), lambda path: save_file({"states": states}, path))

    def read_states(self, fingerprint: str) -> Any:
        """Read hidden states, mapped from disk.

        Raises:
            StorageError: the file is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        path = self._states(fingerprint)
        try:
            return load_file(path)["states"]
        except (OSError, SafetensorError, KeyError) as fault:
            raise StorageError(
                f"{path}: damaged hidden states ({fault})",
                hint="delete the file and run the same command again: only it is redone",
            ) from fault

    def drop_states(self, fingerprint: str) -> None:
        """Remove hidden states that have become records."""
        with _storage(self.root):
            self._states(fingerprint).unlink(missing_ok=True)

    def _states(self, fingerprint: str) -> Path:
        return self.root / "states" / f"{fingerprint}.safetensors"

    # Documents ----------------------------------------------------------------------------

    def write_unfinished(self, manifest: Manifest) -> None:
        """Write the manifest so far; its ``missing`` says what is not there yet."""
        self._write_text(UNFINISHED_FILE, manifest.to_json())

    def write_manifest(self, manifest: Manifest) -> None:
        """Write the manifest: after this the run is complete."""
        self._write_text(MANIFEST_FILE, manifest.to_json())
        with _storage(self.root):
            (self.root / UNFINISHED_FILE).unlink(missing_ok=True)

    def read_manifest(self) -> Manifest:
        """Read the manifest of a complete run.

        Raises:
            StorageError: there is none, or it is damaged or of another version.
        """
        return self._read_manifest(MANIFEST_FILE)

    def read_unfinished(self) -> Manifest:
        """Read the manifest of a run that was stopped; ``missing`` in it says what is not there.

        Raises:
            StorageError: there is none, or it is damaged or of another version.
        """
        return self._read_manifest(UNFINISHED_FILE)

    def _write_text(self, name: str, text: str) -> None:
        self._write(self.root / name, lambda path: path.write_text(text))

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
        with _storage(path):
            handle, name = tempfile.mkstemp(prefix=".tmp-", dir=path.parent)
            os.close(handle)
            temporary = Path(name)
            try:
                writer(temporary)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)


def _damaged(record: Path, fault: Exception) -> StorageError:
    return StorageError(
        f"{record}: damaged or missing record ({fault})",
        hint="delete the file and run the same command again: only it is redone",
    )


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    """Turn the system's refusal to write into an error that says what to do."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as fault:
        full = "No space left" in str(fault) or "os error 28" in str(fault)
        raise StorageError(
            f"cannot write {path}: {fault}",
            hint="free some space, or give another directory with --out"
            if full
            else "check that the directory is writable, or give another one with --out",
        ) from fault
