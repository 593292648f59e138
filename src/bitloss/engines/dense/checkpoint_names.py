"""A checkpoint's tensors under the names of its own architecture, and what nothing reads."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import nn

from bitloss.engines.dense.architecture import Architecture, architecture_of, say_once
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.base import Checkpoint
from bitloss.formats.naming import Group, NamePlan, plan_names

if TYPE_CHECKING:
    from typing import Self

__all__ = ["CheckpointNames"]

_NUMBERED = re.compile(r"(.*?)\.(\d+)\.")
_DIGIT = re.compile(r"(^|\.)\d+(\.|$)").search
# Computed from the config by transformers 5; older files hold them.
_OLD_BUFFER = re.compile(
    r"rotary_emb\.inv_freq|(^|\.)position_ids$|\.(attn|attention)\.masked_bias$"
)
# Weights that are added to others at run time (peft).
_ADAPTER = re.compile(r"(^|\.)(lora_\w+|modules_to_save|base_layer)(\.|$)")
_SHOWN = 3


@dataclass(frozen=True)
class CheckpointNames:
    """The names of one checkpoint, mapped by the architecture that its own config describes.

    Attributes:
        checkpoint: the opened files.
        architecture: of its config.
        plan: where each of the architecture's parameters comes from.
    """

    checkpoint: Checkpoint
    architecture: Architecture
    plan: NamePlan

    @classmethod
    def of(cls, checkpoint: Checkpoint, code: Path | None) -> Self:
        """Map a checkpoint's names.

        Raises:
            UnsupportedModel: transformers has no language model for the config.
        """
        architecture = architecture_of(checkpoint.config, code)
        return cls(checkpoint, architecture, plan_names(architecture.model, checkpoint.names()))

    def own_name(self, name: str, body: str) -> str:
        """The parameter's name in this checkpoint's architecture.

        Args:
            name: in the module graph that is being filled, which may belong to another class (a
                text tower by itself, or in a wrapper).
            body: path of that graph's body.
        """
        relative = name.removeprefix(f"{body}.") if body else name
        return f"{self.architecture.body}.{relative}" if self.architecture.body else relative

    def source(self, name: str) -> tuple[str, Group] | None:
        """The parameter to read in place of `name`, itself or one it is tied to, and its group."""
        tied = self.architecture.tied
        candidates = [name, *(n for n in (tied.get(name),) if n is not None)]
        candidates += [other for other, source in tied.items() if source == name]
        for candidate in candidates:
            if candidate in self.plan.by_target:
                return candidate, self.plan.by_target[candidate]
        return None

    def groups(self, wanted: dict[str, str]) -> list[Group]:
        """The groups that give the wanted parameters, in file order.

        Args:
            wanted: names in this architecture, and what to call them in messages; a parameter that
                is stored under the name of one it is tied to is renamed.

        Raises:
            CheckpointError: some parameter is not stored.
        """
        needed: dict[int, Group] = {}
        for name, shown in list(wanted.items()):
            found = self.source(name)
            if found is None:
                raise CheckpointError(
                    f"{self.checkpoint.info.name}: the weights have no `{shown}`",
                    hint="download the rest of the checkpoint, or the config that belongs to it",
                )
            target, group = found
            if target != name:
                wanted[target] = wanted.pop(name)
            needed[id(group)] = group
        return [group for group in self.plan.groups if id(group) in needed]

    def require_all_read(self) -> None:
        """Refuse stored tensors of the text model that nothing reads, and name what is left out.

        Raises:
            CheckpointError: there are layers beyond the config's count, or parameters of layers
                and head that the architecture does not have; or embedding or head have another
                number of rows than the config says.
            UnsupportedModel: there are adapters beside the weights.
        """
        name, layers = self.checkpoint.info.name, self.architecture.layers
        self._require_rows()
        unread = self._relevant(self.plan.unread)
        adapters = [stored for stored in unread if _ADAPTER.search(stored)]
        if adapters:
            raise UnsupportedModel(
                f"{name}: adapters are not applied: {_listed(_quoted(adapters))}",
                hint="merge the adapter into the weights first (peft: `merge_and_unload`)",
            )
        beyond = [stored for stored, target in unread.items() if self._beyond(target)]
        if beyond:
            raise CheckpointError(
                f"{name}: expected {layers} layers, as the config says, got more: "
                f"{_listed(_quoted(beyond))}",
                hint="download the config that belongs to the weights",
            )
        inside = [s for s, target in unread.items() if self._inside(target) and self._matters(s)]
        if inside:
            raise CheckpointError(
                f"{name}: `{type(self.architecture.model).__name__}` has no place for "
                f"{_listed(_quoted(inside))}",
                hint="download the config that belongs to the weights: with this one, nothing "
                "would read these tensors",
            )
        self._say_left_out()

    def require_shape(self, target: str, shape: tuple[int, ...]) -> None:
        """Refuse a parameter of another shape than the checkpoint's own config says.

        Raises:
            CheckpointError: names the parameter and both shapes.
        """
        expected = self.architecture.model.state_dict().get(target)
        if expected is not None and tuple(expected.shape)[-len(shape) :] != shape:
            raise self._other_shape(target, tuple(expected.shape), shape)

    def _other_shape(
        self, stored: str, expected: tuple[int, ...], shape: tuple[int, ...]
    ) -> CheckpointError:
        return CheckpointError(
            f"{self.checkpoint.info.name}: `{stored}`: expected shape {list(expected)}, "
            f"as the config says, got {list(shape)}",
            hint="download both again: config and weights are not of the same model",
        )

    def _require_rows(self) -> None:
        """Rows that are missing would be whatever is in memory, and further ones take a share of
        every distribution. A padded vocabulary is one that the config says.
        """
        state, head = self.architecture.model.state_dict(), self.architecture.head
        for target in (self.architecture.embedding, f"{head}.weight", f"{head}.bias"):
            group = self.plan.by_target.get(target)
            if group is None or group.converter is not None:
                continue
            ((stored,),) = group.sources.values()
            shape, expected = self.checkpoint.shape(stored), tuple(state[target].shape)
            if shape != expected:
                raise self._other_shape(stored, expected, shape)

    def _say_left_out(self) -> None:
        """Name the parts of the files that are not evaluated: vision, sound, prediction layers."""
        body, head = f"{self.architecture.body}.", f"{self.architecture.head}."
        others = [
            stored
            for target, group in self.plan.by_target.items()
            if self.architecture.wrapper and not target.startswith((body, head))
            for own in group.sources.values()
            for stored in own
        ]
        others += [name for name in self.plan.unread if not _OLD_BUFFER.search(name)]
        if not others and not self.architecture.multimodal:
            return
        counts = Counter(_part(name) for name in dict.fromkeys(others))
        left_out = _listed([f"{part} ({n} tensors)" for part, n in counts.items()])
        kind = type(self.architecture.model).__name__
        text = f"the text model of `{kind}`" if self.architecture.multimodal else f"`{kind}`"
        say_once(
            f"{self.checkpoint.info.name}: only {text} is evaluated"
            + (f"; left out: {left_out}" if counts else "")
        )

    def _relevant(self, unread: Mapping[str, str]) -> dict[str, str]:
        """Without what the class itself says may be there: old buffers, prediction heads."""
        model = self.architecture.model
        patterns = set(getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ())
        patterns.add(_OLD_BUFFER.pattern)
        ignored = re.compile("|".join(f"({pattern})" for pattern in sorted(patterns)))
        return {s: t for s, t in unread.items() if not ignored.search(t)}

    def _beyond(self, target: str) -> bool:
        number, layers = self._layer(target), self.architecture.layers
        if number is None or layers is None:
            return False
        config = self.architecture.model.config.get_text_config()
        return number >= layers + (getattr(config, "num_nextn_predict_layers", None) or 0)

    def _inside(self, target: str) -> bool:
        """Whether a name is the text model's, with or without its prefix."""
        own = (f"{self.architecture.body}.", f"{self.architecture.head}.")
        return target.startswith(own) or self._layer(target) is not None

    def _layer(self, target: str) -> int | None:
        """The number of the text model's layer that a name belongs to, whether there is one."""
        prefix = f"{self.architecture.model.base_model_prefix}."
        for name in (target, f"{self.architecture.body}.{target}", target.removeprefix(prefix)):
            found = _NUMBERED.match(name)
            if found is not None and found[1] in self._stacks:
                return int(found[2])
        return None

    @cached_property
    def _stacks(self) -> frozenset[str]:
        """Paths of the lists of layers in the body."""
        body = self.architecture.model.get_submodule(self.architecture.body)
        paths = (name for name, part in body.named_modules() if isinstance(part, nn.ModuleList))
        # A list in a layer is no list of layers.
        return frozenset(f"{self.architecture.body}.{path}" for path in paths if not _DIGIT(path))

    def _matters(self, stored: str) -> bool:
        """Not a layer that predicts further tokens, nor a bias of zeros, which AutoGPTQ wrote."""
        layers = self.architecture.layers
        number = self._layer(self.plan.unread[stored])
        if number is not None and layers is not None and number >= layers:
            return False
        if not stored.endswith(".bias"):
            return True
        return bool(torch.count_nonzero(self.checkpoint.read(stored)))


def _quoted(names: list[str]) -> list[str]:
    return [f"`{name}`" for name in names]


def _part(name: str) -> str:
    """The part of a model that a tensor belongs to: up to its layers' number."""
    parts = name.removeprefix("model.").split(".")
    number = next((at for at, part in enumerate(parts) if part.isdigit()), 1)
    return ".".join(parts[: number + 1] if parts[0] in ("layers", "h") else parts[:1])


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    more = len(names) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown
