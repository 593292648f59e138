"""From the names in published files to the parameters of transformers' module graph.

Publishers store what their training code had: experts one by one, text towers under a prefix, fused
or split projections. transformers keeps the way from such names to its own modules as data
(``transformers.conversion_mapping``, ``core_model_loading``: renames, prefixes, merges, splits).
`plan_names` applies that data to names alone, above any format; tensors are read when a parameter
is filled, experts one at a time (`Group.fill`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import checkpoint_rows

if TYPE_CHECKING:
    import torch

    from bitloss.formats.base import Checkpoint

__all__ = ["Group", "NamePlan", "plan_names"]

# Operations of transformers' converters that compute with no number.
_MOVES = frozenset({
    "Chunk", "Concatenate", "Interleave", "MergeModulelist", "PermuteForRope", "Split",
    "SplitModulelist", "Transpose",
})  # fmt: skip
_OTHER_MODEL = "download the checkpoint again, or the config that belongs to it"


@dataclass(frozen=True, slots=True)
class Group:
    """Parameters that are made together from stored tensors.

    Attributes:
        targets: the parameters' names in the module graph.
        sources: stored names by the converter's pattern, in the order in which they are merged.
        converter: transformers' `WeightConverter`; None where a tensor is taken as stored.
        model: the architecture on the meta device, which some converters look at.
    """

    targets: tuple[str, ...]
    sources: Mapping[str, tuple[str, ...]]
    converter: Any
    model: Any

    def fill(
        self,
        checkpoint: Checkpoint,
        shape: Callable[[str], tuple[int, ...] | None],
        put: Callable[[str, torch.Tensor, tuple[slice, ...]], None],
        dtype: torch.dtype | None = None,
        experts: Sequence[int] | None = None,
    ) -> None:
        """Read the stored tensors and hand them over.

        Experts that are only stacked, with or without concatenating their projections, are handed
        over one by one, so memory holds one expert's tensor. Other conversions hold what goes into
        the group: a layer's tensors of one kind.

        Args:
            checkpoint: where the tensors are.
            shape: the shape of a parameter; None if nobody wants it.
            put: takes a parameter's name, values, and the slices they belong to; () is all of it.
            dtype: see `Checkpoint.read`.
            experts: of stacked ones, those that are wanted alone, in this order, where `in_parts`;
                slices are then of a stack of them.

        Raises:
            CheckpointError: the tensors do not fit together.
        """
        if self.converter is None:
            ((stored,),) = self.sources.values()
            if experts is None:
                put(self.targets[0], checkpoint.read(stored, dtype), ())
                return
            rows = None if dtype is None else checkpoint_rows(checkpoint, stored, dtype)
            assert rows is not None, "not in parts"
            for place, expert in enumerate(experts):
                put(self.targets[0], rows(expert, expert + 1), (slice(place, place + 1),))
            return
        axis = _stacking(self.converter)
        wanted = shape(self.targets[0])
        if axis is not None and wanted is not None:
            for values, slices in self._experts(checkpoint, axis, wanted, dtype, experts):
                put(self.targets[0], values, slices)
            return
        for name, values in self._converted(checkpoint, dtype).items():
            if shape(name) is not None:
                put(name, values, ())

    def in_parts(self, checkpoint: Checkpoint, dtype: torch.dtype) -> bool:
        """Whether single experts of a stack can be read."""
        if self.converter is not None:
            return _stacking(self.converter) is not None
        ((stored,),) = self.sources.values()
        return checkpoint_rows(checkpoint, stored, dtype) is not None

    def read(
        self, checkpoint: Checkpoint, name: str, dtype: torch.dtype | None = None
    ) -> torch.Tensor:
        """One parameter of the group; see `Checkpoint.read`.

        Raises:
            CheckpointError: the tensors do not fit together.
        """
        if self.converter is None:
            ((stored,),) = self.sources.values()
            return checkpoint.read(stored, dtype)
        return self._converted(checkpoint, dtype)[name]

    def _experts(
        self,
        checkpoint: Checkpoint,
        axis: int,
        shape: tuple[int, ...],
        dtype: torch.dtype | None,
        experts: Sequence[int] | None,
    ) -> Iterator[tuple[torch.Tensor, tuple[slice, ...]]]:
        sources = [self.sources.get(pattern, ()) for pattern in self.converter.source_patterns]
        counts = [len(names) for names in sources]
        if len(set(counts)) != 1 or counts[0] != shape[0]:
            raise self._mismatch(
                checkpoint, f"expected {shape[0]} experts of each kind, got {counts}"
            )
        start = 0
        for names in sources:
            size = 0
            chosen = names if experts is None else [names[expert] for expert in experts]
            for place, stored in enumerate(chosen):
                values = checkpoint.read(stored, dtype)
                size = values.shape[axis - 1] if axis else 0
                if (values.ndim + 1 != len(shape)) or (axis and start + size > shape[axis]):
                    raise self._mismatch(
                        checkpoint,
                        f"expected experts of {list(shape[1:])}, got {list(values.shape)}",
                    )
                where = [slice(None)] * len(shape)
                where[0] = slice(place, place + 1)
                if axis:
                    where[axis] = slice(start, start + size)
                yield values.unsqueeze(0), tuple(where)
                del values
            start += size
        if axis and start != shape[axis]:
            raise self._mismatch(checkpoint, f"expected {shape[axis]} rows, got {start}")

    def _converted(
        self, checkpoint: Checkpoint, dtype: torch.dtype | None
    ) -> dict[str, torch.Tensor]:
        rounded = dtype if _moves_only(self.converter) else None
        tensors: dict[str, Any] = {
            pattern: [checkpoint.read(name, rounded) for name in self.sources[pattern]]
            for pattern in self.converter.source_patterns
            if pattern in self.sources
        }
        converter = deepcopy(self.converter)
        for pattern, values in tensors.items():
            converter.collected_tensors[pattern] = values
        del tensors
        try:
            made = converter.convert(self.targets[0], model=self.model, config=self.model.config)
        except (RuntimeError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise self._mismatch(checkpoint, f"{converter.operations}: {error}") from error
        return {
            name: (value[0] if isinstance(value, list) else value).contiguous()
            for name, value in made.items()
        }

    def _mismatch(self, checkpoint: Checkpoint, reason: str) -> CheckpointError:
        return CheckpointError(
            f"{checkpoint.info.name}: `{self.targets[0]}` cannot be put together: {reason}",
            hint=_OTHER_MODEL,
        )


@dataclass(frozen=True, slots=True)
class NamePlan:
    """Where each parameter comes from.

    Attributes:
        groups: in the order of their first stored tensor.
        by_target: the group of each parameter.
        unread: stored names without a place in the module graph, and what they are called there.
    """

    groups: tuple[Group, ...]
    by_target: Mapping[str, Group]
    unread: Mapping[str, str]


@lru_cache(maxsize=4)
def plan_names(model: Any, names: tuple[str, ...]) -> NamePlan:
    """Map stored names to a model's parameters and persistent buffers, as `from_pretrained` does.

    Follows ``transformers.core_model_loading.convert_and_load_state_dict_in_model``.

    Args:
        model: a `PreTrainedModel`, which may be on the meta device.
        names: of the stored tensors, in file order.

    Raises:
        UnsupportedModel: two stored tensors claim the same parameter.
    """
    from transformers.conversion_mapping import get_model_conversion_mapping
    from transformers.core_model_loading import (
        WeightConverter,
        WeightRenaming,
        dot_natural_key,
        rename_source_key,
    )

    mapping = [*get_model_conversion_mapping(model), *_parted(model)]
    renamings = [entry for entry in mapping if isinstance(entry, WeightRenaming)]
    converters = [entry for entry in mapping if isinstance(entry, WeightConverter)]
    by_pattern = {key: entry for entry in converters for key in entry.source_patterns}
    prefix, state = model.base_model_prefix, model.state_dict()
    collected: dict[str, tuple[Any, dict[str, list[str]]]] = {}
    unread: dict[str, str] = {}
    for name in sorted(names, key=dot_natural_key):
        target, pattern = rename_source_key(name, renamings, converters, prefix, state)
        if target not in state and name in state:
            target, pattern = rename_source_key(name, [], [], prefix, state)
        if target not in state:
            unread[name] = target
            continue
        converter = None if pattern is None else by_pattern[pattern]
        _, sources = collected.setdefault(target, (converter, {}))
        own = sources.setdefault(pattern or "", [])
        if pattern is None and own:
            raise UnsupportedModel(
                f"`{own[0]}` and `{name}` are both `{target}` in the module graph",
                hint="choose a checkpoint that stores each parameter once",
            )
        own.append(name)
    place = {name: index for index, name in enumerate(names)}
    groups = [
        Group(
            _targets(model, target, converter),
            {pattern: tuple(own) for pattern, own in sources.items()},
            converter,
            model,
        )
        for target, (converter, sources) in collected.items()
    ]
    groups.sort(key=lambda group: min(place[n] for own in group.sources.values() for n in own))
    by_target = {target: group for group in groups for target in group.targets}
    return NamePlan(tuple(groups), by_target, unread)


def _parted(model: Any) -> list[Any]:
    """Converters for projections that GPTQModel parts before it quantizes, and stores so.

    Its names are Llama's for all architectures (gptqmodel/utils/model.py with the package Defuser):
    gate and up of Phi 3, the experts of Mixtral.
    """
    from transformers.core_model_loading import Concatenate, MergeModulelist, WeightConverter

    state = model.state_dict()
    found = []
    if any(name.endswith(".mlp.gate_up_proj.weight") for name in state):
        parts = ["mlp.gate_proj.weight", "mlp.up_proj.weight"]
        found.append(WeightConverter(parts, "mlp.gate_up_proj.weight", [Concatenate(dim=0)]))
    if model.config.model_type == "mixtral":
        parts = ["mlp.experts.*.gate_proj.weight", "mlp.experts.*.up_proj.weight"]
        stack = [MergeModulelist(dim=0), Concatenate(dim=1)]
        found.append(WeightConverter(parts, "mlp.experts.gate_up_proj", stack))
        parts = ["mlp.experts.*.down_proj.weight"]
        found.append(WeightConverter(parts, "mlp.experts.down_proj", [MergeModulelist(dim=0)]))
    return found


def _targets(model: Any, first: str, converter: Any) -> tuple[str, ...]:
    """All parameters that a conversion gives, from the first one's name."""
    if converter is None:
        return (first,)
    patterns = list(converter.target_patterns)
    if any("*" in pattern for pattern in patterns):  # as many as the config says
        operation = converter.operations[-1]
        expanded = operation.get_target_patterns(patterns, config=model.config)
        stem = first.replace("*.", "0.")
        return tuple(stem.replace(expanded[0], pattern) for pattern in expanded)
    return tuple(first.replace(patterns[0], pattern) for pattern in patterns)


def _moves_only(converter: Any) -> bool:
    """Whether a conversion puts numbers in other places and computes with none of them."""
    return all(type(operation).__name__ in _MOVES for operation in converter.operations)


def _stacking(converter: Any) -> int | None:
    """The axis along which stacked experts are concatenated, 0 for none; None is another thing."""
    from transformers.core_model_loading import Concatenate, MergeModulelist

    kinds = [type(operation) for operation in converter.operations]
    if kinds[:1] != [MergeModulelist] or converter.operations[0].dim != 0:
        return None
    if len(converter.target_patterns) != 1:
        return None
    if len(kinds) == 1 and len(converter.source_patterns) == 1:
        return 0
    if kinds == [MergeModulelist, Concatenate] and converter.operations[1].dim > 0:
        return int(converter.operations[1].dim)
    return None
