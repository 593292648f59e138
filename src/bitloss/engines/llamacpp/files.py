"""The GGUF file that a candidate is run from: its own, or one written of an unquantized model."""

from __future__ import annotations

from pathlib import Path

from bitloss.engines.values import Candidate, Cost, Model
from bitloss.errors import QuantizationError, UnsupportedModel
from bitloss.formats.gguf.files import find_file
from bitloss.quantizers import make_variant
from bitloss.quantizers.base import quantizer_of
from bitloss.spec.recipe import parse_recipe
from bitloss.types import ModelInfo, SilentProgress

__all__ = ["found_file", "gguf_file", "written_file"]

# Bits of a weight that is stored as it was trained.
_DENSE_BITS = 16
# Models that are written in float32: their products are then computed as exactly as the
# reference's, and what differs is the runtime alone. Larger ones keep the type they are stored in.
_FLOAT32_PARAMETERS = 2_000_000_000


def gguf_file(candidate: Candidate) -> Path:
    """The file; of an unquantized model in another format one is written once, and kept where
    made variants are.

    Raises:
        UnsupportedModel: a quantized model in another format, or one that no GGUF can be made of.
        StorageError: the cache cannot be written.
    """
    model = candidate.model
    file = found_file(candidate)
    if file is not None:
        return file
    info = model.identity.info
    assert model.path is not None, "a model without files was refused"
    try:
        return make_variant(
            parse_recipe(f"gguf-{_kind(info)}"),
            model.path,
            model_digest=info.digest,
            data=None,
            cache=model.cache,
            progress=SilentProgress(),
        )
    except (QuantizationError, UnsupportedModel) as error:
        raise UnsupportedModel(
            f"{model.name}: no GGUF file can be made for engine `llama.cpp`: {error.message}",
            hint=error.hint,
        ) from error


def found_file(candidate: Candidate) -> Path | None:
    """The model's own GGUF file; None for an unquantized model of which one can be made.

    Raises:
        UnsupportedModel: a quantized model in another format, or one without files.
    """
    model = candidate.model
    file = None if model.path is None else find_file(model.path)
    if file is None and (model.path is None or not _is_dense(model.identity.info)):
        raise UnsupportedModel(
            f"{model.name}: engine `llama.cpp` expected a GGUF file, got "
            f"{model.identity.info.format}",
            hint="leave this variant out, make a GGUF with `bitloss quantize MODEL out.gguf "
            "--recipe gguf-q8_0`, or use --engine dense",
        )
    return file


def written_file(model: Model) -> Cost | None:
    """See `bitloss.engines.base.Engine.written_file`."""
    info = model.identity.info
    if model.path is None or find_file(model.path) is not None or not _is_dense(info):
        return None
    kind = _kind(info)
    pace = quantizer_of(parse_recipe(f"gguf-{kind}")).seconds_per_million
    return Cost(
        seconds=None if pace is None else pace * info.parameters / 1e6,
        disk_bytes=info.parameters * (4 if kind == "f32" else 2),
    )


def _kind(info: ModelInfo) -> str:
    return "f32" if info.parameters <= _FLOAT32_PARAMETERS else _stored_type(info)


def _is_dense(info: ModelInfo) -> bool:
    return info.bits >= _DENSE_BITS and info.group_size is None


def _stored_type(info: ModelInfo) -> str:
    return next((kind for kind in ("bf16", "f16") if info.format.endswith(kind)), "f16")
