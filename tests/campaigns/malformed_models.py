"""Models with something wrong in one of their files: configs, weights, tokenizers, GGUF."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from campaigns.forks import Trial, succeeds
from campaigns.mutations import (
    JSON_VALUES,
    LONG,
    broken_bytes,
    gguf_bytes,
    json_places,
    replaced_json,
    typed_pairs,
)
from campaigns.seeds import copy_model

__all__ = ["models"]

_SCORE = ["--max-length", "64", "--stride", "64", "--limit", "2", "--out", "run", "-q", "--json"]
_QUANTIZATIONS = {
    "gptq": {"bits": 4, "group_size": 32, "desc_act": False, "sym": True},
    "awq": {"bits": 4, "group_size": 32, "version": "gemm", "zero_point": True},
    "compressed-tensors": {"format": "pack-quantized", "config_groups": {"group_0": {
        "targets": ["Linear"], "weights": {"num_bits": 4, "type": "int", "group_size": 32}}}},
    "fp8": {"weight_block_size": [128, 128]},
    "bitsandbytes": {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"},
    "hqq": {"quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
    "torchao": {"quant_type": {"default": {"_type": "Int4WeightOnlyConfig", "_data": {}}}},
    "modelopt": {"quantization": {"quant_algo": "FP8"}},
    "exl3": {"bits": 4.0, "head_bits": 6},
    "auto-round": {"bits": 4, "group_size": 32, "packing_format": "auto_round:auto_gptq"},
    "mxfp4": {"modules_to_not_convert": []},
    "mlx": {"bits": 4, "group_size": 64},
}  # fmt: skip


def models(dice: random.Random, scale: int) -> Iterator[Trial]:
    """Trials, some hundred for each unit of `scale`."""
    yield from _valid()
    yield from _configs(dice, 75 * scale)
    yield from _quantizations(dice, 30 * scale)
    yield from _weights(dice, 40 * scale)
    yield from _tokenizers(dice, 45 * scale)
    yield from _ggufs(dice, 75 * scale)


def _valid() -> Iterator[Trial]:
    """What is not changed must be read, else what is changed says nothing."""
    for name in ("model", "gpt2", "model.gguf"):

        def prepare(folder: Path, seeds: Path, name: str = name) -> list[str]:
            _with_text(folder, seeds)
            return _score(str(seeds / name))

        yield Trial(f"valid: {name}", prepare, after=succeeds)


def _score(model: str) -> list[str]:
    return ["perplexity", model, "--corpus", "./text.txt", *_SCORE]


def _with_text(folder: Path, seeds: Path) -> None:
    (folder / "text.txt").write_bytes((seeds / "text.txt").read_bytes())


def _changed(name: str, file: str, change: Callable[[bytes], bytes], model: str = "model") -> Trial:
    """A model with one file changed."""

    def prepare(folder: Path, seeds: Path) -> list[str]:
        _with_text(folder, seeds)
        path = copy_model(seeds, folder, model) / file
        path.write_bytes(change(path.read_bytes() if path.is_file() else b""))
        return _score("./broken")

    return Trial(name, prepare)


def _json_change(at: tuple[Any, ...], raw: str | None) -> Callable[[bytes], bytes]:
    return lambda data: replaced_json(json.loads(data or b"{}"), at, raw).encode()


_KEYS = {
    "model": (
        "hidden_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers",
        "intermediate_size", "head_dim", "vocab_size", "max_position_embeddings", "rms_norm_eps",
        "rope_parameters", "rope_scaling", "rope_theta", "hidden_act", "bos_token_id",
        "eos_token_id", "pad_token_id", "tie_word_embeddings", "model_type", "architectures",
        "attention_bias",
        "mlp_bias", "dtype", "torch_dtype", "attention_dropout", "initializer_range", "use_cache",
        "auto_map", "quantization_config", "text_config", "layer_types", "transformers_version",
        "pretraining_tp", "name_or_path", "id2label",
    ),
    "gpt2": (
        "n_embd", "n_head", "n_layer", "n_positions", "n_inner", "vocab_size",
        "layer_norm_epsilon", "activation_function", "scale_attn_weights", "n_ctx",
    ),
}  # fmt: skip
_ROPE = (
    '{"rope_type": "yarn"}', '{"rope_type": "linear", "factor": 0, "rope_theta": 1e4}',
    '{"rope_type": "llama3", "rope_theta": 1e4}', '{"rope_type": "nobody", "rope_theta": 1e4}',
    '{"rope_type": "default", "rope_theta": NaN}', '{"rope_type": "default", "rope_theta": -1}',
    '{"rope_type": "default", "rope_theta": 0}', '{"rope_type": "default", "rope_theta": "x"}',
    '{"rope_type": "dynamic", "factor": "x", "rope_theta": 1e4}', '{"full_attention": {}}',
    '{"rope_type": "longrope", "short_factor": [], "long_factor": [], "rope_theta": 1e4}',
    '{"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": 0.33}',
    '{"rope_type": "default", "rope_theta": 1e4, "partial_rotary_factor": -1}',
)  # fmt: skip


def _configs(dice: random.Random, count: int) -> Iterator[Trial]:
    pairs = [
        (model, key, raw)
        for model, keys in _KEYS.items() for key in keys for raw in (None, *JSON_VALUES)
    ]  # fmt: skip
    pairs += [("model", "rope_parameters", raw) for raw in _ROPE]
    pairs += [("model", "model_type", f'"{kind}"') for kind in (
        "gpt2", "mixtral", "qwen3_moe", "mamba", "deepseek_v3", "gemma3", "llama4", "t5", "bert",
        "falcon_h1", "gpt_oss", "whisper", "clip", "qwen2_vl", "nobody")]  # fmt: skip
    for model, key, raw in dice.sample(pairs, min(count, len(pairs))):
        shown = "removed" if raw is None else raw[:30]
        yield _changed(f"config: {model} {key} {shown}", "config.json",
                       _json_change((key,), raw), model)  # fmt: skip
    for name, change in _WHOLE.items():
        yield _changed(f"config: {name}", "config.json", change)


_WHOLE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "a list": lambda data: b"[1]",
    "deep": lambda data: data[:-2] + b', "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": lambda data: data[:-2] + b', "x": ' + b'{"a":' * 900 + b"1" + b"}" * 901,
    "cut": lambda data: data[:100],
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "byte order mark": lambda data: b"\xef\xbb\xbf" + data,
    "Latin-1": lambda data: data.replace(b"silu", b"sil\xfc"),
    "a surrogate in a key": lambda data: data[:-2] + b', "\\ud800": 1}',
    "an unknown key of 5,000 characters": lambda data: data[:-2] + f', "{LONG}": 1}}'.encode(),
    "16 MB": lambda data: data[:-2] + b', "x": "' + b"x" * (16 << 20) + b'"}',
    "a pickle": lambda data: b"\x80\x04N.",
}


def _quantizations(dice: random.Random, count: int) -> Iterator[Trial]:
    pairs = [
        (method, at, raw)
        for method, values in _QUANTIZATIONS.items()
        for at in [("quant_method",), *json_places(values)]
        for raw in (None, *JSON_VALUES)
        if not (at == ("quant_method",) and raw is None)
    ]
    for method, at, raw in dice.sample(pairs, min(count, len(pairs))):
        values = {"quant_method": method, **_QUANTIZATIONS[method]}
        text = replaced_json(values, at, raw)

        def change(data: bytes, text: str = text) -> bytes:
            return data[:-2] + f', "quantization_config": {text}}}'.encode()

        place = ".".join(map(str, at))
        yield _changed(f"quantization: {method} {place} {str(raw)[:30]}", "config.json", change)


# Weights ----------------------------------------------------------------------------------


def _header(data: bytes) -> tuple[dict[str, Any], bytes]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def _with_header(text: bytes, rest: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text + rest


def _weights(dice: random.Random, count: int) -> Iterator[Trial]:
    for number in range(count // 3):
        seed = dice.randrange(1 << 30)
        yield _changed(f"safetensors: bytes {number} {seed}", "model.safetensors",
                       lambda data, seed=seed: broken_bytes(data, random.Random(seed))[1])  # type: ignore[misc]  # fmt: skip
    for number in range(count // 3):
        seed = dice.randrange(1 << 30)

        def change(data: bytes, seed: int = seed) -> bytes:
            own, (header, rest) = random.Random(seed), _header(data)
            at = own.choice(list(json_places(header)))
            raw = own.choice((None, *JSON_VALUES, '"BF16"', '"F64"', '"I32"', '"U8"', "[0, 4]"))
            return _with_header(replaced_json(header, at, raw).encode(), rest)

        yield _changed(f"safetensors: header {number} {seed}", "model.safetensors", change)
    whole: dict[str, bytes] = {
        "length of 2**63": struct.pack("<Q", 1 << 63),
        "length of a terabyte": struct.pack("<Q", 1 << 40) + bytes(100),
        "empty header": _with_header(b"{}", b""), "a list": _with_header(b"[]", b""),
        "deep": _with_header(b"[" * 100_000, b""), "NaN": _with_header(b"NaN", b""),
        "a name of 5,000 characters": _with_header(
            json.dumps({LONG: {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode(),
            bytes(4)),
    }  # fmt: skip
    for name, data in whole.items():
        yield _changed(f"safetensors: {name}", "model.safetensors", lambda _, data=data: data)  # type: ignore[misc]
    yield _changed("safetensors: NaN in the data", "model.safetensors",
                   lambda data: data[:-4000] + b"\xff" * 4000)  # fmt: skip
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "model.safetensors"}}
    for raw in dice.sample(JSON_VALUES, min(len(JSON_VALUES), max(count // 4, 3))):
        for at in (("weight_map",), ("weight_map", "model.norm.weight")):

            def prepare(
                folder: Path, seeds: Path, at: tuple[str, ...] = at, raw: str = raw
            ) -> list[str]:
                _with_text(folder, seeds)
                model = copy_model(seeds, folder)
                (model / "model.safetensors").rename(model / "model-00001-of-00001.safetensors")
                path = model / "model.safetensors.index.json"
                path.write_text(replaced_json(index, at, raw))
                return _score("./broken")

            yield Trial(f"index: {at[-1]} {raw[:30]}", prepare)


# Tokenizers -------------------------------------------------------------------------------


def _tokenizers(dice: random.Random, count: int) -> Iterator[Trial]:
    for number in range(count // 3):
        seed = dice.randrange(1 << 30)

        def change(data: bytes, seed: int = seed) -> bytes:
            own, value = random.Random(seed), json.loads(data)
            # All but the vocabulary's entries, which are most places.
            places = [at for at in json_places(value) if len(at) < 3 or own.random() < 0.02]
            raw = own.choice((None, *JSON_VALUES))
            return replaced_json(value, own.choice(places), raw).encode()

        yield _changed(f"tokenizer: json {number} {seed}", "tokenizer.json", change)
    for number in range(count // 6):
        seed = dice.randrange(1 << 30)
        yield _changed(f"tokenizer: bytes {number} {seed}", "tokenizer.json",
                       lambda data, seed=seed: broken_bytes(data, random.Random(seed))[1])  # type: ignore[misc]  # fmt: skip
    keys = [("tokenizer_config.json", key) for key in (
        "tokenizer_class", "bos_token", "eos_token", "unk_token", "pad_token", "chat_template",
        "model_max_length", "add_bos_token", "added_tokens_decoder", "additional_special_tokens",
        "auto_map", "padding_side", "extra_special_tokens", "clean_up_tokenization_spaces",
    )]  # fmt: skip
    keys += [("generation_config.json", key) for key in ("eos_token_id", "bos_token_id", "x")]
    keys += [("special_tokens_map.json", key) for key in ("bos_token", "eos_token", "x")]
    keys += [("added_tokens.json", key) for key in ("<x>", "<s>")]
    pairs = [(file, key, raw) for file, key in keys for raw in JSON_VALUES]
    for file, key, raw in dice.sample(pairs, min(count // 2, len(pairs))):
        yield _changed(f"tokenizer: {file} {key} {raw[:30]}", file, _json_change((key,), raw))


# GGUF -------------------------------------------------------------------------------------

_GGUF_VALUES: tuple[tuple[str, Any], ...] = (
    ("u32", 0), ("u32", 1), ("u32", 3), ("u32", 7), ("u32", 64), ("u32", 63), ("u32", 1_000_000),
    ("u32", 4294967295), ("i32", -1), ("u64", 1 << 63), ("i64", -(1 << 62)), ("f32", float("nan")),
    ("f32", float("inf")), ("f32", -1.0), ("f32", 0.0), ("f64", 1e300), ("bool", True),
    ("str", "x"), ("str", ""), ("str", LONG), ("str", b"\xff\xfe"), ("str", "\0"), ("array", []),
    ("array", [4, 4]), ("array", [4, 3]), ("array", ["x"]), ("array", [1.5]), ("u8", 255),
    ("raw", struct.pack("<IIQ", 9, 9, 1)), ("raw", struct.pack("<IIQ", 9, 4, 1 << 60)),
    ("raw", struct.pack("<I", 77)), ("raw", struct.pack("<IQ", 8, 1 << 62)),
)  # fmt: skip
_GGUF_KEYS = (
    "llama.block_count", "llama.embedding_length", "llama.attention.head_count",
    "llama.attention.head_count_kv", "llama.feed_forward_length", "llama.context_length",
    "llama.attention.layer_norm_rms_epsilon", "llama.rope.freq_base", "llama.rope.dimension_count",
    "general.architecture", "general.alignment", "general.file_type", "tokenizer.ggml.model",
    "tokenizer.ggml.pre", "tokenizer.ggml.tokens", "tokenizer.ggml.token_type",
    "tokenizer.ggml.merges", "tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
    "tokenizer.ggml.add_bos_token", "llama.vocab_size", "split.count", "split.tensors.count",
    "llama.rope.scaling.type", "llama.rope.scaling.factor", "llama.expert_count",
    "tokenizer.chat_template", "llama.nextn_predict_layers", "llama.attention.key_length",
    "tokenizer.ggml.scores", "general.name", "llama.x", "quantize.imatrix.dataset",
)  # fmt: skip


def _ggufs(dice: random.Random, count: int) -> Iterator[Trial]:
    pairs = [(key, kind, value) for key in _GGUF_KEYS for kind, value in
             (*_GGUF_VALUES, ("removed", None))]  # fmt: skip
    for key, kind, value in dice.sample(pairs, min(2 * count // 3, len(pairs))):
        yield _gguf(f"gguf: {key} {kind} {str(value)[:30]}", _metadata_change(key, kind, value))
    for number in range(count // 6):
        seed = dice.randrange(1 << 30)
        yield _gguf(f"gguf: tensors {number} {seed}", _tensor_change(seed))
    for number in range(count // 6):
        seed = dice.randrange(1 << 30)
        yield _gguf(f"gguf: bytes {number} {seed}", _bytes_change(seed))


def _gguf(name: str, change: Callable[[Path], bytes]) -> Trial:
    def prepare(folder: Path, seeds: Path) -> list[str]:
        _with_text(folder, seeds)
        (folder / "broken.gguf").write_bytes(change(seeds / "model.gguf"))
        return _score("./broken.gguf")

    return Trial(name, prepare)


def _parts(file: Path) -> tuple[dict[str, tuple[str, Any]], list[Any], bytes]:
    from bitloss.formats.gguf.header import read_header

    header, whole = read_header(file), file.read_bytes()
    base = min(tensor.offset for tensor in header.tensors)
    infos = [(t.name.encode(), list(reversed(t.shape)), {"F32": 0, "F16": 1}[t.type],
              t.offset - base) for t in header.tensors]  # fmt: skip
    return typed_pairs(header.metadata), infos, whole[base:]


def _metadata_change(key: str, kind: str, value: Any) -> Callable[[Path], bytes]:
    def change(file: Path) -> bytes:
        pairs, infos, data = _parts(file)
        if kind == "removed":
            pairs.pop(key, None)
        else:
            pairs[key] = (kind, value)
        return gguf_bytes(pairs, infos, data)

    return change


def _tensor_change(seed: int) -> Callable[[Path], bytes]:
    def change(file: Path) -> bytes:
        own, (pairs, infos, data) = random.Random(seed), _parts(file)
        at = own.randrange(len(infos))
        name, dims, kind, offset = infos[at]
        odd = own.choice((0, 1, 31, 32, 33, 1 << 31, 1 << 40, (1 << 64) - 1))
        what = own.randrange(7)
        if what == 0:
            infos[at] = (own.choice((b"", b"x", LONG.encode(), b"\xff", name + b"x")), dims, kind,
                         offset)  # fmt: skip
        elif what == 1:
            dims = [*dims]
            dims[own.randrange(len(dims))] = odd
            infos[at] = (name, dims, kind, offset)
        elif what == 2:
            infos[at] = (name, own.choice(([], dims * 2, dims[::-1], [1] * 9)), kind, offset)
        elif what == 3:
            infos[at] = (name, dims, own.choice((1, 2, 8, 12, 16, 30, 39, 99, 1 << 31)), offset)
        elif what == 4:
            infos[at] = (name, dims, kind, odd)
        elif what == 5:
            del infos[at]
        else:
            infos.append(infos[at])
        counts = (len(infos), own.choice((len(pairs), 1 << 40, 0))) if own.random() < 0.2 else None
        return gguf_bytes(pairs, infos, data, counts=counts, version=own.choice((3, 3, 3, 2, 1, 9)))

    return change


def _bytes_change(seed: int) -> Callable[[Path], bytes]:
    return lambda file: broken_bytes(file.read_bytes(), random.Random(seed))[1]
