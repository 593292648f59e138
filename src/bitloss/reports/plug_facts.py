"""What bitloss's own tasks and corpora are called elsewhere, by their names in a result.

A result has names, and a file of the user's may have the name of a plug: facts of a plug are given
only for what was measured with it.
"""

from __future__ import annotations

from bitloss import registry
from bitloss.datasets.base import PublishedCorpus
from bitloss.results.tasks import ReferenceTask
from bitloss.tasks.base import Task, TaskFacts

__all__ = ["corpus_facts", "task_facts"]


def task_facts(name: str, task: ReferenceTask) -> TaskFacts | None:
    """The facts of the registered task that was measured; None for a task of the user's."""
    if name not in registry.TASKS:
        return None
    own: Task = registry.load("task", registry.TASKS, name)
    facts = own.facts if task.chat is None or own.chat is None else own.chat.facts
    same = set(task.scores) == set(facts.metrics) and task.license == facts.license
    return facts if same else None


def corpus_facts(name: str, source: str) -> PublishedCorpus | None:
    """The published text that was measured; None for another one, or for one in another form.

    Args:
        name: of the corpus.
        source: where it was read from (`bitloss.results.ReferenceCorpus.source`).
    """
    if name not in registry.CORPORA or "the published text has" in source:
        return None
    corpus = registry.load("corpus", registry.CORPORA, name)
    return corpus if isinstance(corpus, PublishedCorpus) else None
