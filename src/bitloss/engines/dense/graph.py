"""One module graph for all models: built once, refilled with each model's dense weights.

Reference and variants then run through the same kernels with the same shapes, and memory holds
one model however many are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.architecture import build_body, named_state
from bitloss.engines.dense.attention import suit_attention
from bitloss.engines.dense.graph_weights import GraphWeights
from bitloss.engines.dense.nudges import Nudges
from bitloss.engines.dense.placement import place
from bitloss.engines.dense.precision import Precision, arithmetic, storage_dtype
from bitloss.engines.dense.rope import forget_lengths
from bitloss.engines.dense.row_cuts import RowCuts
from bitloss.engines.dense.simulation.simulation import Simulation
from bitloss.errors import NumericalError
from bitloss.formats.base import Checkpoint
from bitloss.spec.serving import AS_COMPUTED, Serving

__all__ = ["ModelGraph"]


class ModelGraph:
    """The reference architecture's body (embeddings to final norm) with exchangeable weights.

    Args:
        config: transformers config as plain values.
        precision: the arithmetic of the forward.
        device: a torch device.
        code: directory of a model whose own Python code is trusted to run; None runs none.
        rooms: see `bitloss.engines.dense.placement.place`.
        beside: see there.

    Attributes:
        device: where token ids and hidden states are.

    Raises:
        UnsupportedModel: transformers has no causal language model for the config.
    """

    _spread: tuple[torch.device, ...]

    def __init__(
        self,
        config: dict[str, Any],
        *,
        precision: Precision,
        device: str,
        code: Path | None = None,
        rooms: Mapping[str, int] | None = None,
        beside: int = 0,
    ) -> None:
        # Built where unwritten memory takes none: a card may not have room for all of it.
        body, model, architecture = build_body(config, storage_dtype(precision), "cpu", code)
        suit_attention(model, precision, device)
        self._hold(body, architecture.body, precision, device)
        self._spread = place(body, device, rooms or {}, beside)
        self._code = code

    @classmethod
    def around(
        cls, body: nn.Module, *, prefix: str, name: str, precision: Precision, device: str
    ) -> ModelGraph:
        """A graph over a body that another library has built and loaded: it is run, never refilled.

        Args:
            body: embeddings to final norm, as transformers' classes have it.
            prefix: its path in the model that it belongs to.
            name: of the model.
            precision: the arithmetic of what is done around the body's own kernels.
            device: where it is.
        """
        graph = cls.__new__(cls)
        graph._hold(body, prefix, precision, device)
        graph._code = None
        graph.loaded = name
        return graph

    def _hold(self, body: nn.Module, prefix: str, precision: Precision, device: str) -> None:
        self.device = torch.device(device)
        self.precision = precision
        self._spread = ()
        self.prefix = prefix
        self.body: Any = body.requires_grad_(False)
        self.loaded = ""
        self.packs: bool | None = None  # not known yet: see `prefix_tree.states`
        self.row_cuts: RowCuts | None = None  # of a model that writes: `generation.row_blocks`
        self.streamed = ""  # path of the only layer that has weights: see `streaming`
        self.simulation = Simulation(self.body, self.prefix)
        self._shapes = {name: tuple(one.shape) for name, one in named_state(self.body).items()}
        self.nudges = Nudges()
        self.vocabulary = int(body.get_input_embeddings().weight.shape[0])  # type: ignore[operator]

    @property
    def spread(self) -> bool:
        """Whether layers are on several devices."""
        return bool(self._spread)

    @property
    def devices(self) -> tuple[torch.device, ...]:
        """Where layers are, each device once."""
        return tuple(dict.fromkeys(self._spread)) or (self.device,)

    @torch.no_grad()
    def load(
        self,
        checkpoint: Checkpoint,
        advance: Callable[[int], None] = lambda n: None,
        *,
        serving: Serving = AS_COMPUTED,
        nudged: bool = False,
    ) -> None:
        """Fill the graph with a model's weights, a tensor at a time.

        Args:
            checkpoint: an opened model of the same architecture.
            advance: called with the bytes of each tensor that was loaded.
            serving: what its forwards store in few bits, until the next model is loaded.
            nudged: whether every layer's output moves by its last bit, until then.

        Raises:
            CheckpointError: a parameter is missing, has another shape than its own config says, or
                belongs to a layer that nothing reads.
            Incomparable: a parameter has another shape than the reference's.
            UnsupportedModel: `serving` cannot be simulated in this model, or its layers are not
                found that are to be nudged; `Incomparable` where `serving` is to be what the
                checkpoint declares, which declares nothing.
        """
        weights = self.begin(checkpoint)
        weights.fill(advance)
        self.end(checkpoint, weights, serving, nudged=nudged)

    def begin(self, checkpoint: Checkpoint) -> GraphWeights:
        """The first part of `load`: a model's weights, none of which is read yet."""
        self.loaded = ""
        self.simulation.clear()
        self.nudges.remove()
        return GraphWeights(
            self.body,
            self._shapes,
            prefix=self.prefix,
            checkpoint=checkpoint,
            code=self._code,
        )

    def end(
        self,
        checkpoint: Checkpoint,
        weights: GraphWeights,
        serving: Serving,
        *,
        nudged: bool = False,
    ) -> None:
        """The last part of `load`, once the weights are read that a forward needs."""
        if serving:
            self.simulation.set(serving, weights.names)
        if nudged:
            self.nudges.add(self.body, checkpoint.info.name)
        self.loaded = checkpoint.info.name

    @torch.no_grad()
    def hidden(self, ids: torch.Tensor) -> torch.Tensor:
        """Post-norm hidden states.

        Args:
            ids: token ids, shape ``[batch, time]``.

        Returns:
            Shape ``[batch, time, d_model]``, in the graph's dtype.

        Raises:
            NumericalError: NaN or infinite values, with the first layer that made them.
        """
        if self.simulation.per_sequence and len(ids) > 1:
            return torch.cat([self.hidden(row) for row in ids[:, None]])
        forget_lengths(self.body)
        with arithmetic(self.precision):
            states: torch.Tensor = self.body(
                input_ids=ids.to(self.device), use_cache=False, return_dict=True
            ).last_hidden_state
        if not torch.isfinite(states).all():
            raise NumericalError(
                f"{self.loaded}: NaN or infinite values, first in layer `{self._culprit(ids)}`",
                hint="try --dtype fp32, in case of an overflow, or download or make the file again",
            )
        return states

    def _culprit(self, ids: torch.Tensor) -> str:
        """Run once more with hooks; the first module to finish with a non-finite output."""
        if self.streamed:
            return f"{self.prefix}.{self.streamed}"
        found: list[str] = []

        def watch(name: str) -> Callable[[nn.Module, Any, Any], None]:
            def hook(module: nn.Module, inputs: Any, output: Any) -> None:
                value = output[0] if isinstance(output, tuple) else output
                if not found and not torch.isfinite(value).all():
                    found.append(name)

            return hook

        leaves = [(n, m) for n, m in self.body.named_modules() if not any(m.children())]
        handles = [module.register_forward_hook(watch(name)) for name, module in leaves]
        try:
            self.body(input_ids=ids.to(self.device), use_cache=False)
        finally:
            for handle in handles:
                handle.remove()
        return f"{self.prefix}.{found[0]}" if found else f"{self.prefix}"
