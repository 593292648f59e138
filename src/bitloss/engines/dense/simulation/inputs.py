"""Which layers get inputs of few bits, and how: as the run says, or as the files do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn

from bitloss.engines.dense.checkpoint_names import CheckpointNames
from bitloss.engines.dense.simulation.activations import InputQuantizer
from bitloss.engines.dense.simulation.linear import InputHooks, expert_stacks, linear_layers
from bitloss.errors import Incomparable, UnsupportedModel
from bitloss.formats.base import Checkpoint, DeclaredInput, checkpoint_inputs
from bitloss.spec.activations import AS_DECLARED, ActivationType, parse_activations

__all__ = ["add_inputs"]


def add_inputs(
    hooks: InputHooks, body: nn.Module, prefix: str, names: CheckpointNames, activations: str
) -> bool:
    """Hook the layers of a model whose inputs a run wants in few bits.

    Args:
        hooks: where to add them.
        body: a filled module graph.
        prefix: its path in its model.
        names: of the checkpoint that filled it.
        activations: a type's name, or ``checkpoint``.

    Returns:
        Whether any scale is of everything that a forward reads: sequences have to be read alone.

    Raises:
        Incomparable: the checkpoint declares nothing, and is to be run as it declares.
        UnsupportedModel: a layer's size does not fit the type's blocks, or the checkpoint declares
            what is not simulated.
    """
    quantizers = _Quantizers(names, prefix, activations)
    per_sequence = False
    for path, module, size in linear_layers(body):
        quantizer = quantizers.of([f"{path}.weight"], size)
        if quantizer is not None:
            hooks.add_layer(module, quantizer)
            per_sequence |= quantizer.per_sequence
    for path, module, weights in expert_stacks(body):
        found = {}
        for name, weight in weights.items():
            # Either axis may be the inputs'; a block has to fit the one it is of.
            quantizer = quantizers.of([f"{path}.{name}"], *weight.shape[1:])
            if quantizer is None:
                continue
            if quantizer.per_sequence:
                raise UnsupportedModel(
                    f"{quantizers.model}: expected scales of tokens or blocks, or static ones, for "
                    f"the experts `{path}`, got one for the tensor, which differs with the "
                    "tokens that are routed to an expert",
                    hint="use --activations with a type by token, such as int8 or fp8",
                )
            found[name] = quantizer
        if found:
            hooks.add_experts(path, module, weights, found)
    return per_sequence


class _Quantizers:
    """The quantizer of each layer; layers of a kind share one."""

    def __init__(self, names: CheckpointNames, prefix: str, activations: str) -> None:
        self.model = names.checkpoint.info.name
        self._names = names
        self._prefix = prefix
        self._type = None if activations == AS_DECLARED else parse_activations(activations)
        self._declared = _declared(names.checkpoint) if activations == AS_DECLARED else {}
        self._dynamic: dict[ActivationType, InputQuantizer] = {}

    def of(self, weights: Sequence[str], *sizes: int) -> InputQuantizer | None:
        """The quantizer of a layer's inputs; None where they are as computed.

        Args:
            weights: paths in the body of the weights that they are multiplied with.
            sizes: numbers of an input.
        """
        if self._type is not None:
            return self._fitting(InputQuantizer(self._type), weights[0], sizes)
        declared = [found for weight in weights for found in self._sources(weight)]
        given = [found for found in declared if found is not None]
        if not given:
            return None
        first = given[0]
        if len(given) < len(declared) or any(one.type != first.type for one in given):
            raise UnsupportedModel(
                f"{self.model}: expected one type of inputs for `{weights[0]}`, got several for "
                "the tensors that it is made of",
                hint="choose a type with --activations, such as int8 or fp8",
            )
        if first.type is None:
            raise UnsupportedModel(
                f"{self.model}: the file asks for {first.words} inputs in `{weights[0]}`, which "
                "are not simulated",
                hint="choose a type with --activations, such as int8 or fp8",
            )
        scales = [one.scale() for one in given if one.scale is not None]
        zeros = [one.zero() for one in given if one.zero is not None]
        if not scales:
            return self._fitting(InputQuantizer(first.type), weights[0], sizes)
        # Of layers that a module graph joins, the widest one, as vLLM does. The second-level scale
        # of nvfp4 is the smaller the wider the range.
        widest = min if first.type.numbers == "nvfp4" else max
        scale = widest(scales, key=float)
        zero = zeros[scales.index(scale)] if len(zeros) == len(scales) else None
        quantizer = InputQuantizer(first.type, scale.float(), zero)
        return self._fitting(quantizer, weights[0], sizes)

    def _fitting(
        self, quantizer: InputQuantizer, weight: str, sizes: Sequence[int]
    ) -> InputQuantizer:
        block = quantizer.type.block
        if block and all(size % block for size in sizes):
            raise UnsupportedModel(
                f"{self.model}: activations `{quantizer.type.name}`: expected inputs of "
                f"`{weight}` that are a multiple of {block}, got {sizes[0]}",
                hint="choose a type by token, such as int8 or fp8",
            )
        if quantizer.scale is None:
            return self._dynamic.setdefault(quantizer.type, quantizer)
        return quantizer

    def _sources(self, weight: str) -> Iterator[DeclaredInput | None]:
        own = self._names.own_name(
            f"{self._prefix}.{weight}" if self._prefix else weight, self._prefix
        )
        found = self._names.source(own)
        if found is not None:
            for stored in (name for part in found[1].sources.values() for name in part):
                yield self._declared.get(stored)


def _declared(checkpoint: Checkpoint) -> dict[str, DeclaredInput]:
    declared = dict(checkpoint_inputs(checkpoint))
    if not declared:
        raise Incomparable(
            f"{checkpoint.info.name}: expected a checkpoint that says how inputs of its layers are "
            f"stored, got one of {checkpoint.info.format} weights alone",
            hint="choose a type with --activations, such as int8 or fp8",
        )
    return declared
