"""What a result depends on besides models and text: recorded with it."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bitloss.quantizers import all_quantizers
from bitloss.spec.run import RunSpec

__all__ = ["environment"]

_PACKAGES = ("bitloss", "gguf", "numpy", "safetensors", "tokenizers", "torch", "transformers")


def environment(spec: RunSpec, engine_version: str, command: str) -> dict[str, Any]:
    """Versions, arithmetic, engine, seeds and the command; nothing that changes between reruns."""
    import torch

    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "engine": {"name": spec.engine, "version": engine_version},
        "dtype": spec.dtype,
        "device": spec.device,
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "batch_tokens": spec.batch_tokens,
        "seeds": {"bootstrap": spec.seed, "calibration": spec.seed},
        "until": "decided" if spec.until == "decided" else None,
        "precision": spec.precision,
        "command": command,
    }


def _versions() -> dict[str, str]:
    found = {}
    of_quantizers = {package for plug in all_quantizers() for package in plug.packages}
    for package in sorted({*_PACKAGES, *of_quantizers}):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
