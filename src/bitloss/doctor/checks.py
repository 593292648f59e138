"""What `bitloss doctor` looks at; each check says what it found and how to fix it.

A check is a function without side effects that returns one or more `Check`s. Its status is
``ok``, ``absent`` (something optional is not installed), ``slow`` (it works, worse than it
could) or ``broken`` (what needs it will fail).
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from bitloss import environment
from bitloss.doctor.cpu import cpu_flags, llama_cpp_cmake_args
from bitloss.errors import QuantizationError, UsageError
from bitloss.types import SilentProgress

__all__ = [
    "Check",
    "check_arithmetic",
    "check_disks",
    "check_hub",
    "check_llama_cpp",
    "check_memory",
    "check_packages",
    "check_python",
    "check_sandbox",
    "run_checks",
]

Status = Literal["ok", "absent", "slow", "broken"]

_PROBE = "bitloss.doctor.llama_cpp_probe"
# Relative distances from F16 that a sound build stays below; see the probe.
_PROBE_LIMITS = {"q8_0": 0.05, "q4_k": 0.4}
_SMALL_MEMORY = 4e9
_SMALL_DISK = 10e9
_GEMM_SIZE = 1024
_GEMM_SECONDS = 0.4


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: what was looked at.
        status: see the module.
        found: in a few words.
        fix: what to do about it; empty if there is nothing to do.
    """

    name: str
    status: Status
    found: str
    fix: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def run_checks(*, online: bool = False, cache: Path | None = None) -> list[Check]:
    """All checks in order; `online` also checks whether the hub answers."""
    packages = check_packages()
    sound = {check.name for check in packages if check.status == "ok"}
    checks = [check_python(), *packages]
    # A package that a check needs may be missing; check_packages has reported it.
    if "torch" in sound:
        checks += check_arithmetic()
    if "psutil" in sound:
        checks.append(check_memory())
    if {"platformdirs", "huggingface-hub"} <= sound:
        checks += check_disks(cache)
    if {"torch", "transformers", "llama-cpp-python", "gguf"} <= sound:
        checks.append(check_llama_cpp())
    checks.append(check_sandbox())
    if online:
        checks.append(check_hub())
    return checks


def check_python(version: str = platform.python_version()) -> Check:
    """The interpreter against ``requires-python``."""
    from packaging.specifiers import SpecifierSet

    needed = importlib.metadata.metadata("bitloss")["Requires-Python"]
    system = f"{version} on {platform.system()} {platform.machine()}"
    if not SpecifierSet(needed).contains(version, prereleases=True):
        return Check("python", "broken", f"{system}, needed {needed}", "install a newer Python")
    return Check("python", "ok", system)


def check_packages(requirements: Iterable[str] | None = None) -> list[Check]:
    """Compare every requirement of bitloss with what is installed, except development tools.

    Args:
        requirements: as in a distribution's metadata; None is those of bitloss.
    """
    from packaging.requirements import Requirement

    if requirements is None:
        requirements = importlib.metadata.requires("bitloss") or []
    checks = []
    for requirement in map(Requirement, requirements):
        extra = _extra(requirement.marker)
        if extra in (
            "all",
            "dev",
        ):  # the one repeats the other extras, the other is for development
            continue
        checks.append(_check_package(requirement, extra))
    return checks


def _extra(marker: Any) -> str:
    text = str(marker or "")
    return text.partition('extra == "')[2].rstrip('"')


def _check_package(requirement: Any, extra: str) -> Check:
    install = f'pip install "bitloss[{extra}]"' if extra else f'pip install "{requirement}"'
    try:
        version = importlib.metadata.version(requirement.name)
    except importlib.metadata.PackageNotFoundError:
        status: Status = "absent" if extra else "broken"
        return Check(requirement.name, status, "not installed", install)
    if not requirement.specifier.contains(version, prereleases=True):
        wanted = f'pip install "{requirement.name}{requirement.specifier}"'
        return Check(
            requirement.name, "broken", f"{version}, needed {requirement.specifier}", wanted
        )
    return Check(requirement.name, "ok", version)


def check_arithmetic() -> list[Check]:
    """Speed of fp32 and bf16 matrix products, in GFLOP/s, measured for under two seconds."""
    import torch

    speeds = {
        name: _gemm_speed(torch, dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    flags = cpu_flags()
    units = [flag for flag in ("amx_bf16", "avx512_bf16", "avx512f", "avx2") if flag in flags]
    measured = ", ".join(f"{name} {speed:.0f} GFLOP/s" for name, speed in speeds.items())
    summary = f"{measured} with {torch.get_num_threads()} threads ({units[0] if units else '-'})"
    fast = speeds["bf16"] > speeds["fp32"]
    checks = [
        Check(
            "matrix products",
            "ok" if fast else "slow",
            summary,
            "" if fast else "use --dtype fp32: bf16 is not faster on this processor",
        )
    ]
    if torch.cuda.is_available():
        names = {torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())}
        checks.append(Check("gpu", "ok", f"{', '.join(sorted(names))} (--device cuda)"))
    else:
        checks.append(Check("gpu", "absent", "none that torch can use"))
    return checks


def _gemm_speed(torch: Any, dtype: Any) -> float:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(_GEMM_SIZE, _GEMM_SIZE, generator=generator).to(dtype)
    matrix @ matrix  # the first product allocates and chooses a kernel
    best = float("inf")
    end = time.perf_counter() + _GEMM_SECONDS
    while (begin := time.perf_counter()) < end:
        matrix @ matrix
        best = min(best, time.perf_counter() - begin)
    return float(2 * _GEMM_SIZE**3 / best / 1e9)


def check_memory() -> Check:
    """Memory that could be used now."""
    import psutil

    memory = psutil.virtual_memory()
    free = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available < _SMALL_MEMORY:
        return Check("memory", "slow", free, "close other programs: only small models will fit")
    return Check("memory", "ok", free)


def check_disks(cache: Path | None = None) -> list[Check]:
    """Free space and permissions where bitloss writes: caches and the working directory.

    Args:
        cache: where variants are kept; None is `bitloss.environment.cache_directory`.
    """
    from huggingface_hub import constants

    cache = cache or environment.cache_directory()
    places = {
        "cache": (cache, f"set {environment.CACHE.name}"),
        "hub cache": (Path(constants.HF_HUB_CACHE), "set HF_HOME"),
        "working directory": (Path.cwd(), "choose another directory with --out"),
    }
    return [_check_disk(name, place, other) for name, (place, other) in places.items()]


def _check_disk(name: str, place: Path, other: str) -> Check:
    there = place
    while not there.exists():
        there = there.parent
    free = shutil.disk_usage(there).free
    room = f"{place}: {free / 1e9:.1f} GB free"
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(name, "broken", f"{place} cannot be written", other)
    if free < _SMALL_DISK:
        return Check(name, "slow", room, f"make room for large models, or {other}")
    return Check(name, "ok", room)


def check_llama_cpp(probe: str = _PROBE) -> Check:
    """Whether llama.cpp computes quantized products correctly, tried in a separate process.

    Args:
        probe: the module to run; see `bitloss.doctor.llama_cpp_probe`.
    """
    from bitloss.quantizers.workers import Workers

    rebuild = (
        f'CMAKE_ARGS="{llama_cpp_cmake_args(cpu_flags())}" pip install --force-reinstall '
        "--no-deps --no-cache-dir llama-cpp-python==0.3.36"
    )
    try:
        distances = Workers().run(probe, {}, label="llama.cpp", progress=SilentProgress())
    except QuantizationError as error:
        return Check("llama.cpp", "broken", error.message.partition(";")[0], rebuild)
    wrong = [name for name, limit in _PROBE_LIMITS.items() if not distances[name] < limit]
    if wrong:
        return Check("llama.cpp", "broken", f"computes wrong {', '.join(wrong)} products", rebuild)
    return Check("llama.cpp", "ok", "quantized a small model and ran it")


def check_sandbox() -> Check:
    """Whether what a model wrote can be run safely, tried with a small program."""
    from bitloss.sandbox import open_sandbox

    try:
        open_sandbox().close()
    except UsageError as error:
        status: Status = "broken" if shutil.which("bwrap") else "absent"
        return Check("sandbox", status, error.message, error.hint)
    return Check("sandbox", "ok", "bubblewrap judged a small program")


def check_hub(endpoint: str | None = None) -> Check:
    """Whether the hub answers.

    Args:
        endpoint: its address (the default: ``HF_ENDPOINT``, or the public hub).
    """
    import httpx2
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import OfflineModeIsEnabled

    address = endpoint or constants.ENDPOINT
    fix = "check the network, HTTPS_PROXY and HF_ENDPOINT; local paths work without the hub"
    try:
        status = get_session().get(f"{address}/api/models?limit=1", timeout=10).status_code
    except OfflineModeIsEnabled:
        return Check("hub", "broken", "HF_HUB_OFFLINE is set", "unset it to download models")
    except httpx2.HTTPError as error:
        return Check("hub", "broken", f"{address}: {type(error).__name__}", fix)
    if status >= 500:
        return Check("hub", "broken", f"{address} answered {status}", "try again later")
    return Check("hub", "ok", f"{address} answers")
