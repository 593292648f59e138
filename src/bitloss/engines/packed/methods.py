"""Which library runs a quantization method, with which kernels on which device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from types import MappingProxyType
from typing import Literal

from bitloss.errors import MissingDependency, UnsupportedModel

__all__ = ["DENSE", "KERNELS", "PACKAGES", "Method", "require_method"]

EXTRA = "packed"

# By method and kind of device: GPTQModel's name of a backend. The portable kernels on a CPU: the
# faster ones are C++ that is compiled at first use, for minutes. On CUDA the library chooses.
KERNELS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "gptq": {"cpu": "gptq_torch", "cuda": "auto"},
        "awq": {"cpu": "awq_torch", "cuda": "auto"},
    }
)


@dataclass(frozen=True, slots=True)
class Method:
    """How models of a quantization method are run.

    Attributes:
        library: that loads them.
        needs: modules that have to be installed, each with the distribution that has it.
    """

    library: Literal["gptqmodel", "transformers"] = "transformers"
    needs: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


DENSE = Method()
"""Of an unquantized model."""

_ACCELERATE = {"accelerate": "accelerate"}
_GPTQMODEL = Method("gptqmodel", {"gptqmodel": "gptqmodel", **_ACCELERATE})
_COMPRESSED = Method(needs={"compressed_tensors": "compressed-tensors"})
_METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "gptq": _GPTQMODEL,
        "awq": _GPTQMODEL,
        "compressed-tensors": _COMPRESSED,
        "compressed_tensors": _COMPRESSED,
        "bitsandbytes": Method(needs={"bitsandbytes": "bitsandbytes", **_ACCELERATE}),
        "hqq": Method(needs={"hqq": "hqq", **_ACCELERATE}),
        "torchao": Method(needs={"torchao": "torchao"}),
        "fp8": Method(needs=_ACCELERATE),
        "mxfp4": Method(needs={"kernels": "kernels", **_ACCELERATE}),
        "auto-round": Method(needs={"auto_round": "auto-round"}),
    }
)
# What `pip install "bitloss[packed]"` brings; anything else is named by itself.
_IN_EXTRA = frozenset({"accelerate", "bitsandbytes", "compressed-tensors", "gptqmodel"})

PACKAGES = (
    "torch", "transformers",
    *sorted({name for method in _METHODS.values() for name in method.needs.values()}),
)  # fmt: skip
"""Distributions whose versions decide numbers."""


def require_method(name: str, method: str | None) -> Method:
    """How a model of this method is run, once its packages are there.

    Args:
        name: of the model, for messages.
        method: as its config calls it; None for an unquantized model.

    Raises:
        UnsupportedModel: no library here has kernels for the method, or one that is not part of
            the extra is not installed.
        MissingDependency: a package is not installed.
    """
    if method is None:
        return DENSE
    if method not in _METHODS:
        known = ", ".join(sorted(known for known in _METHODS if "_" not in known))
        raise UnsupportedModel(
            f"{name}: engine `packed` expected a model of {known}, or an unquantized one, got "
            f"`{method}`",
            hint="use --engine dense",
        )
    found = _METHODS[method]
    for module, package in found.needs.items():
        if find_spec(module) is not None:
            continue
        if package in _IN_EXTRA:
            what = f"engine `packed` (for {name}, {method})"
            raise MissingDependency(package, what, extra=EXTRA)
        raise UnsupportedModel(
            f"{name}: engine `packed` needs the package `{package}` to run {method}, which is not "
            "installed",
            hint=f"pip install {package}, or use --engine dense",
        )
    return found
