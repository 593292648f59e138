"""Where the parts of a model are: on one device, or its layers on several, one after the other.

Embeddings, the final norm and whatever else is in no layer are on the first device. What goes into
a layer is moved to the layer's device, and the last layer's states come back to the first one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.architecture import named_state
from bitloss.engines.dense.layer_list import layers_of

__all__ = ["place", "place_layers"]


def place_layers(layers: Sequence[int], rest: int, rooms: Sequence[int]) -> list[int] | None:
    """A device for each layer, so that devices are filled to about the same share.

    Args:
        layers: bytes of each.
        rest: bytes that are on the first device besides.
        rooms: bytes that the model may take on each device.

    Returns:
        For each layer the number of its device, ascending; None where they have no room together.
    """
    share = (sum(layers) + rest) / max(1, sum(rooms))
    # A layer more than its share, so that what is left at the end has room wherever layers do.
    limits = [min(room, share * room + max(layers, default=0)) for room in rooms]
    at, held = 0, rest
    found = []
    for size in layers:
        while held + size > limits[at]:
            at, held = at + 1, 0
            if at == len(rooms):
                return None
        held += size
        found.append(at)
    return found if rest <= limits[0] else None


def place(
    body: Any, device: str, rooms: Mapping[str, int], beside: int = 0
) -> tuple[torch.device, ...]:
    """Give every part of a body its device, and its parameters no memory before they are read.

    Args:
        body: transformers' module from token ids to hidden states, built on the CPU.
        device: of all that is in no layer.
        rooms: bytes that the model may take on each of several devices, `device` first; with one or
            none, or where the first one has room for all, everything is on `device`.
        beside: bytes of what else has to be on `device`: a head.

    Returns:
        The device of each layer if they are on several; nothing if all is on `device`.
    """
    main = torch.device(device)
    own: dict[str, torch.device] = {}
    path, layers = layers_of(body)
    sizes = {name: value.nbytes for name, value in named_state(body).items()}
    total = sum(sizes.values())
    devices = [_known(name) for name in rooms]
    if len(rooms) > 1 and layers and total + beside > next(iter(rooms.values())):
        inside = [f"{path}.{index}." for index in range(len(layers))]
        each = [sum(n for name, n in sizes.items() if name.startswith(one)) for one in inside]
        chosen = place_layers(each, total - sum(each) + beside, list(rooms.values()))
        if chosen is not None:
            own = {one: devices[at] for one, at in zip(inside, chosen, strict=True)}
            for layer, at in zip(layers, chosen, strict=True):
                layer.register_forward_pre_hook(_moving_inputs(devices[at]), with_kwargs=True)
            layers[-1].register_forward_hook(_moving_output(devices[0]))
    made: dict[nn.Parameter, nn.Parameter] = {}
    for name, module in body.named_modules():
        inside_of = (where for one, where in own.items() if f"{name}.".startswith(one))
        _empty(module, next(inside_of, main), made)
    return tuple(own.values())


def _known(name: str) -> torch.device:
    """A device as tensors name it: ``cuda`` is ``cuda:0``."""
    return torch.empty(0, device=name).device


def _empty(module: nn.Module, device: torch.device, made: dict[nn.Parameter, nn.Parameter]) -> None:
    """Move what a module holds itself to a device: parameters without their numbers, which nobody
    has read yet; buffers and other tensors, which are computed, with them.

    Args:
        module: the module.
        device: where to.
        made: by a parameter, what has taken its place: modules may share one.
    """
    for name, held in module.named_parameters(recurse=False):
        if held not in made:
            nothing = torch.empty(0, dtype=held.dtype, device=device)
            made[held] = nn.Parameter(nothing, requires_grad=False)
        module._parameters[name] = made[held]
    for name, buffer in module.named_buffers(recurse=False):
        module._buffers[name] = buffer.to(device)
    for name, value in vars(module).items():
        if torch.is_tensor(value):
            setattr(module, name, value.to(device))


def _moving_inputs(device: torch.device) -> Callable[..., Any]:
    def hook(module: nn.Module, args: Any, kwargs: Any) -> Any:
        return _moved(args, device), _moved(kwargs, device)

    return hook


def _moving_output(device: torch.device) -> Callable[..., Any]:
    def hook(module: nn.Module, inputs: Any, output: Any) -> Any:
        return _moved(output, device)

    return hook


def _moved(value: Any, device: torch.device) -> Any:
    """A value with its tensors on a device; other objects, such as caches, are left as they are."""
    if torch.is_tensor(value):
        return value.to(device)
    if type(value) in (tuple, list):
        return type(value)(_moved(one, device) for one in value)
    if type(value) is dict:
        return {name: _moved(one, device) for name, one in value.items()}
    return value
