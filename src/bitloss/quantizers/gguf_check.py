"""Does a GGUF file say all of a model? Its headers, read back, must give the model's own config.

Reading is checked against llama.cpp's converter for every family. So a file whose metadata and
shapes are read as the source's config, and whose positions have the source's frequencies, is of the
same model; whatever the metadata leaves out (another activation, a bias, a scale) shows as a
difference and is refused by its name.
"""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss.errors import UnsupportedModel
from bitloss.formats.gguf.checkpoint import GgufCheckpoint, checkpoint_of
from bitloss.formats.gguf.files import GgufFiles
from bitloss.formats.gguf.header import StoredTensor

if TYPE_CHECKING:
    from bitloss.quantizers.gguf_source import GgufSource

__all__ = ["require_same_model", "window_note"]

# Of training, of generating, of the file, and of other heads than the language model's.
_WITHOUT_EFFECT = re.compile(
    r"drop|pdrop|_token_id$|^(architectures|dtype|torch_dtype|transformers_version|use_cache|"
    r"initializer_range|initializer_std|init_\w+|router_aux_loss_coef|aux_loss_alpha|seq_aux|"
    r"output_router_logits|router_jitter_noise|input_jitter_noise|pretraining_tp|id2label|"
    r"label2id|problem_type|return_dict|output_attentions|output_hidden_states|"
    r"chunk_size_feed_forward|is_encoder_decoder|summary_\w+|_name_or_path|tokenizer_class|"
    r"_attn_implementation\w*|rope_parameters|rope_scaling|rope_theta|ep_size|"
    r"classifier_\w+|hidden_dropout|vocab_size_per_layer_input|tie_word_embeddings|"
    # What layers do is in `layer_types` and `no_rope_layers`; these make them.
    r"sliding_window_pattern|_sliding_window_pattern|no_rope_layer_interval|"
    r"partial_rotary_factor|original_max_position_embeddings)$"
)
# llama.cpp knows no window for them, and its converter writes none: a context beyond the window
# is attended to in full.
_WINDOWLESS = ("qwen2", "qwen3", "qwen2_moe", "qwen3_moe", "starcoder2")
_WINDOW = ("layer_types", "sliding_window", "use_sliding_window", "max_window_layers")
# Falcon's new decoder has no use for the old one's flag; how many norms there are, tensors say.
_FALCON = ("multi_query", "num_ln_in_parallel_attn")
_ELSEWHERE = (
    "convert the model with llama.cpp's convert_hf_to_gguf.py, which may know how, and give the "
    ".gguf file as the reference"
)


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
    from transformers import AutoConfig

    with tempfile.TemporaryDirectory(prefix="bitloss-") as folder:
        read = _read_back(source, Path(folder))
        # Only here, while the factors of the rope are there to be read.
        config = AutoConfig.for_model(**read.config)
    missing = sorted(set(read.names()) ^ set(source.parameters))
    if missing:
        raise UnsupportedModel(
            f"{source.path}: parameter `{missing[0]}` is in one of the model and its GGUF file only"
            + (f", and {len(missing) - 1} more" if len(missing) > 1 else ""),
            hint=_ELSEWHERE,
        )
    _require_same_config(source, config)
    _require_same_rope(source, config)


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
                    hint=_ELSEWHERE,
                )
            tensors[stored] = StoredTensor(stored, "F32", shape, place, 0, 4 * math.prod(shape))
    arch = source.family.arch
    values = {f"{arch}.{key}": value for key, value in source.metadata.items()}
    files = GgufFiles((source.path,), {"general.architecture": arch, **values}, tensors)
    return checkpoint_of(files, str(source.path))


def _require_same_config(source: GgufSource, read: Any) -> None:
    ours, theirs = source.config.to_dict(), read.to_dict()
    if ours.get("model_type") != theirs["model_type"] and not _is_plain_mistral(ours, theirs):
        raise _lost(source, "model_type", ours.get("model_type"), theirs["model_type"])
    known = type(read)().to_dict()  # a config may carry keys that its model does not read
    for key, value in theirs.items():
        if key not in known or _WITHOUT_EFFECT.search(key) or key == "model_type":
            continue
        own = ours.get(key)
        if not _same(own, value) and not _implied(key, own, value, source):
            raise _lost(source, key, own, value)


def _is_plain_mistral(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> bool:
    """Without a window, Mistral is Llama."""
    return (ours["model_type"], theirs["model_type"]) == ("mistral", "llama") and not ours.get(
        "sliding_window"
    )


def _implied(key: str, own: Any, read: Any, source: GgufSource) -> bool:
    """Whether what the source says, or leaves out, means what is read."""
    config = source.config
    if key in _WINDOW and config.model_type in _WINDOWLESS:
        return True
    if key == "sliding_window" and not _has_windows(config):
        return True
    if key in _FALCON and config.model_type == "falcon":
        return bool(config.new_decoder_architecture) or own is None
    if own is not None:
        return False
    width = config.hidden_size // config.num_attention_heads
    usual = {**source.heads(), "n_inner": 4 * config.hidden_size, "head_dim": width}
    return read is False or bool(usual.get(key) == read and key in usual)


def _has_windows(config: Any) -> bool:
    kinds = getattr(config, "layer_types", None)
    return kinds is None or "sliding_attention" in kinds


def _same(own: Any, read: Any) -> bool:
    numbers = isinstance(own, int | float) and isinstance(read, int | float)
    if numbers and not isinstance(own, bool) and not isinstance(read, bool):
        return math.isclose(own, read, rel_tol=1e-6)
    return bool(own == read)


def _require_same_rope(source: GgufSource, read: Any) -> None:
    """Compare the frequencies of positions and the scale of attention, of each kind of layers."""
    import torch

    rope = getattr(source.config, "rope_parameters", None) or {}
    if rope.get("rope_type") == "dynamic":  # the same frequencies up to the context, not beyond
        raise _lost(source, "rope_parameters", rope, read.rope_parameters)
    for kind in (None, "full_attention", "sliding_attention"):
        ours, theirs = _frequencies(source.config, kind), _frequencies(read, kind)
        if ours is None and theirs is None:
            continue
        if (
            ours is None
            or theirs is None
            or ours[0].shape != theirs[0].shape
            or not torch.allclose(ours[0], theirs[0], rtol=1e-5, atol=0)
            or not math.isclose(ours[1], theirs[1], rel_tol=1e-6)
        ):
            raise _lost(
                source, "rope_parameters", source.config.rope_parameters, read.rope_parameters
            )


def _frequencies(config: Any, kind: str | None) -> tuple[Any, float] | None:
    """Frequencies and scale; None where there are none of this kind of layers."""
    import torch
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    rope = getattr(config, "rope_parameters", None)
    if not rope or ("full_attention" in rope) != (kind is not None):
        return None
    own = rope if kind is None else rope[kind]
    name = own.get("rope_type", "default")
    if name != "default":
        options = {} if kind is None else {"layer_type": kind}
        found: tuple[Any, float] = ROPE_INIT_FUNCTIONS[name](
            config, device=torch.device("cpu"), **options
        )
        return found[0], float(found[1] or 1.0)
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    turned = int(width * (own.get("partial_rotary_factor") or 1.0))
    exponents = torch.arange(0, turned, 2, dtype=torch.float32) / turned
    return 1.0 / own["rope_theta"] ** exponents, 1.0


def _lost(source: GgufSource, key: str, own: Any, read: Any) -> UnsupportedModel:
    return UnsupportedModel(
        f"{source.path}: a GGUF file of architecture `{source.family.arch}` cannot say "
        f"`{key}` = {own!r}: llama.cpp would take {read!r}"[:400],
        hint=_ELSEWHERE,
    )
