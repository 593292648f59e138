"""How the process keeps the memory that one forward after the other takes and gives back."""

from __future__ import annotations

import ctypes
import sys
from typing import Any

__all__ = ["return_freed_memory", "reuse_freed_memory"]

# glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_THRESHOLD = 32 << 20
_KEPT = 256 << 20


def reuse_freed_memory() -> None:
    """Let glibc keep activations' memory for the next layer instead of returning it each time.

    By default blocks of a few megabytes are mapped from the system and unmapped again, and their
    pages zeroed at each first touch, for every activation of every layer: a tenth of a forward
    (benchmarks/throughput.py). This is a setting of the whole process; at most 256 MB are kept.
    Does nothing where the C library is another one.
    """
    mallopt = _glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_THRESHOLD)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)


def return_freed_memory() -> None:
    """Give the system back what was freed: a model's weights, before heads take their place."""
    trim = _glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _glibc(function: str) -> Any:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), function, None)
