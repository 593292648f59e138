"""Does a GGUF file say all of a model? Its headers, read back, must give the model's own config.

Reading is checked against llama.cpp's converter for every family. So a file whose metadata and
shapes are read as the source's config, and whose positions have the source's frequencies, is of the
same model; whatever the metadata leaves out (another activation, a bias, a scale) shows as a
difference and is refused by its name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss.errors import Incomparable, UnsupportedModel
from bitloss.files import scratch_folder
from bitloss.formats.configs.matching import ModelConfig, compare_configs
from bitloss.formats.gguf.checkpoint import GgufCheckpoint, checkpoint_of
from bitloss.formats.gguf.files import GgufFiles
from bitloss.formats.gguf.header import StoredTensor
from bitloss.quantizers.gguf_metadata import CONVERT_INSTEAD

if TYPE_CHECKING:
    from bitloss.quantizers.gguf_source import GgufSource

__all__ = ["require_same_model", "window_note"]

# llama.cpp knows no window for them, and its converter writes none: a context beyond the window
# is attended to in full.
_WINDOWLESS = ("qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "starcoder2")
_WINDOW = ("layer_types", "sliding_window", "use_sliding_window", "max_window_layers")


def window_note(config: Mapping[str, Any]) -> str:
    """What a reader of results should know of a window that the file cannot have; "" for none."""
    kind, window = config.get("model_type"), config.get("sliding_window")
    context = config.get("max_position_embeddings") or 0
    unused = config.get("use_sliding_window", kind == "starcoder2") is False
    if kind not in _WINDOWLESS or not window or unused or window >= context:
        return ""
    return (
        f"llama.cpp knows no sliding window for {kind}: tokens beyond {window} are attended to in "
        "full"
    )


def require_same_model(source: GgufSource) -> None:
    """Compare a model with what its GGUF file will be read as; no weight is read.

    Raises:
        UnsupportedModel: the file cannot say something of the model.
        CheckpointError: parameters are missing.
    """
    with scratch_folder() as folder:
        read = _read_back(source, folder)
        missing = sorted(set(read.names()) ^ set(source.parameters))
        if missing:
            raise UnsupportedModel(
                f"{source.path}: parameter `{missing[0]}` is in only one of the model and its GGUF "
                "file" + (f", and {len(missing) - 1} more" if len(missing) > 1 else ""),
                hint=CONVERT_INSTEAD,
            )
        # Only here, while the factors of the rope are there to be read.
        _require_same_config(source, read)


def _read_back(source: GgufSource, folder: Path) -> GgufCheckpoint:
    """The checkpoint that the file will be, without its weights."""
    place = folder / "factors"
    tensors: dict[str, StoredTensor] = {}
    with place.open("wb") as file:
        for name, tensor in source.factors().items():
            data = tensor.numpy().tobytes()
            tensors[name] = StoredTensor(
                name, "F32", tuple(tensor.shape), place, file.tell(), len(data)
            )
            file.write(data)
    for name in source.parameters:
        for stored, shape in zip(
            source.stored_names(name), source.stored_shapes(name), strict=True
        ):
            if stored in tensors:
                raise UnsupportedModel(
                    f"{source.path}: `{stored}` is made of several parameters, `{name}` the last",
                    hint=CONVERT_INSTEAD,
                )
            tensors[stored] = StoredTensor(stored, "F32", shape, place, 0, 4 * math.prod(shape))
    arch = source.family.arch
    values = {f"{arch}.{key}": value for key, value in source.metadata.items()}
    files = GgufFiles((source.path,), {"general.architecture": arch, **values}, tensors)
    return checkpoint_of(files, str(source.path))


def _require_same_config(source: GgufSource, read: GgufCheckpoint) -> None:
    """Every value that is computed with; what the file leaves out has its class's default."""
    rope = getattr(source.config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "dynamic":  # the same frequencies up to the context, not beyond
        raise UnsupportedModel(
            f"{source.path}: a GGUF file cannot store `rope_parameters` with type `dynamic`",
            hint=CONVERT_INSTEAD,
        )
    dropped = _WINDOW if source.config.model_type in _WINDOWLESS else ()
    sides = (
        ModelConfig(name, {k: v for k, v in values.items() if k not in dropped}, names)
        for name, values, names in (
            (str(source.path), source.checkpoint.config, tuple(source.parameters)),
            (f"its GGUF file (`{source.family.arch}`)", read.config, read.names()),
        )
    )
    try:
        compare_configs(*sides)
    except Incomparable as error:
        raise UnsupportedModel(
            f"{source.path}: GGUF cannot store all of the config: {error.message}"[:400],
            hint=CONVERT_INSTEAD,
        ) from error
