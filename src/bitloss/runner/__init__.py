"""Plan, jobs, store: a run that can be killed at any moment and resumed."""

from bitloss.runner.estimate import summarize
from bitloss.runner.execute import execute
from bitloss.runner.plan import Plan, prepare
from bitloss.runner.store import RunStore

__all__ = ["Plan", "RunStore", "execute", "prepare", "summarize"]
