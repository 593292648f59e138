"""The process that carries out a GGUF recipe; see `bitloss.quantizers.llama_cpp`."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import QuantizationError
from bitloss.formats.gguf.file_types import FILE_TYPES
from bitloss.formats.gguf.files import find_file
from bitloss.quantizers.gguf_given import GivenGguf, open_given
from bitloss.quantizers.gguf_source import GgufSource
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from bitloss.quantizers.imatrix import importance_matrix
from bitloss.quantizers.llama_cpp import GgufOutput
from bitloss.quantizers.workers import serve

__all__ = ["run_job"]

_PROGRESS = re.compile(r"\[\s*(\d+)/\s*\d+\]")
_FAILURE = re.compile(r"failed to quantize: (.+)")


def run_job(spec: Mapping[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
    """Write the files; the spec is what `bitloss.quantizers.llama_cpp.run_worker` sends."""
    outputs, out = [GgufOutput(**one) for one in spec["outputs"]], Path(spec["out"])
    model, calibration = Path(spec["model"]), spec["calibration"]
    given = find_file(model)
    source: GgufSource | GivenGguf
    source = open_source(model) if given is None else open_given(model)
    tensors = source.tensors
    total = len(calibration) + (len(outputs) + (given is None)) * tensors
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        report(done, total)

    metadata: dict[str, str | int] = {}
    imatrix: dict[str, NDArray[np.float32]] = {}
    if calibration:
        imatrix = importance_matrix(source, calibration, advance=advance)
        # The keys of llama-quantize (tools/quantize/quantize.cpp).
        metadata = {
            "quantize.imatrix.dataset": spec["calibration_name"],
            "quantize.imatrix.entries_count": len(imatrix),
            "quantize.imatrix.chunks_count": len(calibration),
        }
    if isinstance(source, GivenGguf):
        dense, lacking = source.first_file, metadata
    else:
        dense, lacking = out / ".dense.gguf", {}
        write_gguf(source, dense, metadata=metadata, advance=advance)
    for one in outputs:
        quantized = out / f".{one.name}.gguf"
        made = _Quantization(one.file_type, imatrix, spec["threads"], one.tensor_types, lacking)
        made.run(dense, quantized, advance)
        quantized.rename(out / f"{one.name}.gguf")
    if not isinstance(source, GivenGguf):
        dense.unlink()
    return {"tensors": tensors}


@dataclass(frozen=True, slots=True)
class _Quantization:
    """What ``llama_model_quantize`` has to do.

    Attributes:
        kind: llama.cpp's file type.
        imatrix: by tensor name; empty without one.
        threads: of the quantizer.
        types: regular expressions for names of tensors, and their ggml types; the first that is
            found decides.
        metadata: key-value pairs that the dense file lacks.
    """

    kind: str
    imatrix: Mapping[str, NDArray[np.float32]]
    threads: int
    types: Sequence[tuple[str, str]] = ()
    metadata: Mapping[str, str | int] = field(default_factory=dict)

    def run(self, dense: Path, out: Path, advance: Callable[[int], None]) -> None:
        """Quantize; where a type's blocks do not fit, llama.cpp takes another type."""
        import llama_cpp

        log: list[str] = []

        @llama_cpp.llama_log_callback  # type: ignore[untyped-decorator]
        def on_log(level: int, text: bytes, user_data: Any) -> None:
            del level, user_data
            line = text.decode(errors="replace")
            log.append(line)
            sys.stderr.write(line)
            if _PROGRESS.match(line):
                advance(1)

        llama_cpp.llama_log_set(on_log, ctypes.c_void_p(0))
        params = llama_cpp.llama_model_quantize_default_params()
        params.ftype = FILE_TYPES[self.kind]
        params.nthread = self.threads
        entries = _imatrix_entries(llama_cpp, self.imatrix)
        if self.imatrix:
            params.imatrix = entries
        overrides = _overrides(llama_cpp, self.metadata)
        if self.metadata:
            params.kv_overrides = overrides
        patterns = _tensor_types(llama_cpp, self.types)
        if self.types:
            params.tt_overrides = patterns
        status = llama_cpp.llama_model_quantize(
            str(dense).encode(), str(out).encode(), ctypes.byref(params)
        )
        if status != 0:
            reasons = _FAILURE.findall("".join(log))
            raise QuantizationError(
                f"llama.cpp could not make {self.kind}: "
                f"{reasons[-1] if reasons else f'status {status}'}"
            )


def _tensor_types(llama_cpp: Any, types: Sequence[tuple[str, str]]) -> Any:
    """The array of ``llama_model_tensor_override`` that ends with an entry without a pattern."""
    from gguf import GGMLQuantizationType

    entries = (llama_cpp.llama_model_tensor_override * (len(types) + 1))()
    for entry, (pattern, kind) in zip(entries, types, strict=False):
        entry.pattern = pattern.encode()
        entry.type = GGMLQuantizationType[kind.upper()].value
    return entries


def _overrides(llama_cpp: Any, metadata: Mapping[str, str | int]) -> Any:
    """The array of ``llama_model_kv_override`` that ends with an entry without a key."""
    entries = (llama_cpp.llama_model_kv_override * (len(metadata) + 1))()
    for entry, (key, value) in zip(entries, metadata.items(), strict=False):
        entry.key = key.encode()
        if isinstance(value, int):
            entry.tag, entry.value.val_i64 = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_INT, value
        else:
            entry.tag = llama_cpp.LLAMA_KV_OVERRIDE_TYPE_STR
            # 128 bytes with the final zero, cut where a character ends.
            entry.value.val_str = value.encode()[:127].decode(errors="ignore").encode()
    return entries


def _imatrix_entries(llama_cpp: Any, imatrix: Mapping[str, NDArray[np.float32]]) -> Any:
    """The array of ``llama_model_imatrix_data`` that ends with an entry without a name."""
    entries = (llama_cpp.llama_model_imatrix_data * (len(imatrix) + 1))()
    for entry, (name, values) in zip(entries, imatrix.items(), strict=False):
        entry.name = name.encode()
        entry.data = values.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        entry.size = len(values)
    return entries


if __name__ == "__main__":
    serve(run_job)
