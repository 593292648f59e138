"""What the system refuses, in one line and a hint; everything else is a bug of the program's.

Oracle: the system's own numbers and words for it (errno, `os.strerror`).
"""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitloss.cli.main import main
from bitloss.system_errors import explain


def raised(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


REFUSED = {
    "cannot write a/b: the disk is full": OSError(errno.ENOSPC, "No space left on device", "a/b"),
    "cannot write the output: the disk is full": RuntimeError("(os error 28)"),
    "cannot write x: the file is larger": OSError(errno.EFBIG, "File too large", b"x"),
    "its reader has ended": BrokenPipeError(errno.EPIPE, "Broken pipe"),
    "cannot open x: Too many": OSError(errno.EMFILE, "Too many open files", "x"),
    "cannot use x: Permission": PermissionError(errno.EACCES, "Permission denied", "x"),
    "not enough memory: MemoryError": MemoryError(),
    "not enough memory: Default": RuntimeError("DefaultCPUAllocator: can't allocate memory: you"),
    "not enough memory": OSError(errno.ENOMEM, "Cannot allocate memory"),
    "cannot write the output: the disk": OSError("20480 requested and 1312 written"),  # numpy's
    "the disk is full": raised(ValueError("of a library"), OSError(errno.ENOSPC, "No space left")),
}


@pytest.mark.parametrize(("words", "error"), REFUSED.items())
def test_what_the_system_refuses(words: str, error: BaseException) -> None:
    known = explain(error)
    assert known is not None
    assert words in known.message
    assert known.exit_code == 1
    assert known.hint


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("mat1 and mat2"), OSError("text")])
def test_what_is_a_bug(error: BaseException) -> None:
    assert explain(error) is None


def test_memory_runs_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise MemoryError("Unable to allocate 9.00 TiB")

    monkeypatch.setattr("bitloss.names.describe_names", fail)
    monkeypatch.setattr("bitloss.api.describe_names", fail)
    assert main(["list"]) == 1
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: not enough memory: Unable to allocate 9.00 TiB"
    assert hint.startswith("hint: lower --batch-tokens")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_stdout_on_a_full_device() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "bitloss.cli.main", "list", "protocols"],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert error == "error: cannot write the output: the disk is full"
    assert hint.startswith("hint: free some space")


def test_a_reader_that_has_ended() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "bitloss.cli.main", "list", "protocols"],
        stdout=writer, stderr=subprocess.PIPE, text=True, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0] == "error: cannot write the output: its reader has ended"
