"""What transformers makes of a config: the class without weights, its text tower and its head."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitloss.errors import UnsupportedModel
from bitloss.formats.configs.parsing import (
    invalid_config,
    parse_config,
    unknown_model,
)

__all__ = ["Architecture", "architecture_of", "build_body", "named_state", "say_once"]

# In this order: a class for text alone comes before one that reads images or sound too.
_AUTO_CLASSES = ("AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForMultimodalLM")


@dataclass(frozen=True, eq=False, slots=True)
class Architecture:
    """A model class on the meta device: shapes and names, no weights.

    Attributes:
        model: transformers' model.
        body: path of the module that turns token ids into post-norm hidden states.
        head: path of the output embeddings; None if the class has none.
        embedding: path of the input embeddings' weight.
        wrapper: whether the body is the text tower of a model that reads more than text.
        multimodal: whether the config is that of such a model.
        code: directory of the model's own Python code, if it is trusted.
    """

    model: Any
    body: str
    head: str | None
    embedding: str
    wrapper: bool
    multimodal: bool
    code: Path | None

    @property
    def tied(self) -> Mapping[str, str]:
        """Parameters that the config ties: ``{parameter: the one it shares its values with}``."""
        tied = dict(getattr(self.model, "all_tied_weights_keys", None) or {})
        # Code written for transformers 4 lists its tied parameters without their sources.
        text = self.model.config.get_text_config()
        if self.code is not None and getattr(text, "tie_word_embeddings", False):
            tied.setdefault(f"{self.head}.weight", self.embedding)
        return tied

    @property
    def layers(self) -> int | None:
        """Layers of the text tower; None if the config does not say."""
        count = getattr(self.model.config.get_text_config(), "num_hidden_layers", None)
        return count if isinstance(count, int) else None


def architecture_of(config: Mapping[str, Any], code: Path | None = None) -> Architecture:
    """The architecture of a config; the last few are kept.

    Args:
        config: transformers config as plain values.
        code: directory of a model whose own Python code is trusted to run; None runs none.

    Raises:
        UnsupportedModel: transformers has no language model for the config.
    """
    values = {key: value for key, value in config.items() if key != "quantization_config"}
    return _architecture(json.dumps(values, sort_keys=True, default=str), code)


@lru_cache(maxsize=4)
def _architecture(config: str, code: Path | None) -> Architecture:
    parsed = parse_config(json.loads(config), code)
    with _quiet(), torch.no_grad():
        try:
            model = _instance(parsed, torch.float32, "meta", code)
        except (RuntimeError, NotImplementedError):
            if code is None:
                raise
            model = _instance(parsed, torch.float32, "cpu", code)
    text = model.config.get_text_config(decoder=True)
    wrapper = text is not model.config
    body = _tower(model) if wrapper else _base(model)
    paths = {id(module): path for path, module in model.named_modules()}
    names = {id(value): name for name, value in model.named_parameters(remove_duplicate=False)}
    head = model.get_output_embeddings()
    # A tied head shares the embedding's parameter, which goes by the body's name.
    embedding = f"{paths[id(body.get_input_embeddings())]}.weight"
    return Architecture(
        model=model,
        body=paths[id(body)],
        head=None if head is None else paths[id(head)],
        embedding=embedding if id(body.get_input_embeddings().weight) in names else "",
        wrapper=wrapper,
        multimodal=parsed.get_text_config(decoder=True) is not parsed,
        code=code,
    )


def build_body(
    config: Mapping[str, Any], dtype: torch.dtype, device: str, code: Path | None
) -> tuple[Any, Any, Architecture]:
    """A text tower with computed buffers right, and parameters allocated but not written.

    Args:
        config: transformers config as plain values.
        dtype: of the parameters.
        device: a torch device.
        code: see `architecture_of`.

    Returns:
        The body, the model that it is configured through, and their architecture.

    Raises:
        UnsupportedModel: transformers has no language model for the config.
    """
    architecture = architecture_of(config, code)
    with _quiet():
        if not architecture.wrapper:
            model = _instance(parse_config(dict(config), code), dtype, device, code)
            return _base(model), model, architecture
        from transformers.initialization import no_init_weights

        tower = architecture.model.get_submodule(architecture.body)
        parsed = parse_config(dict(config), code).get_text_config(decoder=True)
        with no_init_weights(), torch.device(device):
            body = type(tower)._from_config(parsed, dtype=dtype).eval()
        return body, body, architecture


def _base(model: Any) -> Any:
    """The model without its head."""
    from transformers import PreTrainedModel

    if model.base_model is not model:
        return model.base_model
    # Llama 4's prefix names a module that its text class does not have.
    return next((m for m in model.children() if isinstance(m, PreTrainedModel)), model)


def _tower(model: Any) -> Any:
    """The module of a wrapper that reads text."""
    from transformers import PreTrainedModel

    tower = model.get_decoder()
    if isinstance(tower, PreTrainedModel) and tower.base_model is not tower:
        tower = tower.base_model  # a whole language model in the wrapper, with its own head
    text = model.config.get_text_config(decoder=True)
    if not isinstance(tower, PreTrainedModel) or tower.config is not text:
        raise UnsupportedModel(
            f"`{type(model).__name__}` has no text tower that can be run by itself",
            hint="choose a language model, or save its text tower alone",
        )
    return tower


def _instance(parsed: Any, dtype: torch.dtype, device: str, code: Path | None) -> Any:
    import transformers
    from transformers.initialization import no_init_weights

    auto = next(
        (
            getattr(transformers, name)
            for name in _AUTO_CLASSES
            if type(parsed) in getattr(transformers, name)._model_mapping
        ),
        transformers.AutoModelForCausalLM,
    )
    try:
        with no_init_weights(), torch.device(device):
            model = auto.from_config(parsed, dtype=dtype, trust_remote_code=code is not None)
            return model.eval()
    except Exception as error:  # classes check values with exceptions of all kinds
        if isinstance(error, ValueError) and "Unrecognized configuration class" in str(error):
            raise unknown_model(parsed.model_type, error) from error
        if code is not None or device != "meta":
            raise  # a class's own fault, or no memory
        raise invalid_config(parsed.model_type, error, parsed.to_dict()) from error


@contextmanager
def _quiet() -> Iterator[None]:
    # Imported with a model class by way of transformers; reports kernels it cannot load on stderr.
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)
    yield


@lru_cache(maxsize=256)
def say_once(message: str) -> None:
    """Log a note about how a model is read; the same one is not repeated."""
    logging.getLogger("bitloss").warning("note: %s", message)


def named_state(module: nn.Module) -> dict[str, torch.Tensor]:
    """Parameters and persistent buffers, each tensor under its first name."""
    found: dict[str, torch.Tensor] = dict(module.named_parameters())
    stored = module.state_dict(keep_vars=True)
    found.update((name, value) for name, value in module.named_buffers() if name in stored)
    return found
