"""What this processor can do, and how llama.cpp must be built for it.

Standard library only: `make install` runs this file before anything is installed.
"""

from __future__ import annotations

import platform
from collections.abc import Collection
from pathlib import Path

__all__ = ["cpu_flags", "llama_cpp_cmake_args"]

_CPUINFO = Path("/proc/cpuinfo")

# ggml's switches (ggml/CMakeLists.txt) and the processor flags that all have to be there.
_SWITCHES = {
    "AVX2": ("avx2",),
    "FMA": ("fma",),
    "F16C": ("f16c",),
    "BMI2": ("bmi2",),
    "AVX512": ("avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"),
    "AVX512_VBMI": ("avx512vbmi",),
    "AVX512_VNNI": ("avx512_vnni",),
    "AVX512_BF16": ("avx512_bf16",),
}


def cpu_flags(cpuinfo: Path = _CPUINFO) -> frozenset[str]:
    """The x86 feature flags of the first processor; empty where Linux does not list them."""
    try:
        text = cpuinfo.read_text(errors="replace")
    except OSError:
        return frozenset()
    for line in text.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


def llama_cpp_cmake_args(flags: Collection[str], machine: str = "") -> str:
    """Value of ``CMAKE_ARGS`` with which llama-cpp-python is built.

    The default build asks for everything the processor has, AMX included, and then dies with
    SIGILL in quantized matrix products (seen with gcc 12), so each instruction set is named.

    Args:
        flags: as `cpu_flags` returns them.
        machine: as `platform.machine` returns it (the default: this machine's).
    """
    args = ["-DLLAVA_BUILD=OFF"]
    if flags and (machine or platform.machine()).lower() in {"x86_64", "amd64", "i686"}:
        args.append("-DGGML_NATIVE=OFF")
        avx512 = set(_SWITCHES["AVX512"]) <= set(flags)
        for switch, needed in _SWITCHES.items():
            usable = set(needed) <= set(flags) and (avx512 or not switch.startswith("AVX512"))
            args.append(f"-DGGML_{switch}={'ON' if usable else 'OFF'}")
    return " ".join(args)


if __name__ == "__main__":
    print(llama_cpp_cmake_args(cpu_flags()))
