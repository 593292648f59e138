"""What happens in directories, told as it happens (inotify), and what processes leave behind."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import struct
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "Event",
    "Watch",
    "adopt_orphans",
    "descendants",
    "end_all",
    "held_locks",
    "reap",
]

_CREATE, _DELETE, _MOVED_TO = 0x100, 0x200, 0x80
_KINDS = {_CREATE: "begun", _DELETE: "removed", _MOVED_TO: "written"}
_HEADER = struct.Struct("iIII")
_PR_SET_CHILD_SUBREAPER = 36
_RANDOM = re.compile(r"(\.tmp-?|\.making-|bitloss-scratch-)\S*$")
_DIGEST = re.compile(r"[0-9a-f]{16,}")


@dataclass(frozen=True)
class Event:
    """Something that happened to a file.

    Attributes:
        what: ``begun``, ``written`` (renamed to its name) or ``removed``.
        folder: the one that is watched, as it was named.
        name: in the folder, without what is random in it.
    """

    what: str
    folder: str
    name: str

    @property
    def kind(self) -> str:
        """What it is one of: without digests."""
        name = _DIGEST.sub("*", self.name)
        # What libraries name is all random.
        return f"{self.what} {self.folder}/{name if '-' in name or self.folder != 'tmp' else '*'}"


class Watch:
    """Watches folders, which have to be there; the folders below them are not watched.

    Args:
        folders: by the names that events have.
    """

    def __init__(self, folders: dict[str, Path]) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        self._names: dict[int, str] = {}
        for name, folder in folders.items():
            mask = _CREATE | _DELETE | _MOVED_TO
            number = libc.inotify_add_watch(self._descriptor, os.fsencode(folder), mask)
            if number < 0:
                raise OSError(ctypes.get_errno(), f"cannot watch {folder}")
            self._names[number] = name

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self._descriptor)

    def wait(self, seconds: float) -> list[Event]:
        """What happened since, or happens first within so many seconds."""
        if not select.select([self._descriptor], [], [], seconds)[0]:
            return []
        with contextlib.suppress(BlockingIOError):
            return list(self._events(os.read(self._descriptor, 1 << 16)))
        return []

    def _events(self, data: bytes) -> Iterator[Event]:
        place = 0
        while place < len(data):
            number, mask, _, length = _HEADER.unpack_from(data, place)
            place += _HEADER.size
            name = os.fsdecode(data[place : place + length].rstrip(b"\0"))
            place += length
            kind = next((kind for bit, kind in _KINDS.items() if mask & bit), None)
            if kind is not None:
                yield Event(kind, self._names[number], _RANDOM.sub(r"\1", name))


# Processes --------------------------------------------------------------------------------


def adopt_orphans() -> None:
    """Have what killed processes leave become children of this one, however it was started."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl")


def reap() -> None:
    """Forget the children that have ended."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def descendants(process: int | None = None) -> dict[int, str]:
    """The command lines of all living processes below one, by their ids."""
    found: dict[int, str] = {}
    pending = [os.getpid() if process is None else process]
    while pending:
        for file in Path(f"/proc/{pending.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                for child in map(int, file.read_text().split()):
                    pending.append(child)
                    if words := _living(child):
                        found[child] = words
    return found


def _living(process: int) -> str:
    """Its command line; empty for one that has ended and waits to be reaped."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{process}/stat").read_text(errors="replace").rpartition(") ")[2][:1]
        words = Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ")
        return "" if state in "ZX" else words.decode(errors="replace").strip() or "?"
    return ""


def end_all(*, within: float, spare: Collection[int] = ()) -> dict[int, str]:
    """Wait until nothing that this process adopted lives; what still does is killed, and told."""
    until = time.monotonic() + within
    while True:
        reap()
        left = {child: words for child, words in descendants().items() if child not in spare}
        if not left or time.monotonic() > until:
            break
        time.sleep(0.01)
    for child in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    return left


def held_locks(folder: Path) -> list[str]:
    """Files of locks that somebody holds."""
    held = []
    for path in sorted(folder.rglob(".lock*")):
        lock = os.open(path, os.O_RDWR)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(path.name)
        finally:
            os.close(lock)
    return held
