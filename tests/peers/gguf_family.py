"""A GGUF file of a tiny model, by the inverse of the table that reads it.

The metadata is what llama.cpp's converter wrote for the same model (families.json, recorded by
benchmarks/gguf_families.py), and so is the digest of the tensors: what is written here is the
converter's file, tensor for tensor.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitloss.formats.gguf.families.names import find_source
from bitloss.formats.gguf.families.operations import ROW
from bitloss.formats.gguf.families.table import FAMILIES

__all__ = ["RECORD", "digest", "stored_tensors", "write"]

RECORD: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "formats" / "gguf" / "families" / "families.json").read_text()
)
# Computed in another order, or rounded once more: not the same to the last bit everywhere.
_COMPUTED = (".ssm_a", "rope_freqs.weight")


def stored_tensors(case: str, model: Any) -> dict[str, torch.Tensor]:
    """What a file of the model holds, by llama.cpp's names."""
    config = model.config.to_dict()
    family = FAMILIES[config["model_type"]]
    tied = set(model.all_tied_weights_keys) if config["tie_word_embeddings"] else set()
    found: dict[str, torch.Tensor] = {}
    rows: dict[str, list[torch.Tensor]] = {}
    for name, tensor in model.state_dict().items():
        if name in tied:
            continue
        match = find_source(family, name)
        assert match is not None, name
        source, _ = match
        parts = source.operation.encode(tensor, config)
        if source.operation is ROW:
            rows.setdefault(source.stored[0], []).append(parts[0])
            continue
        found |= dict(zip(source.stored, parts, strict=True))
    found |= {name: torch.stack(parts) for name, parts in rows.items()}
    factors = RECORD[case]["factors"].items()
    return found | {name: torch.tensor(values) for name, values in factors}


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """As `benchmarks/gguf_families.py` takes it of the converter's file."""
    result = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        result.update(f"{name} {list(tensor.shape)}".encode())
        if not name.endswith(_COMPUTED):
            result.update(tensor.contiguous().numpy().tobytes())
    return result.hexdigest()


def write(
    path: Path,
    case: str,
    tensors: dict[str, torch.Tensor],
    metadata: dict[str, Any] | None = None,
) -> Path:
    """Write tensors with a case's metadata, or with other values below the architecture's name."""
    import gguf

    arch = RECORD[case]["arch"]
    writer = gguf.GGUFWriter(path, arch)
    values = RECORD[case]["metadata"] if metadata is None else metadata
    for key, value in values.items():
        _add(writer, f"{arch}.{key}", value)
    for name, tensor in tensors.items():
        writer.add_tensor(name, np.ascontiguousarray(tensor.float().numpy()))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer: Any, key: str, value: Any) -> None:
    if isinstance(value, bool):
        writer.add_bool(key, value)
    elif isinstance(value, int):
        writer.add_uint32(key, value)
    elif isinstance(value, float):
        writer.add_float32(key, value)
    elif isinstance(value, str):
        writer.add_string(key, value)
    else:
        writer.add_array(key, value)
