"""Plan, jobs, store: a run that can be killed at any moment and resumed.

plan         everything checked that can be checked before the long work begins
models       the reference and its variants, located or made, and opened
corpora      texts cut into windows
jobs         work as values
replaced     what a run directory's result would lose
unchanged    whether a finished run would come out as it is
execution    a plan's list of jobs, carried out
executors    where jobs are run: here, or by workers elsewhere; concurrent: several calls at a time
run          what a run has come to so far
corpus       one corpus: its jobs and their results
tasks        the tasks: their jobs and their results
sequential   texts scored in looks until enough is known
noise        how small a loss the run can see
costs        what jobs take; estimate: what the whole run takes (``--plan``)
store        the run directory
environment  what a result depends on besides models and text

Importing this package loads the store alone: a finished run is read without an engine.
"""

from __future__ import annotations

import importlib
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.runner.store import RunStore

if TYPE_CHECKING:
    from bitloss.runner.estimate import summarize
    from bitloss.runner.execution import execute
    from bitloss.runner.plan import Plan, prepare
    from bitloss.runner.replaced import refuse_to_replace

__all__ = ["Plan", "RunStore", "execute", "prepare", "refuse_to_replace", "summarize"]

_LAZY = MappingProxyType(
    {
        "Plan": "bitloss.runner.plan",
        "execute": "bitloss.runner.execution",
        "prepare": "bitloss.runner.plan",
        "refuse_to_replace": "bitloss.runner.replaced",
        "summarize": "bitloss.runner.estimate",
    }
)


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module `{__name__}` has no attribute `{name}`")
    return getattr(importlib.import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
