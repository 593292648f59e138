"""A model loaded by the library that its users load it with, and checked before it counts.

Libraries fill parameters that a file lacks with random numbers, skip tensors that they do not know,
and decode what they have no kernels for. Each of these would be a number that nobody asked for, so
each is an error here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bitloss.engines.dense.architecture import named_state
from bitloss.engines.dense.checkpoint_names import CheckpointNames
from bitloss.engines.dense.precision import Precision, as_precision, storage_dtype
from bitloss.engines.packed.methods import KERNELS, require_method
from bitloss.engines.raised import lacks_kernels, points_outside
from bitloss.engines.values import Candidate
from bitloss.errors import (
    BitlossError,
    CheckpointError,
    UnsupportedModel,
)
from bitloss.formats.base import ModelIdentity
from bitloss.formats.gguf.files import find_file
from bitloss.formats.storage.directory import quant_method
from bitloss.formats.storage.shards import open_shards
from bitloss.system_errors import explain

__all__ = ["Job", "Loaded", "load", "require_runnable"]

_DENSE_HINT = "use --engine dense"
# Tokens of the forward that a model is tried with.
_TRIED = 4


@dataclass(frozen=True, slots=True)
class Job:
    """What a process of its own loads, as plain values.

    Attributes:
        name: of the model, for messages.
        identity: its digest and config.
        path: its directory.
        kind: its quantization method as its config calls it; None for an unquantized model.
        precision: the arithmetic of everything around the packed layers.
        device: a torch device.
        code: directory of the model's own Python code, if it may run.
        threads: of torch.
    """

    name: str
    identity: ModelIdentity
    path: Path
    kind: str | None
    precision: Precision
    device: str
    code: Path | None
    threads: int

    @property
    def dtype(self) -> torch.dtype:
        """Of whatever is not packed."""
        return storage_dtype(self.precision)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in its library's hands.

    Attributes:
        model: transformers' causal language model, with packed layers in it.
        vocabulary: logits per position.
        mixes_tokens: whether a token's numbers depend on the other tokens of a forward: a layer
            takes one scale, or looks for outliers, over all of them.
    """

    model: Any
    vocabulary: int
    mixes_tokens: bool


def require_runnable(candidate: Candidate) -> Job:
    """What to load, where everything that can be known without loading allows it.

    Args:
        candidate: a directory in the layout of transformers; its arithmetic is ``bf16`` or
            ``fp32``.

    Raises:
        UnsupportedModel: nothing here runs such a model on this device, or not in this arithmetic.
        MissingDependency: a package is not installed.
        CheckpointError: its files are incomplete.
    """
    model, path = candidate.model, _directory(candidate)
    kind = quant_method(path)
    require_method(model.name, kind)
    if candidate.serving:
        raise UnsupportedModel(
            f"{model.name}: engine `packed` sets no types of caches or activations, got "
            f"{candidate.serving.label}",
            hint=_DENSE_HINT,
        )
    job = Job(
        name=model.name,
        identity=model.identity,
        path=path.resolve(),
        kind=kind,
        precision=_precision(candidate),
        device=candidate.device,
        code=model.code,
        threads=torch.get_num_threads(),
    )
    _require_device(candidate)
    _require_weights(candidate)
    return job


def load(job: Job) -> Loaded:
    """Load a model in the form it is stored in, on its device.

    The libraries print, and change what they please in the process: it is the caller's to give up.

    Raises:
        UnsupportedModel: the library does not run this model.
        CheckpointError: its files are damaged or incomplete.
    """
    with _as_ours(job), torch.no_grad():
        by_gptqmodel = require_method(job.name, job.kind).library == "gptqmodel"
        model = _by_gptqmodel(job) if by_gptqmodel else _by_transformers(job)
        model = model.eval().requires_grad_(False)
    with _as_ours(job, computing=True), torch.no_grad():
        # The first forward unpacks what is unpacked once.
        ids = torch.arange(3, 3 + _TRIED, device=job.device)[None]
        vocabulary = int(model(ids, use_cache=False).logits.shape[-1])
    return Loaded(model, vocabulary, any(map(_mixes_tokens, model.modules())))


def _directory(candidate: Candidate) -> Path:
    name, path = candidate.model.name, candidate.model.path
    if path is None:
        raise UnsupportedModel(
            f"{name}: engine `packed` expected a model directory, got a model without files",
            hint="use the engine that it is served by (--engine)",
        )
    if find_file(path) is not None:
        raise UnsupportedModel(
            f"{name}: engine `packed` expected a model directory, got a GGUF file",
            hint="use --engine llama.cpp, or --engine dense",
        )
    if not (path / "config.json").is_file():
        raise UnsupportedModel(
            f"{name}: engine `packed` expected a directory with a config.json, got `{path}`",
            hint=_DENSE_HINT,
        )
    return path


def _precision(candidate: Candidate) -> Precision:
    precision = as_precision(candidate.arithmetic)
    if precision == "mixed":
        raise UnsupportedModel(
            f"{candidate.model.name}: engine `packed` computes in bf16 or fp32, got `mixed`",
            hint="use --dtype auto",
        )
    return precision


def _require_device(candidate: Candidate) -> None:
    kind = torch.device(candidate.device).type
    if kind == "cpu" or (kind == "cuda" and torch.cuda.is_available()):
        return
    raise UnsupportedModel(
        f"{candidate.model.name}: engine `packed` runs on the CPU and on CUDA devices of this "
        f"machine, got device `{candidate.device}`",
        hint="use --device cpu, or --engine dense",
    )


def _require_weights(candidate: Candidate) -> None:
    """Refuse files that lack a parameter or have others, in the words of the dense engine.

    Raises:
        CheckpointError: see `CheckpointNames`.
    """
    model = candidate.model
    if model.weights is None:
        return
    names = CheckpointNames.of(model.weights, model.code)
    names.require_all_read()
    prefix = names.architecture.body
    state = named_state(names.architecture.model.get_submodule(prefix))
    wanted = (f"{prefix}.{name}" if prefix else name for name in state)
    names.groups({name: name for name in wanted})


@contextmanager
def _as_ours(job: Job, *, computing: bool = False) -> Iterator[None]:
    """Whatever a library raises in the block, as an error of one line about the model.

    Args:
        job: the model.
        computing: whether the files were read without an error: what a kernel then raises is its
            own limit, unless it points outside of a tensor.
    """
    name, method = job.name, job.kind
    try:
        yield
    except (BitlossError, torch.OutOfMemoryError, MemoryError):
        raise
    except ImportError as error:
        raise UnsupportedModel(
            f"{name}: {method or 'this model'} cannot be loaded: {_reason(error)}",
            hint="install what it names, or use --engine dense",
        ) from error
    except (Exception, SystemExit) as error:
        if (known := explain(error)) is not None:
            raise known from error
        what = f"{method or 'unquantized'} model"
        if lacks_kernels(error) or (computing and not points_outside(error)):
            raise UnsupportedModel(
                f"{name}: engine `packed` has no kernels that run this {what} here: "
                f"{_reason(error)}",
                hint=_DENSE_HINT,
            ) from error
        raise CheckpointError(
            f"{name}: its library cannot load this {what}: {_reason(error)}",
            hint="fetch or make the files again, or use --engine dense, which says more about them",
        ) from error


def _reason(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


# GPTQModel --------------------------------------------------------------------------------------


def _by_gptqmodel(job: Job) -> Any:
    from gptqmodel import BACKEND, GPTQModel
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear

    name, kind, dtype = job.name, job.kind, job.dtype
    assert kind is not None
    backend = KERNELS[kind][torch.device(job.device).type]
    listed = TorchLinear.SUPPORTS_DTYPES
    try:
        # Its code multiplies in the type of its input, float32 too; only the list leaves it out.
        TorchLinear.SUPPORTS_DTYPES = [*listed, torch.float32]
        model = GPTQModel.load(
            str(job.path),
            device=job.device,
            backend=BACKEND(backend),
            dtype=dtype,
            trust_remote_code=job.code is not None,
        ).model
    finally:
        TorchLinear.SUPPORTS_DTYPES = listed
    if model.dtype != dtype:
        raise UnsupportedModel(
            f"{name}: the {kind} kernels compute in {_short(model.dtype)}, got "
            f"{_short(dtype)} to compute in",
            hint="use --dtype auto",
        )
    _require_complete(name, model, job.path)
    for module in model.modules():
        # A `torch.compile` of the method; without it the method of the class is found again.
        vars(module).pop("dequantize_weight", None)
    return model


def _require_complete(name: str, model: nn.Module, path: Path) -> None:
    """Refuse a model with parameters that its files do not have: they hold whatever was there."""
    stored = set(open_shards(path).tensors)
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    wanted = set(model.state_dict())
    missing = sorted(wanted - stored - tied)
    unread = sorted(stored - wanted)
    _require_all(name, missing, unread, "GPTQModel")


def _require_all(name: str, missing: list[str], unread: list[str], library: str) -> None:
    if missing:
        raise CheckpointError(
            f"{name}: the weights have no `{missing[0]}`, which {library} would make up"
            + f" ({len(missing)} such tensors)" * (len(missing) > 1),
            hint="download the rest of the checkpoint, or use --engine dense",
        )
    if unread:
        raise UnsupportedModel(
            f"{name}: {library} leaves `{unread[0]}` unread"
            + f" ({len(unread)} such tensors)" * (len(unread) > 1),
            hint=_DENSE_HINT,
        )


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


# transformers -----------------------------------------------------------------------------------


def _by_transformers(job: Job) -> Any:
    from transformers import AutoModelForCausalLM

    name, kind, dtype = job.name, job.kind, job.dtype
    loader: Any = AutoModelForCausalLM  # its stub does not know of `output_loading_info`
    model, info = loader.from_pretrained(
        str(job.path),
        dtype=dtype,
        device_map={"": job.device} if kind is not None else None,
        local_files_only=True,
        trust_remote_code=job.code is not None,
        output_loading_info=True,
    )
    if kind is None:
        model = model.to(job.device)
    _take_in(model, dtype)
    wrong = sorted(str(key) for key in info.get("mismatched_keys") or ())
    if wrong:
        raise CheckpointError(
            f"{name}: `{wrong[0]}` has another shape than its config says",
            hint="download the checkpoint again, or the config that belongs to it",
        )
    missing, unread = (sorted(info.get(f"{part}_keys") or ()) for part in ("missing", "unexpected"))
    _require_all(name, missing, unread, "transformers")
    if kind is not None:
        _require_kernels(name, model, kind)
    return model


def _take_in(model: Any, dtype: torch.dtype) -> None:
    """Give what is not packed the type asked for, which bitsandbytes' loading leaves as stored.

    Parameters that a class keeps in float32 by itself have another type than the model's and stay.
    """
    stored = model.dtype
    if stored == dtype:
        return
    for parameter in model.parameters():
        if type(parameter) is nn.Parameter and parameter.dtype == stored:
            parameter.data = parameter.data.to(dtype)


def _require_kernels(name: str, model: Any, kind: str) -> None:
    """Refuse a model that transformers decoded: that is what the dense engine is for."""
    quantizer = getattr(model, "hf_quantizer", None)
    config = getattr(quantizer, "quantization_config", None)
    decoded = bool(getattr(config, "dequantize", False))
    if decoded or not any(_is_packed(module) for module in model.modules()):
        raise UnsupportedModel(
            f"{name}: transformers has no {kind} kernels for this device and would decode the "
            "weights",
            hint=_DENSE_HINT,
        )


def _is_packed(module: nn.Module) -> bool:
    if getattr(module, "quantization_scheme", None) is not None:
        return True
    weight = getattr(module, "weight", None)
    kind = type(weight)
    foreign = isinstance(weight, torch.Tensor) and kind not in (torch.Tensor, nn.Parameter)
    linear = "Linear" in type(module).__name__ and type(module) is not nn.Linear
    return foreign or linear


def _mixes_tokens(module: nn.Module) -> bool:
    if type(module).__name__ == "Linear8bitLt":  # bitsandbytes looks for outlying columns
        return True
    if type(getattr(module, "weight", None)).__module__.startswith("torchao."):
        return True  # what is done with activations is in a function that the tensor keeps
    scheme = getattr(module, "quantization_scheme", None)
    inputs = getattr(scheme, "input_activations", None)
    return bool(inputs is not None and inputs.dynamic and inputs.strategy == "tensor")
