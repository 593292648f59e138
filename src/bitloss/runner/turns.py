"""Texts and tasks in turns, until the recommendation is settled.

A turn is a look at every text and a look at all tasks. After it the verdicts that the page would
show are made, and what they leave open says which variants go on: one whose level is open reads
more text, one whose capabilities are open gets more items, and one on which nothing hangs gets
neither. What the noise floor could change is scored again before it is judged. All intervals hold
at every look, so the order of looks changes no error rate. What is decided depends on the records
alone, so a run that was killed decides the same again.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import zip_longest

from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.corpus import CorpusRun
from bitloss.runner.costs import Costs
from bitloss.runner.enough import Enough, Settle
from bitloss.runner.jobs import Job
from bitloss.runner.run import Run
from bitloss.runner.tasks.decided import DecidedTasks
from bitloss.runner.tasks.grading import Grader

__all__ = ["Turns"]


class Turns:
    """Scores and evaluates the variants of a run on as much of it all as has to be known.

    Args:
        run: the run.
        corpora: its texts, which there may be none of.
        grader: grades texts that models write.
        settle: says after each turn which variants need no more; None goes on to the end.
    """

    def __init__(
        self, run: Run, corpora: Sequence[PlannedCorpus], grader: Grader, settle: Settle | None
    ) -> None:
        self._run = run
        self._enough = Enough()
        self._corpora = [CorpusRun(run, planned, self._enough) for planned in corpora]
        self._tasks = DecidedTasks(run, grader, self._enough)
        self._settle = settle

    def jobs(self, costs: Costs) -> list[Job]:
        """Everything that is to be done if nothing is decided before the end, in order.

        Args:
            costs: estimates what it takes.
        """
        jobs: list[Job] = []
        looks = [corpus.looks(costs) for corpus in self._corpora]
        turns = list(zip_longest(*looks, self._tasks.looks(costs), fillvalue=()))
        for number, turn in enumerate(turns, start=1):
            own = [job for look in turn for job in look]
            needs = tuple(job.key for job in own if job.kind == "collect")
            decide = partial(self._decide, is_last=number == len(turns))
            jobs += [*own, Job(f"decide/turn-{number}", "collect", decide, needs=needs)]
        last = jobs[-1].key
        return [*jobs, *(corpus.last_job(last) for corpus in self._corpora)]

    def _decide(self, *, is_last: bool) -> None:
        """Leave the variants of which enough is known."""
        if is_last or self._settle is None:
            return
        reading = {name for corpus in self._corpora for name in corpus.reading()}
        asked = self._tasks.asked()
        if not reading and not asked:
            return
        found = self._settle(self._run.store, self._run.manifest(), reading)
        self._enough.texts.update({n: why for n, why in found.texts.items() if n in reading})
        self._enough.tasks.update({n: why for n, why in found.tasks.items() if n in asked})
        self._tasks.note()
