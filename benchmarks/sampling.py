"""What a process holds or uses while something runs, looked at every moment by a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["sampled"]


@contextmanager
def sampled(look: Callable[[], None], every: float) -> Iterator[None]:
    """Call a function every so many seconds, for the block."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(every):
            look()

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
