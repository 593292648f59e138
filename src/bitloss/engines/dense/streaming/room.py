"""Whether a model's weights have room."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss.engines.devices import room_in, total_memory
from bitloss.engines.values import Candidate
from bitloss.errors import UnsupportedModel
from bitloss.formats.shapes import shape_of

__all__ = [
    "HEAD_SHARE",
    "dense_bytes",
    "fits_in_memory",
    "head_bytes",
    "holds_head",
    "require_room",
    "room_for",
]

HEAD_SHARE = 0.25
"""Of the memory that a model may take, what its head may."""


def dense_bytes(candidate: Candidate) -> int:
    """Bytes of a candidate's decoded weights."""
    size = 2 if candidate.arithmetic == "bf16" else 4
    return candidate.model.identity.info.parameters * size


def head_bytes(candidate: Candidate) -> int:
    """Bytes of a candidate's head."""
    size = 2 if candidate.arithmetic == "bf16" else 4
    return shape_of(candidate.model.identity).embedding * size


def room_for(candidate: Candidate, memory: int | None) -> int:
    """Bytes that a model may take.

    Args:
        candidate: whose device it is.
        memory: as the user limits it; None is most of what is free on the device.
    """
    return room_in(memory, candidate.device)


def fits_in_memory(candidate: Candidate, room: int) -> bool:
    """Whether a candidate's weights can be held as a whole in so many bytes."""
    return dense_bytes(candidate) <= room


def holds_head(candidate: Candidate, memory: int | None) -> bool:
    """Whether a candidate's head is held in memory; otherwise it is read a block at a time.

    Args:
        candidate: the model.
        memory: see `room_for`.
    """
    return head_bytes(candidate) <= HEAD_SHARE * room_for(candidate, memory)


def require_room(candidate: Candidate, memory: int | None, devices: Sequence[str] = ()) -> None:
    """Refuse a model that has to be held as a whole and cannot be.

    Args:
        candidate: the model.
        memory: see `room_for`; None is all that the device has, since what is in use now may be
            given back.
        devices: over which its layers could not be put either; none is the candidate's own.

    Raises:
        UnsupportedModel: there is no room for it.
    """
    room = total_memory(candidate.device) if memory is None else memory
    if fits_in_memory(candidate, room):
        return
    needed = dense_bytes(candidate)
    where = f" on each of {len(devices)} devices" if len(devices) > 1 else ""
    raise UnsupportedModel(
        f"{candidate.model.name}: its weights take {needed / 1e9:.1f} GB in "
        f"{candidate.arithmetic} and have {room / 1e9:.1f} GB{where}, and it cannot be read a "
        "layer at a time",
        hint="raise --memory, choose --dtype bf16, or give more devices",
    )
