"""The process of the untrusted solution: defines it, then calls it when asked.

All that this module can reach is the solution's too, once it runs: two pipes to the tests' process
and two for what it prints. What is written into any of them is only ever read as plain data.
"""

from __future__ import annotations

import os
import resource
import sys
import types

from . import codec
from .failures import MESSAGE, summarize
from .pipes import Closed, Pipes
from .serving import Server

TYPE_CHECKING = False  # as in `codec`
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["main"]


def main(requests: int, replies: int, started: int, limits: dict[str, int]) -> None:
    """Serve calls until the tests' process hangs up.

    Args:
        requests: descriptor to read calls from.
        replies: descriptor to write results to.
        started: a socket; one byte tells who listens that the sandbox stands. Closed before
            anything untrusted runs.
        limits: soft and hard limit by the name of the resource, ``"RLIMIT_AS"`` ...
    """
    for name, limit in limits.items():
        _lower(getattr(resource, name), limit)
    os.write(started, b"!")
    os.close(started)
    pipes = Pipes(requests, replies)
    try:
        name, source = codec.decode(pipes.receive())
        function = _define(pipes, name, source)
        if function is not None:
            Server(pipes, function).run()
    except Closed:
        pass
    # Neither threads nor handlers of the solution are waited for.
    os._exit(0)


def _lower(kind: int, limit: int) -> None:
    _, hard = resource.getrlimit(kind)
    limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
    resource.setrlimit(kind, (limit, limit))


def _define(pipes: Pipes, name: str, source: str) -> Callable[..., Any] | None:
    """Run the solution's source as a module and find the function."""
    try:
        # As in a file: a byte order mark at its beginning is no part of it.
        code = compile(source.removeprefix("\ufeff"), "<solution>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, OverflowError) as error:
        pipes.send(b"Y" + codec.encode(f"{type(error).__name__}: {error}"[:MESSAGE]))
        return None
    except (MemoryError, RecursionError) as error:
        pipes.send(_failure(error))
        return None
    module = types.ModuleType("solution")
    sys.modules["solution"] = module  # where dataclasses look for their annotations
    try:
        exec(code, module.__dict__)
        function: Callable[..., Any] = module.__dict__[name]
    except KeyError as error:
        if name in module.__dict__ or error.args != (name,):
            pipes.send(_failure(error))
        else:
            pipes.send(_failure(NameError(f"name '{name}' is not defined")))
        return None
    except BaseException as error:
        pipes.send(_failure(error))
        return None
    pipes.send(b"T" if isinstance(function, type) else b"K")
    return function


def _failure(error: BaseException) -> bytes:
    return codec.encode(summarize(error), codec.Writer(b"X"))
