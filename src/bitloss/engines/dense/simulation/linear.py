"""The places in the forward where numbers enter a matrix product: linear layers and experts.

Hooks on ``nn.Linear``, GPT-2's ``Conv1D``, and modules that hold a stack of experts. The head and
the embedding are outside of the body and stay as they are, as serving engines leave them, tied or
not; so do routers, which decide between experts. Projections that are fused share their input, so
fusing them changes nothing; layers that are given the same tensor have it stored once.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from bitloss.engines.dense.simulation.activations import InputQuantizer
from bitloss.errors import UnsupportedModel

__all__ = ["InputHooks", "expert_stacks", "linear_layers"]

# The last part of the names of layers that choose experts, or weigh them.
_ROUTERS = {"gate", "router", "shared_expert_gate", "wg"}
_PRODUCTS = {
    nn.functional.linear, torch.matmul, torch.Tensor.matmul, torch.Tensor.__matmul__, torch.mm,
    torch.Tensor.mm, torch.bmm, torch.Tensor.bmm,
}  # fmt: skip


def linear_layers(body: nn.Module) -> Iterator[tuple[str, nn.Module, int]]:
    """Layers whose inputs can be stored in few bits: path, module, and numbers of an input."""
    from transformers.pytorch_utils import Conv1D

    for path, module in body.named_modules():
        if path.rpartition(".")[2] in _ROUTERS:
            continue
        if isinstance(module, nn.Linear):
            yield path, module, module.in_features
        elif isinstance(module, Conv1D):
            yield path, module, module.weight.shape[0]


def expert_stacks(body: nn.Module) -> Iterator[tuple[str, nn.Module, dict[str, nn.Parameter]]]:
    """Modules that hold weights of several experts in one tensor: path, module, and the weights."""
    for path, module in body.named_modules():
        stacks = {n: p for n, p in module.named_parameters(recurse=False) if p.ndim == 3}
        if stacks and not isinstance(module, nn.modules.conv._ConvNd):
            yield path, module, stacks


class InputHooks:
    """Hooks on the layers of one body, until they are removed."""

    def __init__(self) -> None:
        self._removers: list[Callable[[], None]] = []
        self._last = _LastInput()
        self._seen: dict[str, set[int]] = {}
        self.enabled = True

    def add_layer(self, module: nn.Module, quantizer: InputQuantizer) -> None:
        """Store what enters a linear layer."""

        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
            if not self.enabled:
                return None
            return (self._last.stored(inputs[0], quantizer), *inputs[1:])

        self._removers.append(module.register_forward_pre_hook(hook).remove)

    def add_experts(
        self,
        path: str,
        module: nn.Module,
        weights: Mapping[str, nn.Parameter],
        quantizers: Mapping[str, InputQuantizer],
    ) -> None:
        """Store what enters each product with an expert's weights.

        Args:
            path: of the module, for messages.
            module: it holds the weights.
            weights: by name, shape ``[experts, ., .]``.
            quantizers: by the weights' names; none is as computed.
        """
        original: Callable[..., Any] = module.forward
        of_storage = {
            _storage(weight): quantizers[name]
            for name, weight in weights.items()
            if name in quantizers
        }
        self._seen[path] = set(of_storage)

        def forward(*args: Any, **options: Any) -> Any:
            if not self.enabled:
                return original(*args, **options)
            with _Products(of_storage, self._seen[path]):
                return original(*args, **options)

        module.forward = forward
        self._removers.append(lambda: delattr(module, "forward"))
        config: Any = getattr(module, "config", None)
        if getattr(config, "_experts_implementation", "eager") != "eager":
            # One expert after the other: other ways copy weights, and are not told by their memory.
            before = config._experts_implementation
            config._experts_implementation = "eager"
            self._removers.append(lambda: setattr(config, "_experts_implementation", before))

    def require_seen(self, name: str) -> None:
        """After a forward: refuse experts whose products were not found.

        Raises:
            UnsupportedModel: names the module.
        """
        for path, missing in self._seen.items():
            if missing:
                raise UnsupportedModel(
                    f"{name}: expected products with the weights of `{path}`, got none that "
                    "can be distinguished from others",
                    hint="drop --activations",
                )

    def remove(self) -> None:
        """Take all hooks away."""
        while self._removers:
            self._removers.pop()()
        self._seen.clear()
        self.enabled = True


class _LastInput:
    """Stores a tensor once that several layers are given in turn: queries, keys and values."""

    def __init__(self) -> None:
        self._key: tuple[Any, int, InputQuantizer] | None = None
        self._stored: torch.Tensor | None = None

    def stored(self, x: torch.Tensor, quantizer: InputQuantizer) -> torch.Tensor:
        """`quantizer` of `x`, from last time if it was the same tensor with the same numbers."""
        version = None if x.is_inference() else x._version
        if self._key is not None and self._stored is not None and version is not None:
            tensor, seen, by = self._key
            if tensor() is x and seen == version and by is quantizer:
                return self._stored
        stored = quantizer(x)
        if version is not None:
            self._key = weakref.ref(x, self._forget), version, quantizer
            self._stored = stored
        return stored

    def _forget(self, dead: Any) -> None:
        if self._key is not None and self._key[0] is dead:
            self._key = self._stored = None


class _Products(TorchFunctionMode):
    """Replaces the first factor of products whose second one is a weight, or a part of it."""

    def __init__(self, of_storage: Mapping[int, InputQuantizer], missing: set[int]) -> None:
        super().__init__()
        self._of_storage = of_storage
        self._missing = missing

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func in _PRODUCTS and len(args) > 1 and isinstance(args[1], torch.Tensor):
            storage = _storage(args[1])
            if storage in self._of_storage:
                self._missing.discard(storage)
                args = (self._of_storage[storage](args[0]), *args[1:])
        return func(*args, **(kwargs or {}))


def _storage(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
