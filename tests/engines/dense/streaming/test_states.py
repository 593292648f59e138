"""Oracle: the tensors that were put in, in their order."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch

from bitloss.engines.dense.streaming.states import States, StatesRoom
from bitloss.errors import StorageError


def tensors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, 3, 8), (1, 5, 8), (1, 0, 8), (4, 8)]
    made = [torch.randn(shape, generator=generator) for shape in shapes]
    return [*made, made[0].bfloat16(), torch.arange(6)]


@pytest.mark.parametrize("memory", [0, 200, 1 << 20])
def test_what_goes_in_comes_out_wherever_it_was(tmp_path: Path, memory: int) -> None:
    room = StatesRoom(memory, tmp_path)
    states = States(room)
    for _ in range(2):
        for tensor in tensors():
            states.append(tensor)
        assert room.held <= memory
        assert not list(tmp_path.iterdir())  # a file without a name ends with the process
        for keep in (True, False):
            assert len(states) == len(tensors())
            for tensor in tensors():
                assert states.next_shape() == tuple(tensor.shape)
                found = states.take(keep=keep)
                assert torch.equal(found, tensor)
                assert found.dtype == tensor.dtype
            assert states.next_shape() is None
            if keep:
                states.again()
        assert room.held == 0
        states.clear()


def test_room_is_shared(tmp_path: Path) -> None:
    room = StatesRoom(1000, tmp_path)
    one, other = States(room), States(room)
    one.append(torch.zeros(200))
    other.append(torch.zeros(200))  # on disk
    assert room.held == 800
    one.clear()
    other.append(torch.zeros(200))
    assert room.held == 800
    assert torch.equal(torch.cat([other.take(), other.take()]), torch.zeros(400))


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    states = States(StatesRoom(0, tmp_path))
    with pytest.raises(StorageError, match=r"cannot write .*: the disk is full") as error:
        states.append(torch.zeros(10))
    assert error.value.hint.startswith("free some space, or raise --memory")
