"""What the system refuses wherever it happens: no space, no memory, no reader. One place says how.

Libraries in C++ and Rust raise errors of their own for it; the system's words are in them.
"""

from __future__ import annotations

import errno
import os
import re
import resource
from collections.abc import Iterator

from bitloss.errors import BitlossError, StorageError

__all__ = ["disk_is_full", "explain", "file_is_too_large"]

_MEMORY = ("can't allocate memory", "Cannot allocate memory", "out of memory", "bad_alloc")
# numpy's words, which keep the reason to themselves.
_SHORT_WRITE = re.compile(r"^\d+ requested and \d+ written$")
_FILES = (errno.EMFILE, errno.ENFILE)
_SHOWN = 200
_LONGEST_CHAIN = 20


def disk_is_full(error: BaseException) -> bool:
    """Whether an error means that there is no space, or no quota, left."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    if _SHORT_WRITE.search(str(error)):
        return not _files_are_limited()
    # Libraries in Rust and C++ raise errors of their own, with the system's text in them.
    full = (f"os error {errno.ENOSPC}", os.strerror(errno.ENOSPC))
    return any(text in str(error) for text in full)


def file_is_too_large(error: BaseException) -> bool:
    """Whether an error means that a file would be larger than the system lets it be."""
    if isinstance(error, OSError) and error.errno == errno.EFBIG:
        return True
    if _SHORT_WRITE.search(str(error)):
        return _files_are_limited()
    return f"os error {errno.EFBIG}" in str(error) or os.strerror(errno.EFBIG) in str(error)


def explain(error: BaseException) -> BitlossError | None:
    """The error as users read it; None if it is not the system's but a bug of the program."""
    chain = list(_chain(error))
    if any(map(disk_is_full, chain)):
        return StorageError(
            f"cannot write {_place(chain)}: the disk is full",
            hint="free some space, or write to another place, and rerun the same command",
        )
    if any(map(file_is_too_large, chain)):
        return StorageError(
            f"cannot write {_place(chain)}: the file is larger than files may be here",
            hint="raise the limit (`ulimit -f`), or write to another file system",
        )
    if any(map(_no_memory, chain)):
        return StorageError(
            f"not enough memory: {_words(chain[-1])}",
            hint="lower --batch-tokens, end other programs, or raise the limit (`ulimit -v`)",
        )
    system = next((one for one in chain if isinstance(one, OSError) and one.errno), None)
    return None if system is None else _of_system(system, _place(chain))


def _files_are_limited() -> bool:
    return resource.getrlimit(resource.RLIMIT_FSIZE)[0] != resource.RLIM_INFINITY


def _of_system(error: OSError, place: str) -> BitlossError:
    reason = error.strerror or str(error)
    if error.errno == errno.EPIPE:
        return StorageError(
            "cannot write the output: its reader has ended",
            hint="rerun the command with a reader that reads to the end, or redirect it to a file",
        )
    if error.errno in _FILES:
        return StorageError(
            f"cannot open {place}: {reason}", hint="raise the limit of open files (`ulimit -n`)"
        )
    return StorageError(
        f"cannot use {place}: {reason}",
        hint="check the path, its permissions, and that its disk works",
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, the first cause last."""
    if isinstance(error, SystemExit) and error.__context__ is not None:
        error = error.__context__
    current: BaseException | None = error
    for _ in range(_LONGEST_CHAIN):
        if current is None:
            return
        yield current
        current = current.__cause__


def _no_memory(error: BaseException) -> bool:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(text in str(error) for text in _MEMORY)


def _place(chain: list[BaseException]) -> str:
    names = (getattr(error, "filename", None) for error in chain)
    name = next((name for name in names if name is not None), None)
    return "the output" if name is None else os.fsdecode(name)


def _words(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
