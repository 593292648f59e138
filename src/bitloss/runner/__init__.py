"""Plan, jobs, store: a run that can be killed at any moment and resumed.

plan         everything checked that can be checked before the long work begins
models       the reference and its variants, located or made, and opened
corpora      texts cut into windows
jobs         work as values
replaced     what a run directory's result would lose
execute      a plan's list of jobs, carried out
executor     jobs run on this machine; concurrent: several calls at a time
run          what a run has come to so far
corpus       one corpus: its jobs and their results
tasks        the tasks: their jobs and their results
sequential   texts scored in looks until enough is known
noise        how small a loss the run can see
costs        what jobs take; estimate: what the whole run takes (``--plan``)
store        the run directory
environment  what a result depends on besides models and text
"""

from bitloss.runner.estimate import summarize
from bitloss.runner.execute import execute
from bitloss.runner.plan import Plan, prepare
from bitloss.runner.replaced import refuse_to_replace
from bitloss.runner.store import RunStore

__all__ = ["Plan", "RunStore", "execute", "prepare", "refuse_to_replace", "summarize"]
