"""The safetensors files of a model: headers at once, one tensor at a time.

The layout is eight bytes with the header's length (little endian), a JSON header, then the data
(github.com/huggingface/safetensors, "Format"). Headers are parsed here so that a truncated file
is found on opening and named with its sizes; the data is mapped into memory by the library.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss.contents.encodings import decode_utf8, name_of, refuse_head
from bitloss.contents.kinds import HEAD, JSON, SAFETENSORS
from bitloss.errors import CheckpointError
from bitloss.spec.json_text import parse_json

if TYPE_CHECKING:
    import torch

__all__ = ["Shards", "StoredTensor", "file_metadata", "mentions", "open_shards", "weight_files"]

_AGAIN = "download or copy the file again: it is damaged or incomplete"
_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")
_INDEX = ".safetensors.index.json"
# Bits of an element by safetensors' dtype name; F4 and F6 types are left out on purpose.
_BITS = {
    "BOOL": 8, "U8": 8, "I8": 8, "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I16": 16, "U16": 16,
    "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "I64": 64, "U64": 64, "F64": 64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor as the header describes it.

    Attributes:
        file: the file it lies in.
        dtype: safetensors' name of the type (``"BF16"``).
        shape: as stored.
        nbytes: bytes of data.
        start: where in the file the data begins.
    """

    file: Path
    dtype: str
    shape: tuple[int, ...]
    nbytes: int
    start: int = 0


@dataclass(frozen=True, slots=True)
class Shards:
    """All weight files of a model, opened lazily.

    Attributes:
        files: sorted by name.
        tensors: by name, in file order.
    """

    files: tuple[Path, ...]
    tensors: Mapping[str, StoredTensor]

    @property
    def file_bytes(self) -> int:
        """Bytes of the files on disk."""
        return sum(file.stat().st_size for file in self.files)

    def read_integers(self, name: str) -> list[int]:
        """The values of a small I64 or I32 tensor, without the library's reading of the header.

        A mixture of experts has tens of thousands of them, which are needed to open it.

        Raises:
            CheckpointError: the tensor is of another type, or the file cannot be read.
        """
        stored = self.tensors[name]
        width = {"I64": 8, "I32": 4}.get(stored.dtype)
        if width is None:
            raise CheckpointError(
                f"{stored.file}: `{name}`: expected I64 or I32, got {stored.dtype}", hint=_AGAIN
            )
        data = self.read_bytes(name)
        parts = (data[at : at + width] for at in range(0, len(data), width))
        return [int.from_bytes(part, "little", signed=True) for part in parts]

    def read_bytes(self, name: str) -> bytes:
        """The data of a small tensor of any type, as it lies in the file; see `read_integers`.

        Raises:
            CheckpointError: the file cannot be read.
        """
        stored = self.tensors[name]
        try:
            with stored.file.open("rb", buffering=0) as stream:
                stream.seek(stored.start)
                return stream.read(stored.nbytes)
        except OSError as error:
            raise CheckpointError(f"{stored.file}: `{name}`: {error}", hint=_AGAIN) from error

    def read_rows(self, name: str, start: int, stop: int) -> torch.Tensor:
        """Some rows of a tensor of floats, copied: no mapping of the file stands after it.

        Args:
            name: of the tensor.
            start: the first row.
            stop: one past the last one.

        Raises:
            CheckpointError: the file cannot be read, or is shorter than its header says.
        """
        import torch

        stored = self.tensors[name]
        types = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
        size = stored.nbytes // max(1, stored.shape[0])
        rows = torch.empty((stop - start, *stored.shape[1:]), dtype=types[stored.dtype])
        data: Any = rows.view(torch.uint8).numpy()
        try:
            # Buffered: one read of the system gives 2 GiB at most, and on some disks less.
            with stored.file.open("rb") as stream:
                stream.seek(stored.start + start * size)
                got = stream.readinto(data) if rows.numel() else 0
        except OSError as error:
            raise CheckpointError(f"{stored.file}: `{name}`: {error}", hint=_AGAIN) from error
        if got != rows.nbytes:
            raise CheckpointError(
                f"{stored.file}: `{name}`: expected {rows.nbytes} bytes, got {got}", hint=_AGAIN
            )
        return rows

    def read(self, name: str) -> torch.Tensor:
        """One tensor, mapped from the file.

        The file is opened for each: pages read through a mapping count as the process's memory
        for as long as it stands, and a run has many models open.

        Raises:
            CheckpointError: there is no such tensor, or the file cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        if name not in self.tensors:
            raise CheckpointError(
                f"no tensor `{name}` in {', '.join(file.name for file in self.files)}",
                hint="download the rest of the checkpoint",
            )
        file = self.tensors[name].file
        try:
            with safe_open(file, framework="pt", device="cpu") as opened:
                tensor: torch.Tensor = opened.get_tensor(name)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file}: `{name}`: {error}", hint=_AGAIN) from error
        return tensor


def weight_files(directory: Path) -> tuple[Path | None, tuple[Path, ...]]:
    """The index (None where there is none) and the weight files of a directory.

    The order of preference is that of transformers: ``model.safetensors``, then an index; then a
    lone file of any name, as AutoGPTQ wrote them. No files is an empty tuple.

    Raises:
        CheckpointError: several files without an index, or an index that cannot be read.
    """
    single = directory / "model.safetensors"
    if single.is_file():
        return None, (single,)
    indices = sorted(directory.glob(f"*{_INDEX}"))
    preferred = [path for path in indices if path.name == f"model{_INDEX}"] or indices
    if preferred:
        names = sorted(set(_weight_map(preferred[0]).values()))
        return preferred[0], tuple(directory / name for name in names)
    files = tuple(sorted(directory.glob("*.safetensors")))
    if len(files) > 1:
        raise CheckpointError(
            f"{directory}: {len(files)} safetensors files ({files[0].name} ...) and no index",
            hint=f"add model{_INDEX}, which says what lies where",
        )
    return None, files


def mentions(directory: Path, text: str) -> bool:
    """Whether a text stands in the index, or in the header of the only weight file.

    Cheap, for telling formats apart before one of them opens the files. Damaged files mention
    nothing: whoever opens them says what is wrong.
    """
    try:
        index, files = weight_files(directory)
        if index is not None:
            return text.encode() in index.read_bytes()
        if not files:
            return False
        with files[0].open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            return length <= files[0].stat().st_size and text.encode() in stream.read(length)
    except (CheckpointError, OSError):
        return False


def open_shards(directory: Path) -> Shards:
    """Read the headers of all weight files of a directory.

    Raises:
        CheckpointError: there are no weights, or only pickled ones; a file is missing, truncated
            or damaged, or lacks a tensor that the index promises.
    """
    index, files = weight_files(directory)
    if not files:
        raise _no_weights(directory)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise CheckpointError(
            f"{directory}: {len(missing)} of {len(files)} weight files are missing: "
            f"{', '.join(missing[:3])}{' ...' if len(missing) > 3 else ''}",
            hint="download the rest of the checkpoint",
        )
    headers = {file: _read_header(file) for file in files}
    found = {name: tensor for header in headers.values() for name, tensor in header.items()}
    if index is None:
        return Shards(files, found)
    wanted = _weight_map(index)
    by_name = {file.name: header for file, header in headers.items()}
    for name, file_name in wanted.items():
        if name not in by_name[file_name]:
            raise CheckpointError(
                f"{directory / file_name}: no tensor `{name}`, which {index.name} places there",
                hint="download both again: they are of different versions",
            )
    return Shards(files, {name: tensor for name, tensor in found.items() if name in wanted})


def _no_weights(directory: Path) -> CheckpointError:
    pickles = sorted(file.name for pattern in _PICKLES for file in directory.glob(pattern))
    if pickles:
        # hqq names its own files so; transformers 5 cannot load them to convert them.
        hqq = "qmodel.pt" in pickles
        return CheckpointError(
            f"{directory}: the weights are pickled ({pickles[0]}); expected safetensors, because "
            "loading a pickle runs code from the file",
            hint="convert it where you trust it: "
            + (
                "hqq's AutoHQQHFModel.from_quantized(...) and .save_to_safetensors(...)"
                if hqq
                else "AutoModelForCausalLM.from_pretrained(...).save_pretrained(...)"
            )
            + " writes safetensors",
        )
    return CheckpointError(
        f"{directory}: config.json is there, weights are not: expected model.safetensors or shards "
        "with an index",
        hint="download the rest of the checkpoint",
    )


def _weight_map(index: Path) -> dict[str, str]:
    try:
        text = decode_utf8(index.read_bytes(), index, CheckpointError, door=JSON)
        names = parse_json(text)["weight_map"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{index}: not a weight index: {error!r}", hint=_AGAIN) from error
    # A name with a folder in it could point outside of the checkpoint.
    if not isinstance(names, dict) or not all(
        isinstance(name, str) and name and Path(name).name == name for name in names.values()
    ):
        raise CheckpointError(
            f"{index}: expected a `weight_map` of tensor names to file names", hint=_AGAIN
        )
    return names


def _entry(name: str, entry: Any) -> tuple[str, tuple[int, ...], int, int]:
    """Type, shape and place of the data of a tensor.

    Raises:
        ValueError: the header says something else.
    """
    found: dict[str, Any] = entry if isinstance(entry, dict) else {}
    dtype, shape, place = found.get("dtype"), found.get("shape"), found.get("data_offsets")
    if (
        not isinstance(dtype, str)
        or not (isinstance(shape, list) and isinstance(place, list))
        or not (_sizes(shape) and _sizes(place) and len(place) == 2 and len(found) == 3)
        or place[0] > place[1]
    ):
        raise ValueError(f"`{name[:80]}`: expected type, shape and place, got {entry!r}")
    return dtype, tuple(shape), place[0], place[1]


def _sizes(value: list[Any]) -> bool:
    return all(type(n) is int and 0 <= n < 1 << 63 for n in value)


def file_metadata(file: Path) -> dict[str, Any]:
    """What the writer of a file noted in its header (``{"format": "pt"}``), or nothing.

    Raises:
        CheckpointError: the header cannot be read.
    """
    metadata = _parse_header(file)[0].get("__metadata__")
    return metadata if isinstance(metadata, dict) else {}


def _parse_header(file: Path) -> tuple[dict[str, Any], int, int]:
    """The header, its length in bytes, and the file's."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        first = stream.read(HEAD)
        refuse_head(first, file, CheckpointError, door=SAFETENSORS)
        length = int.from_bytes(first[:8], "little")
        stream.seek(8)
        if size < 8 or length > size - 8:
            if size > 64 and (got := name_of(first)) not in ("binary data", "nothing"):
                raise CheckpointError(
                    f"expected a safetensors file, got {got} in `{file}`", hint=_AGAIN
                )
            raise CheckpointError(
                f"{file}: expected at least {8 + length if size >= 8 else 8} bytes (header), "
                f"got {size}",
                hint=_AGAIN,
            )
        text = stream.read(length)
    try:
        header = parse_json(text)
        if not isinstance(header, dict):
            raise TypeError(f"expected an object, got {type(header).__name__}")
    except (ValueError, TypeError) as error:
        raise _unreadable(file, error) from error
    return header, length, size


def _unreadable(file: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{file}: the safetensors header cannot be read: {error!r}"[:300], hint=_AGAIN
    )


def _read_header(file: Path) -> dict[str, StoredTensor]:
    header, length, size = _parse_header(file)
    try:
        tensors = {
            name: _entry(name, entry) for name, entry in header.items() if name != "__metadata__"
        }
    except ValueError as error:
        raise _unreadable(file, error) from error
    end = max((stop for *_, stop in tensors.values()), default=0)
    if size != 8 + length + end:
        raise CheckpointError(f"{file}: expected {8 + length + end} bytes, got {size}", hint=_AGAIN)
    for name, (dtype, shape, start, stop) in tensors.items():
        bits = _BITS.get(dtype)
        if bits is not None and stop - start != math.prod(shape) * bits // 8:
            raise CheckpointError(
                f"{file}: `{name}`: expected {math.prod(shape) * bits // 8} bytes for "
                f"{dtype} {list(shape)}, got {stop - start}",
                hint=_AGAIN,
            )
    ordered = sorted(tensors.items(), key=lambda item: item[1][2])
    return {
        name: StoredTensor(file, dtype, shape, stop - start, 8 + length + start)
        for name, (dtype, shape, start, stop) in ordered
    }
