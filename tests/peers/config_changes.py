"""Every value of a config changed, one at a time, and whether transformers then computes otherwise.

The oracle is transformers' own forward: the model with the changed config is filled with the same
weights. If they do not fit, or other logits come out, the value decides the computation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from peers.tiny_architectures import save_tiny

__all__ = ["Change", "changes"]

# Sums in another order: chunks of state spaces, and nothing else that was seen.
ROUNDING = 1e-5


@dataclass(frozen=True)
class Change:
    """A config with another value, and what that does.

    Attributes:
        path: of the value, with dots.
        config: the changed config as plain values.
        effect: ``moves``, ``shape``, ``none``, or ``invalid`` where transformers refuses it.
    """

    path: str
    config: dict[str, Any]
    effect: str


def changes(name: str, folder: Path) -> tuple[dict[str, Any], Iterator[Change]]:
    """The config of a tiny model as it is saved, and its changes."""
    model = save_tiny(name, folder).eval()
    text = model.config.get_text_config(decoder=True)
    whole = model.config.to_dict()
    nested = None if text is model.config else "text_config"
    return whole, _changes(model, whole, nested, name)


def _changes(model: Any, whole: dict[str, Any], nested: str | None, name: str) -> Iterator[Change]:
    state = model.state_dict()
    ids = torch.randint(3, 90, (1, 40), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(input_ids=ids, use_cache=False).logits
    values = whole if nested is None else whole[nested]
    for path, value in list(_leaves(values)):
        for other in _others(path[-1], value):
            config = copy.deepcopy(whole)
            place: Any = config if nested is None else config[nested]
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = other
            effect = _effect(type(model), config, state, ids, expected)
            yield Change(".".join(map(str, path)), config, effect)


def _effect(
    kind: Any, config: dict[str, Any], state: dict[str, Any], ids: torch.Tensor, expected: Any
) -> str:
    from bitloss.formats.configs.parsing import parse_config

    try:
        changed = kind._from_config(parse_config(copy.deepcopy(config), None)).eval()
    except Exception:
        return "invalid"
    try:
        changed.load_state_dict(state)
    except RuntimeError:
        return "shape"
    try:
        with torch.no_grad():
            found = changed(input_ids=ids, use_cache=False, return_dict=True).logits
    except Exception:
        return "invalid"
    moved = float((found - expected).abs().max()) > ROUNDING * float(expected.abs().max())
    return "moves" if moved else "none"


def _leaves(values: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(values, dict) and not {"id2label", "label2id"} & set(path):
        for key, value in values.items():
            yield from _leaves(value, (*path, key))
    elif path:
        yield path, values


def _others(key: Any, value: Any) -> list[Any]:
    """Values that are likely to be valid, and far enough away to show."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, int):
        return [value + 1, value * 2] if value else [1]
    if isinstance(value, float):
        return [value * 1.5 + 0.01]
    if value is None:
        return [3, 0.5, True]
    if isinstance(value, str):
        return ["relu"] if "activation" in key or key == "hidden_act" else []
    if isinstance(value, list | tuple) and len(value) > 1:
        return [list(value)[::-1], [value[0]] * len(value), [value[-1]] * len(value)]
    return []
