"""The process that carries out a GGUF recipe; see `bitloss.quantizers.llama_cpp`."""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bitloss.errors import QuantizationError
from bitloss.formats.gguf.file_types import FILE_TYPES
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from bitloss.quantizers.imatrix import importance_matrix
from bitloss.quantizers.llama_cpp import GgufOptions
from bitloss.quantizers.workers import serve

__all__ = ["run_job"]

_PROGRESS = re.compile(r"\[\s*(\d+)/\s*\d+\]")
_FAILURE = re.compile(r"failed to quantize: (.+)")


def run_job(spec: Mapping[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
    """Write ``model.gguf``; the spec is what `bitloss.quantizers.llama_cpp.quantize` sends."""
    options, out = GgufOptions(**spec["options"]), Path(spec["out"])
    source = open_source(Path(spec["model"]))
    calibration, tensors = spec["calibration"], len(source.parameters)
    total, done = len(calibration) + 2 * tensors, 0

    def advance(count: int) -> None:
        nonlocal done
        done = min(done + count, total)
        report(done, total)

    metadata: dict[str, str | int] = {}
    imatrix: dict[str, NDArray[np.float32]] = {}
    if options.imatrix:
        imatrix = importance_matrix(source, calibration, advance=advance)
        # The keys of llama-quantize (tools/quantize/quantize.cpp).
        metadata = {
            "quantize.imatrix.dataset": spec["calibration_name"],
            "quantize.imatrix.entries_count": len(imatrix),
            "quantize.imatrix.chunks_count": len(calibration),
        }
    dense, quantized = out / ".dense.gguf", out / ".model.gguf"
    write_gguf(source, dense, metadata=metadata, advance=advance)
    _quantize(dense, quantized, options.file_type, imatrix, spec["threads"], advance)
    dense.unlink()
    quantized.rename(out / "model.gguf")
    return {"tensors": tensors}


def _quantize(
    dense: Path,
    out: Path,
    kind: str,
    imatrix: Mapping[str, NDArray[np.float32]],
    threads: int,
    advance: Callable[[int], None],
) -> None:
    """Run ``llama_model_quantize``; where a type's blocks do not fit, it takes another type."""
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
    params.ftype = FILE_TYPES[kind]
    params.nthread = threads
    entries = _imatrix_entries(llama_cpp, imatrix)
    if imatrix:
        params.imatrix = entries
    status = llama_cpp.llama_model_quantize(
        str(dense).encode(), str(out).encode(), ctypes.byref(params)
    )
    if status != 0:
        reasons = _FAILURE.findall("".join(log))
        raise QuantizationError(
            f"llama.cpp could not make {kind}: {reasons[-1] if reasons else f'status {status}'}"
        )


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
