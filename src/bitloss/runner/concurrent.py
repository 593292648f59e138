"""Several calls at a time, each in a thread, so that an interruption ends all of them at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["side_by_side"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_PATIENCE = 0.05  # seconds between two looks at what runs


def side_by_side(
    call: Callable[[Item], Result],
    items: Sequence[Item],
    *,
    threads: int,
    end: Callable[[], None],
) -> list[Result]:
    """``[call(item) for item in items]``, `threads` of them at a time.

    Interrupted (Ctrl-C is raised here, in the caller's thread, wherever it happens to be), no
    further call begins, and those that run are ended by `end`, which is called again until they
    are gone: a call may have been about to start what `end` ends.

    Raises:
        BaseException: what interrupted it, or the first fault of a call.
    """
    stopped = threading.Event()
    # Counted here, since a pool that is interrupted while it starts a thread forgets the thread.
    begun: list[Item] = []
    ended: list[Item] = []

    def counted(item: Item) -> Result:
        begun.append(item)
        try:
            if stopped.is_set():
                raise CancelledError
            return call(item)
        finally:
            ended.append(item)

    with ThreadPoolExecutor(threads) as pool:
        try:
            futures = [pool.submit(counted, item) for item in items]
            # Not `result()` at once: a signal that comes while a thread gives the interpreter to
            # another, on its way to sleep, is not heard before it wakes.
            while (state := wait(futures, _PATIENCE, FIRST_EXCEPTION)).not_done:
                for future in state.done:
                    future.result()  # raises its fault
            return [future.result() for future in futures]
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            while len(ended) < len(begun):
                end()
                time.sleep(_PATIENCE)
            raise
