"""What a device is called, what it has room for, and what happens where it has none.

torch is imported by those that need it: names of engines and of devices are to be had without.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import psutil

from bitloss.errors import BitlossError

if TYPE_CHECKING:
    import torch

__all__ = [
    "describe",
    "for_heads",
    "free_memory",
    "is_cuda",
    "memory_on",
    "reports_full_memory",
    "room_in",
    "total_memory",
]

# Of what is free, what weights may take: activations, states and others' programs have the rest.
_OF_FREE = 0.8


def is_cuda(device: str | torch.device) -> bool:
    """Whether a device is a CUDA (or ROCm) one."""
    return str(device).partition(":")[0] == "cuda"


@cache
def describe(device: str) -> str:
    """Everything about a device that may decide a number: its kind, and of a card its name, its
    generation and the library that computes on it; not which of several equal ones it is.
    """
    if not is_cuda(device):
        return device.partition(":")[0]
    import torch

    if not torch.cuda.is_available():
        return "cuda"
    facts = torch.cuda.get_device_properties(device)
    library = f"CUDA {torch.version.cuda}" if torch.version.cuda else f"ROCm {torch.version.hip}"
    return f"cuda: {facts.name}, {facts.major}.{facts.minor}, {library}"


def free_memory(device: str) -> int:
    """Bytes that are free on a device; of one that shares the machine's memory, that."""
    if is_cuda(device):
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.mem_get_info(device)[0])
    return int(psutil.virtual_memory().available)


def total_memory(device: str) -> int:
    """Bytes that a device has; of one that shares the machine's memory, that."""
    if is_cuda(device):
        import torch

        if torch.cuda.is_available():
            return int(torch.cuda.mem_get_info(device)[1])
    return int(psutil.virtual_memory().total)


def room_in(memory: int | None, device: str) -> int:
    """Bytes that a model may take on a device.

    Args:
        memory: as the user limits it; None is most of what is free there.
        device: a torch device.
    """
    return int(_OF_FREE * free_memory(device)) if memory is None else memory


def memory_on(devices: Sequence[str], memory: int | None) -> int | None:
    """The same on several devices together; of one, `memory` as it is."""
    return memory if len(devices) < 2 else sum(room_in(memory, one) for one in devices)


def for_heads(device: str) -> str:
    """Where heads are applied: sums over a vocabulary need float64, which Apple's GPUs lack."""
    return "cpu" if device.partition(":")[0] == "mps" else device


@contextmanager
def reports_full_memory(model: str, device: str) -> Iterator[None]:
    """Turn a device's lack of memory into an error of the model that is at work.

    Raises:
        BitlossError: the device's memory is full.
    """
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        if is_cuda(device):
            torch.cuda.empty_cache()
        raise BitlossError(
            f"{model}: not enough memory on {device}",
            hint="lower --batch-tokens, choose --dtype bf16, or end other programs on the device",
        ) from error
