"""A checkpoint's weights on their way into a module graph, all of them or some."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bitloss.engines.dense.architecture import named_state
from bitloss.engines.dense.behind import behind
from bitloss.engines.dense.checkpoint_names import CheckpointNames
from bitloss.errors import Incomparable
from bitloss.formats.base import Checkpoint, Rows, checkpoint_rows
from bitloss.formats.naming import Group

__all__ = ["GraphWeights"]


class GraphWeights:
    """Fills the parameters of a body from the files of one model.

    Args:
        body: transformers' module from token ids to hidden states.
        shapes: of its parameters and buffers by name, of those too that have no memory now.
        prefix: its path in its model.
        checkpoint: an opened model of the same architecture.
        code: directory of a model's own Python code that is trusted to run.

    Attributes:
        names: the checkpoint's, mapped to its architecture.
        state: parameters and persistent buffers of the body by name, `prefix` included.
        shapes: of each; one without memory is given some before it is filled.

    Raises:
        CheckpointError: a parameter is not stored, or something stored belongs to a layer that
            nothing reads.
        UnsupportedModel: see `CheckpointNames`.
    """

    def __init__(
        self,
        body: Any,
        shapes: Mapping[str, tuple[int, ...]],
        *,
        prefix: str,
        checkpoint: Checkpoint,
        code: Path | None,
    ) -> None:
        self.names = CheckpointNames.of(checkpoint, code)
        self.names.require_all_read()
        self.state = {f"{prefix}.{name}": value for name, value in named_state(body).items()}
        self.shapes = {f"{prefix}.{name}": shape for name, shape in shapes.items()}
        self._checkpoint = checkpoint
        self._own = {self.names.own_name(name, prefix): name for name in self.state}
        self._groups = self.names.groups(self._own)
        self._embedding = body.get_input_embeddings().weight

    @torch.no_grad()
    def fill(
        self,
        advance: Callable[[int], None] = lambda n: None,
        *,
        wanted: Callable[[str], bool] = lambda name: True,
    ) -> None:
        """Read parameters, a tensor at a time.

        Args:
            advance: called with the bytes of each tensor.
            wanted: which of them, by name in `state`.

        Raises:
            CheckpointError: a parameter has another shape than its own config says.
            Incomparable: or than the reference's.
        """
        own = {target: name for target, name in self._own.items() if wanted(name)}
        for name in own.values():
            held, full = self.state[name], self.shapes[name]
            if tuple(held.shape) != full:
                held.data = torch.empty(full, dtype=held.dtype, device=held.device)
        self._read(own, self.state, advance)

    @torch.no_grad()
    def experts(
        self, names: Sequence[str], experts: Sequence[int], advance: Callable[[int], None]
    ) -> dict[str, torch.Tensor]:
        """Some experts' parts of stacked parameters, which get no memory themselves.

        Args:
            names: of the parameters, in `state`; `in_parts` is true for each.
            experts: which, in this order.
            advance: called with the bytes of each tensor.

        Returns:
            By name, shape ``[experts, ...]``.

        Raises:
            CheckpointError, Incomparable: see `fill`.
        """
        parts = {
            name: torch.empty(
                (len(experts), *self.shapes[name][1:]),
                dtype=self.state[name].dtype,
                device=self.state[name].device,
            )
            for name in names
        }
        own = {target: name for target, name in self._own.items() if name in parts}
        self._read(own, parts, advance, experts)
        return parts

    def in_parts(self, name: str) -> bool:
        """Whether single experts of a stacked parameter can be read."""
        group = self._group(name)
        return group is not None and group.in_parts(self._checkpoint, self.state[name].dtype)

    def _group(self, name: str) -> Group | None:
        own = next((target for target, known in self._own.items() if known == name), None)
        return None if own is None else self.names.plan.by_target.get(own)

    def _read(
        self,
        own: Mapping[str, str],
        into: Mapping[str, torch.Tensor],
        advance: Callable[[int], None],
        experts: Sequence[int] | None = None,
    ) -> None:
        """Read parameters into tensors of their shape.

        Args:
            own: names of the parameters by names in the checkpoint's architecture.
            into: where to, by name.
            advance: called with the bytes of each tensor.
            experts: of stacked ones, those alone.
        """

        def shape(target: str) -> tuple[int, ...] | None:
            return self.shapes[own[target]] if target in own else None

        # A copy to another device waits for it: meanwhile the next tensor is decoded.
        with behind(threaded=any(_apart(into[name]) for name in own.values())) as hand:

            def put(target: str, tensor: torch.Tensor, place: tuple[slice, ...]) -> None:
                whole = into[own[target]]
                hand(lambda: advance(self._put(own[target], whole, target, tensor, place)))

            for group in self._groups:
                known = [own[target] for target in group.targets if target in own]
                if known:
                    dtype = into[known[0]].dtype
                    group.fill(self._checkpoint, shape, put, dtype, experts)

    def rows(self, name: str) -> Rows | None:
        """A reader of a parameter's rows; None where it can be read as a whole only.

        Args:
            name: in `state`.
        """
        group = self._group(name)
        if group is None or group.converter is not None:
            return None
        ((stored,),) = group.sources.values()
        if self._checkpoint.shape(stored)[1:] != self.shapes[name][1:]:
            return None  # refused where it is read
        return checkpoint_rows(self._checkpoint, stored, self.state[name].dtype)

    def _put(
        self,
        name: str,
        whole: torch.Tensor,
        target: str,
        tensor: torch.Tensor,
        place: tuple[slice, ...],
    ) -> int:
        """Copy values to a parameter or a part of it; its bytes."""
        parameter = whole[place] if place else whole
        if not place and whole is self._embedding and tensor.shape[1:] == parameter.shape[1:]:
            # A padded vocabulary: the rows that only one of them has are never looked up.
            common = min(tensor.shape[0], parameter.shape[0])
            parameter[:common].copy_(tensor[:common])
        elif tensor.shape != parameter.shape:
            self.names.require_shape(target, tuple(tensor.shape))
            raise Incomparable(
                f"{self._checkpoint.info.name}: `{name}` has shape {list(tensor.shape)}, "
                f"the reference's has {list(parameter.shape)}",
                hint="use a quantized copy of the reference",
            )
        else:
            # Cast where the parameter is: to another device, torch casts on the CPU's one core.
            parameter.copy_(tensor.to(parameter.device))
        return parameter.numel() * parameter.element_size()


def _apart(tensor: torch.Tensor) -> bool:
    """Whether it is in another memory than what is decoded."""
    return tensor.device.type != "cpu"
