"""One module graph for all models: built once, refilled with each model's dense weights.

Reference and variants then run through the same kernels with the same shapes, and memory holds
one model however many are compared.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.attention import widen_attention
from bitloss.engines.dense.precision import Precision, arithmetic, storage_dtype
from bitloss.errors import CheckpointError, Incomparable, NumericalError, UnsupportedModel
from bitloss.formats.base import Checkpoint

__all__ = ["ModelGraph", "resolve_names"]


class ModelGraph:
    """The reference architecture's body (embeddings to final norm) with exchangeable weights.

    Args:
        config: transformers config as plain values.
        precision: the arithmetic of the forward.
        device: a torch device.
        code: directory of a model whose own Python code is trusted to run; None runs none.

    Raises:
        UnsupportedModel: transformers has no causal language model for the config.
    """

    def __init__(
        self,
        config: dict[str, Any],
        *,
        precision: Precision,
        device: str,
        code: Path | None = None,
    ) -> None:
        model: Any = _unfilled_model(config, storage_dtype(precision), device, code)
        widen_attention(model, precision, device)
        self.device = torch.device(device)
        self.precision = precision
        self.prefix: str = model.base_model_prefix
        self.body: Any = model.base_model.requires_grad_(False)
        self.loaded = ""
        self.packs: bool | None = None  # not known yet: see `prefix_tree.states`

    @torch.no_grad()
    def load(self, checkpoint: Checkpoint, advance: Callable[[int], None] = lambda n: None) -> None:
        """Fill the graph with a model's weights, a tensor at a time.

        Args:
            checkpoint: an opened model of the same architecture.
            advance: called with the bytes of each tensor that was loaded.

        Raises:
            CheckpointError: a parameter is missing.
            Incomparable: a parameter has another shape than the reference's.
        """
        self.loaded = ""
        wanted = {f"{self.prefix}.{name}": value for name, value in self.body.named_parameters()}
        sources = resolve_names(checkpoint, tuple(wanted), self.prefix)
        embedding = self.body.get_input_embeddings().weight
        for name, parameter in wanted.items():
            tensor = checkpoint.read(sources[name])
            if parameter is embedding and tensor.shape[1:] == parameter.shape[1:]:
                # A padded vocabulary: the rows that only one of them has are never looked up.
                common = min(tensor.shape[0], parameter.shape[0])
                parameter[:common].copy_(tensor[:common])
            elif tensor.shape != parameter.shape:
                raise Incomparable(
                    f"{checkpoint.info.name}: `{name}` has shape {list(tensor.shape)}, "
                    f"the reference's has {list(parameter.shape)}",
                    hint="a variant must be a quantized copy of the reference",
                )
            else:
                parameter.copy_(tensor)
            advance(parameter.numel() * parameter.element_size())
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
        with arithmetic(self.precision):
            states: torch.Tensor = self.body(
                input_ids=ids.to(self.device), use_cache=False, return_dict=True
            ).last_hidden_state
        if not torch.isfinite(states).all():
            raise NumericalError(
                f"{self.loaded}: NaN or infinite values, first in layer `{self._culprit(ids)}`",
                hint="the file may be damaged, or overflow in this dtype: try --dtype fp32",
            )
        return states

    def _culprit(self, ids: torch.Tensor) -> str:
        """Run once more with hooks; the first module to finish with a non-finite output."""
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


def resolve_names(checkpoint: Checkpoint, wanted: tuple[str, ...], prefix: str) -> dict[str, str]:
    """Find each parameter among the checkpoint's names, with or without the base model's prefix.

    Raises:
        CheckpointError: some parameter is in neither form.
    """
    present = set(checkpoint.names())
    found: dict[str, str] = {}
    for name in wanted:
        bare = name.removeprefix(f"{prefix}.")
        source = next((form for form in (name, bare) if form in present), None)
        if source is None:
            raise CheckpointError(
                f"{checkpoint.info.name}: the weights have no `{name}`",
                hint="the checkpoint is incomplete, or of another architecture than its config",
            )
        found[name] = source
    return found


def _unfilled_model(
    config: dict[str, Any], dtype: torch.dtype, device: str, code: Path | None
) -> Any:
    """The architecture with computed buffers right and parameters allocated but not written."""
    # Imported with a model class by way of transformers; reports kernels it cannot load on stderr.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    from transformers import AutoConfig, AutoModelForCausalLM
    from transformers.initialization import no_init_weights

    values = {key: value for key, value in config.items() if key != "quantization_config"}
    try:
        if code is None:
            parsed = AutoConfig.for_model(**values)
        else:
            parsed = AutoConfig.from_pretrained(code, trust_remote_code=True)
        with no_init_weights(), torch.device(device):
            model = AutoModelForCausalLM.from_config(  # type: ignore[no-untyped-call]
                parsed, dtype=dtype, trust_remote_code=code is not None
            )
            return model.eval()
    except (KeyError, ValueError) as fault:
        reason = str(fault).partition(" Should contain one of")[0]  # every type there is follows
        raise UnsupportedModel(
            f"no causal language model for model type `{config.get('model_type')}`: {reason}"[:300],
            hint="bitloss scores decoder-only models that transformers knows",
        ) from fault
