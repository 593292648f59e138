"""GGUF files whose tensors have types of the user's choice: llama-quantize's ``--tensor-type``.

    blk\\.(0|1)\\.ffn_down\\.weight=q6_k

A pattern is searched for in llama.cpp's name of a tensor; the first that is found decides. Where a
type's blocks do not fit a tensor's rows, llama.cpp takes another type, as it does for file types
(src/llama-quant.cpp, ``tensor_type_fallback``); `stored_tensors` reads back what a file has.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.errors import MissingDependency, UnknownName
from bitloss.formats.gguf.checkpoint import GgufCheckpoint
from bitloss.quantizers.cache import cache_directory, get_or_create
from bitloss.quantizers.llama_cpp import GGUF, GgufOutput, run_worker
from bitloss.quantizers.model_files import digest_settings
from bitloss.quantizers.workers import Workers
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import Progress

__all__ = [
    "TENSOR_TYPES",
    "StoredType",
    "TypedFile",
    "make_all_typed",
    "make_typed",
    "stored_types",
]

TENSOR_TYPES = ("q8_0", "q6_k", "q5_k", "q4_k", "q3_k", "q2_k")
"""ggml's types that no importance matrix is needed for, the largest first."""

_SCHEMA = 2
_ALIGNMENT = 32  # of tensors in a file (ggml/include/gguf.h)


@dataclass(frozen=True, slots=True)
class TypedFile:
    """What `make_typed` makes.

    Attributes:
        file_type: what llama.cpp is asked for besides, and what the file says of itself.
        types: patterns and ggml types, in the order in which they are tried.
        name: of the file, without its ending.
    """

    file_type: str
    types: tuple[tuple[str, str], ...]
    name: str


@dataclass(frozen=True, slots=True)
class StoredType:
    """How a file has a tensor.

    Attributes:
        type: ggml's, as ``q6_k``; the fallback's where the blocks did not fit.
        nbytes: in the file, with what aligns the next tensor.
    """

    type: str
    nbytes: int


def make_typed(
    wanted: TypedFile,
    model: Path,
    *,
    model_digest: str,
    cache: Path | None = None,
    progress: Progress,
    workers: Workers | None = None,
) -> Path:
    """One such file; see `make_all_typed`."""
    (path,) = make_all_typed(
        [wanted],
        model,
        model_digest=model_digest,
        name=wanted.name,
        cache=cache,
        progress=progress,
        workers=workers,
    )
    return path


def make_all_typed(
    wanted: Sequence[TypedFile],
    model: Path,
    *,
    model_digest: str,
    name: str,
    cache: Path | None = None,
    progress: Progress,
    workers: Workers | None = None,
) -> tuple[Path, ...]:
    """The files, from the cache or made now, in one process: the model is written as an unquantized
    GGUF once.

    Args:
        wanted: types of tensors, of each file.
        model: the unquantized reference: a directory, or a GGUF file.
        model_digest: `ModelInfo.digest` of it.
        name: of all of them together, for people who look into the cache.
        cache: where bitloss keeps things; None reads ``BITLOSS_CACHE``, then uses the user's cache.
        progress: where to report.
        workers: ends the process when it is interrupted; None is its own.

    Raises:
        UnknownName: a type that cannot be asked for here.
        BitlossError: see `bitloss.quantizers.llama_cpp.quantize`.
    """
    for one in wanted:
        for _, kind in one.types:
            if kind not in TENSOR_TYPES:
                raise UnknownName("tensor type", kind, TENSOR_TYPES)
    for package in GGUF.missing_packages():
        raise MissingDependency(package, "GGUF files with types of tensors", extra=GGUF.extra)
    facts: dict[str, Any] = {
        "kind": "tensor types",
        "schema": _SCHEMA,
        "model_digest": model_digest,
        "model_files": digest_settings(model),
        "versions": GGUF.versions(),
        "files": [
            {"name": one.name, "file_type": one.file_type, "types": [list(p) for p in one.types]}
            for one in wanted
        ],
    }

    def make(out: Path) -> dict[str, Any]:
        began = time.monotonic()
        run_worker(
            [GgufOutput(one.file_type, one.types, one.name) for one in wanted],
            model,
            out,
            label=f"{name} of {model.name}",
            progress=progress,
            workers=workers or Workers(),
        )
        return {**facts, "seconds": round(time.monotonic() - began, 1)}

    folder = get_or_create(
        cache_directory(cache), f"gguf-{name}", fingerprint(facts), make, progress=progress
    )
    return tuple(folder / f"{one.name}.gguf" for one in wanted)


def stored_types(checkpoint: GgufCheckpoint) -> Mapping[str, StoredType]:
    """How a file has its tensors, by llama.cpp's names."""
    return {
        name: StoredType(
            tensor.type.lower(), -(-tensor.nbytes // _ALIGNMENT) * _ALIGNMENT
        )
        for name, tensor in checkpoint.files.tensors.items()
    }  # fmt: skip
