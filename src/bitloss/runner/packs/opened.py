"""A pack's directory, opened: every file of it was read and is the one that the maker wrote."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.contents.kinds import PACK_FILE
from bitloss.errors import StorageError, UsageError, not_there
from bitloss.files import write_bytes
from bitloss.results.pack import PackDocument, PackedFile, StateType
from bitloss.spec.model import names_pack
from bitloss.spec.run import RunSpec
from bitloss.types import Progress

__all__ = [
    "Pack",
    "open_pack",
    "pack_around",
    "read_document",
    "reads_pack",
    "record_file",
    "refuse_inside",
    "state_file",
]

_AGAIN = "download or copy the pack again, complete"


def reads_pack(spec: RunSpec) -> bool:
    """Whether a run's reference is a pack."""
    return names_pack(spec.reference)


def pack_around(path: Path) -> Path | None:
    """The pack that a path lies in, or is; None if there is none."""
    whole = path.expanduser().absolute()
    return next((at for at in (whole, *whole.parents) if (at / PACK_FILE).is_file()), None)


def record_file(fingerprint: str) -> str:
    """Path of a record within a pack."""
    return f"records/{fingerprint}.parquet"


def state_file(fingerprint: str, kind: StateType) -> str:
    """Path of hidden states within a pack, stored as `kind`."""
    folder = "states" if kind == "fp32" else f"states-{kind}"
    return f"{folder}/{fingerprint}.safetensors"


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack; satisfies `bitloss.runner.store.KeptStates`.

    Attributes:
        root: the directory.
        document: what it says.
    """

    root: Path
    document: PackDocument

    def has(self, fingerprint: str) -> bool:
        """Whether it has these hidden states."""
        return self._file(fingerprint) in self.document.files

    def read(self, fingerprint: str) -> Any:
        """Hidden states, as they were computed or rounded.

        Raises:
            StorageError: the file is damaged.
        """
        from bitloss.runner.packs.rounding import restore

        return restore(self.load(self._file(fingerprint)))

    def _file(self, fingerprint: str) -> str:
        return state_file(fingerprint, self.document.reference.states)

    def load(self, name: str) -> dict[str, Any]:
        """The tensors of a file.

        Raises:
            StorageError: it is damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(self.root / name)
        except (OSError, SafetensorError) as error:
            raise StorageError(f"{self.root / name}: damaged ({error})", hint=_AGAIN) from error

    def copy_records(self, run: Path) -> None:
        """Put the records into a run directory, whose result then needs no pack to be read.

        Raises:
            StorageError: the directory cannot be written.
        """
        for name in self.document.files:
            target = run / name
            if name.startswith("records/") and not target.is_file():
                write_bytes(target, _read(self.root, name), elsewhere="give another --out")


def read_document(root: Path) -> PackDocument:
    """What a pack says of itself; its files are not looked at.

    Raises:
        StorageError: it is damaged, or of another version.
        UsageError: the directory is no pack.
    """
    path = root / PACK_FILE
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise not_there(
            StorageError(
                f"{root}: expected a pack, got a directory without {PACK_FILE}",
                hint="download or copy it again, or make it with `bitloss pack`",
            )
        ) from None
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror or error}", hint="make the file readable"
        ) from error
    return PackDocument.from_json(text, name=str(path))


def open_pack(root: Path, progress: Progress) -> Pack:
    """Open a pack and read every file of it, to see that it is as the maker wrote it.

    Raises:
        StorageError: a file is missing, cut or changed; it is named. Or see `read_document`.
    """
    document = read_document(root)
    with progress.task(f"check {root.name}", document.nbytes, "bytes") as advance:
        for name, known in document.files.items():
            _require_same(root, name, known)
            advance(known.bytes)
    return Pack(root, document)


def refuse_inside(path: Path, what: str) -> None:
    """Refuse to write into a pack, which would no longer be what its digest says.

    Raises:
        UsageError: the path lies in one.
    """
    if (pack := pack_around(path)) is not None:
        raise UsageError(
            f"expected {what} outside of a pack, got `{path}` in the pack {pack}",
            hint="give another directory with --out",
        )


def _require_same(root: Path, name: str, known: PackedFile) -> None:
    path = root / name
    try:
        size = path.stat().st_size
        if size == known.bytes:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise _missing(root, name) from None
    except OSError as error:
        raise StorageError(
            f"cannot read {path}: {error.strerror or error}", hint="make the file readable"
        ) from error
    if size != known.bytes:
        raise StorageError(f"{path}: expected {known.bytes:,} bytes, got {size:,}", hint=_AGAIN)
    if digest != known.sha256:
        raise StorageError(
            f"{path}: expected the file of sha256 {known.sha256[:16]}..., got one of "
            f"{digest[:16]}...: it was damaged or changed",
            hint=_AGAIN,
        )


def _missing(root: Path, name: str) -> StorageError:
    return StorageError(f"{root}: the pack lacks its file `{name}`", hint=_AGAIN)


def _read(root: Path, name: str) -> bytes:
    try:
        return (root / name).read_bytes()
    except OSError as error:
        raise StorageError(
            f"cannot read {root / name}: {error.strerror or error}", hint=_AGAIN
        ) from error
