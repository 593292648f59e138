"""Whether a variant's config describes the computation that the reference's does.

The dense engine runs every model's weights through the reference's graph, and a native runtime
through what its file says. Where the two configs differ in a value that is computed with, the
first would measure another model than the second, and neither would say so.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.errors import Incomparable
from bitloss.formats.configs.parsing import parse_config
from bitloss.formats.configs.rope import describe_difference
from bitloss.formats.configs.values import canonical, decides, flatten, same

__all__ = ["ModelConfig", "compare_configs"]

# These decide the module graph, and are named first: what else differs follows from them.
_SHAPE = (
    "hidden_size", "n_embd", "d_model", "num_hidden_layers", "n_layer", "n_layers",
    "num_attention_heads", "n_head", "n_heads", "num_key_value_heads", "num_kv_heads", "head_dim",
    "intermediate_size", "n_inner", "moe_intermediate_size", "num_experts", "num_local_experts",
    "n_routed_experts", "num_experts_per_tok", "layer_types",
)  # fmt: skip
_SHOWN = 3
_HEAD = re.compile(r"(^|\.)(lm_head|embed_out)\.weight$")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """A model's config, and how much of it is the model's own word.

    Attributes:
        name: the model's, for messages.
        values: transformers config as plain values.
        names: of its parameters.
        implied: keys that its files cannot state and its architecture implies; None where keys
            that are missing have the defaults of transformers' class.
        code: directory of the model's own Python code, if it is trusted.
    """

    name: str
    values: Mapping[str, Any]
    names: Collection[str] = ()
    implied: frozenset[str] | None = None
    code: Path | None = None

    def parse(self) -> tuple[Any, Any]:
        """The config as transformers' class, and the text model's part of it.

        Raises:
            UnsupportedModel: transformers does not know the model type.
        """
        parsed = parse_config(self.values, self.code)
        if self.code is not None:  # the class is the code's, the values are the files'
            parsed = type(parsed).from_dict(dict(self.values))
        return parsed, parsed.get_text_config(decoder=True)


def compare_configs(reference: ModelConfig, variant: ModelConfig) -> tuple[str, ...]:
    """Hold a variant's config against the reference's, every value that is computed with.

    Values are compared as transformers' config class has them, so that defaults and old spellings
    are equal, and after rounding to float32. What a file cannot state is no difference.

    Returns:
        What a reader of the variant's results should know.

    Raises:
        Incomparable: a value differs; names it, and both values.
        UnsupportedModel: transformers does not know a model type.
    """
    (ours, our_text), (theirs, their_text) = reference.parse(), variant.parse()
    kinds = (our_text.model_type, their_text.model_type)
    # llama.cpp knows Mistral as Llama.
    if kinds[0] != kinds[1] and set(kinds) != {"llama", "mistral"}:
        raise _different(reference, variant, {"model_type": kinds})
    _require_own_head(reference, variant, ours, theirs)
    differences: dict[str, tuple[Any, Any]] = {}
    implied: dict[str, tuple[Any, Any]] = {}
    sides = ((reference, our_text), (variant, their_text))
    for path, values in _differences(our_text, their_text).items():
        if not all(_states(side, parsed, path) for side, parsed in sides):
            continue
        key = re.split(r"[.\[]", path, maxsplit=1)[0]
        not_stated = any(side.implied and key in side.implied for side, _ in sides)
        (implied if not_stated else differences)[path] = values
    if differences:
        raise _different(reference, variant, differences)
    return tuple(
        f"its file cannot state `{key}`: llama.cpp takes {_shown(v)}, the reference has {_shown(r)}"
        if variant.implied is not None
        else f"the reference's file cannot state `{key}`: the variant has {_shown(v)}"
        for key, (r, v) in implied.items()
    )


def _states(side: ModelConfig, parsed: Any, path: str) -> bool:
    """Whether the side has a word to say on a value: files of some formats lack keys."""
    if side.implied is None:
        return True
    values: Any = side.values
    for key in path.split(".")[: 1 if path.startswith("rope_parameters") else None]:
        if not isinstance(values, Mapping):
            break
        # A class has other names for some keys (`n_embd` is `hidden_size`).
        other_names = [k for pair in parsed.attribute_map.items() for k in pair if key in pair]
        own = next((k for k in (key.partition("[")[0], *other_names) if k in values), None)
        if own is None:
            return False
        values = values[own]
    return True


def _differences(ours: Any, theirs: Any) -> dict[str, tuple[Any, Any]]:
    """Paths of values that differ, the ones that decide shapes first, and both values."""
    mine, other = canonical(ours), canonical(theirs)
    found: dict[str, tuple[Any, Any]] = {}
    for key in dict.fromkeys((*_SHAPE, *sorted(mine.keys() | other.keys()))):
        if key == "rope_parameters" or not (key in mine or key in other):
            continue
        if decides(ours, key) or decides(theirs, key):
            found |= _within(key, mine.get(key), other.get(key))
    if (rope := describe_difference(ours, theirs)) is not None:
        path, left, right = rope
        found[path] = (left, right)
    return found


def _within(key: str, ours: Any, theirs: Any) -> dict[str, tuple[Any, Any]]:
    lists = isinstance(ours, list | tuple) and isinstance(theirs, list | tuple)
    if lists and len(ours) != len(theirs):
        return {key: (ours, theirs)}
    mine, other = flatten(key, ours), flatten(key, theirs)
    return {
        path: (mine.get(path), other.get(path))
        for path in dict.fromkeys((*mine, *other))
        if not same(mine.get(path), other.get(path))
    }


def _require_own_head(reference: ModelConfig, variant: ModelConfig, ours: Any, theirs: Any) -> None:
    """A head of the reference's own cannot become its embedding; the reverse changes no network."""
    tied = [bool(getattr(parsed, "tie_word_embeddings", False)) for parsed in (ours, theirs)]
    if tied == [False, True] and not any(_HEAD.search(name) for name in variant.names):
        raise _different(reference, variant, {"tie_word_embeddings": (False, True)})


def _different(
    reference: ModelConfig, variant: ModelConfig, differences: Mapping[str, tuple[Any, Any]]
) -> Incomparable:
    (key, (ours, theirs)), *others = differences.items()
    more = [f"`{path}`" for path, _ in others[:_SHOWN]]
    rest = f" and {len(others) - _SHOWN} more" if len(others) > _SHOWN else ""
    shape = key in ("model_type", *_SHAPE)
    return Incomparable(
        f"{variant.name} has `{key}` {_shown(theirs)}, {reference.name} has {_shown(ours)}"
        + (f"; {', '.join(more)}{rest} differ too" if more else ""),
        hint="use a quantized copy of the reference"
        if shape
        else "give the reference that the variant was made from; if it is this one, correct the "
        "variant's config, or convert the file again",
    )


def _shown(value: Any) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
