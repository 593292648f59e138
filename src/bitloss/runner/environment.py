"""What a result depends on besides models and text: recorded with it."""

from __future__ import annotations

import platform
from collections.abc import Sequence

from bitloss.engines.base import Engine
from bitloss.engines.devices import describe, is_cuda
from bitloss.engines.evaluate import load_engine
from bitloss.engines.versions import package_version
from bitloss.quantizers import all_quantizers
from bitloss.results.environment import Engine as EngineUsed
from bitloss.results.environment import Environment, Seeds
from bitloss.spec.run import RunSpec

__all__ = ["describe_environment", "describe_packages"]

_PACKAGES = ("bitloss", "gguf", "numpy", "safetensors", "tokenizers", "torch", "transformers")


def describe_environment(spec: RunSpec, engines: Sequence[Engine], command: str) -> Environment:
    """Versions, arithmetic, engine, seeds and the command; nothing that changes between reruns."""
    import torch

    return Environment(
        versions=describe_packages(engines),
        engine=EngineUsed(name=engines[0].name, version=engines[0].version),
        dtype=spec.dtype,
        device=spec.main_device,
        card=describe(spec.main_device) if is_cuda(spec.main_device) else None,
        cpu=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        batch_tokens=spec.tokens_in_forward,
        seeds=Seeds(
            bootstrap=spec.seed,
            calibration=spec.seed,
            limit=spec.seed if spec.limited else None,
        ),
        until="decided" if spec.until == "decided" else None,
        precision=spec.precision,
        command=command,
    )


def describe_packages(engines: Sequence[Engine] = ()) -> dict[str, str]:
    """Versions of Python and of the packages that engines need."""
    return {"python": platform.python_version(), **_versions(engines)}


def _versions(engines: Sequence[Engine]) -> dict[str, str]:
    used = (*engines, *(load_engine(engine.reference_engine) for engine in engines))
    of_engines = {package for engine in used for package in engine.packages}
    of_quantizers = {package for plug in all_quantizers() for package in plug.packages}
    packages = sorted({*_PACKAGES, *of_engines, *of_quantizers})
    return {package: version for package in packages if (version := package_version(package))}
