"""Work that another thread does meanwhile: copies to a device and writes to a disk, which wait."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

__all__ = ["Hand", "behind"]

Hand = Callable[[Callable[[], object]], None]
"""Takes work over; raises what earlier work has raised."""

# Each holds a tensor.
_WAITING = 2


@contextmanager
def behind(*, threaded: bool) -> Iterator[Hand]:
    """Give a function that takes work over, for the block, and does it in order. At the end of the
    block all of it is done.

    Args:
        threaded: whether another thread does it; otherwise it is done at once.
    """
    if not threaded:
        yield lambda work: work()  # type: ignore[misc]
        return
    waiting: deque[Future[object]] = deque()
    with ThreadPoolExecutor(1, thread_name_prefix="behind") as thread:

        def hand(work: Callable[[], object]) -> None:
            if len(waiting) >= _WAITING:
                waiting.popleft().result()
            waiting.append(thread.submit(work))

        try:
            yield hand
            while waiting:
                waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()  # of no use after an error
