"""A run over models in memory and one corpus, without files but those of its store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from bitloss.engines.values import Model
from bitloss.results.manifest import CorpusEntry
from bitloss.runner import Plan, RunStore
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.corpus import CorpusRun
from bitloss.runner.costs import Costs
from bitloss.runner.jobs import Job
from bitloss.runner.models import Reference, Variant
from bitloss.runner.run import Run
from bitloss.runner.sequential import Stopping
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.spec.model import ModelRef
from bitloss.spec.run import RunSpec
from bitloss.types import SilentProgress, Window
from peers.scoring import facts_of

__all__ = ["corpus_jobs", "make_run", "run_corpus", "without_golds"]

# What no test of a corpus needs: a tokenizer, and what encodes the prompts of tasks.
_NONE = cast("Any", None)


def make_run(
    store: RunStore, models: Mapping[str, Model], windows: Sequence[Window], *names: str,
    stopping: Stopping | None = None, **choices: Any,
) -> Run:  # fmt: skip
    """A run of ``models["reference"]`` and the named variants, opened, on a corpus ``text``.

    Args:
        store: the run directory.
        models: by name.
        windows: of the corpus.
        names: of the variants.
        stopping: see `Plan.stopping`.
        choices: of the `RunSpec`.
    """
    spec = RunSpec(reference="reference", variants=names, **{"batch_tokens": 64, **choices})
    refs = {name: ModelRef(name, "path", path=Path(name)) for name in names}
    plan = Plan(
        spec=spec,
        reference=Reference(models["reference"], Path("reference"), _NONE),
        variants=tuple(refs.values()),
        corpora=(PlannedCorpus(facts_of(windows), tuple(windows)),),
        tasks=(),
        encoder=_NONE,
        eos_ids=frozenset(),
        stopping=stopping,
    )
    opened = {name: Variant(ref, replace(models[name], name=name)) for name, ref in refs.items()}
    return Run(plan, store, SilentProgress(), opened=opened)


def corpus_jobs(run: Run) -> list[Job]:
    """The jobs of the run's corpus."""
    (planned,) = run.plan.corpora
    identity = run.reference.model.identity
    return CorpusRun(run, planned).jobs(Costs(identity, "cpu", measure=False))


def run_corpus(run: Run) -> CorpusEntry:
    """Carry out the jobs of the run's corpus, one after the other."""
    for job in corpus_jobs(run):
        job.run()
    return run.corpora["text"]


def without_golds(planned: PlannedTask) -> PlannedTask:
    """A task that generates text, as if its data had no gold answers."""
    questions = (
        replace(question, item=replace(question.item, gold_answer=None), windows=())
        for question in planned.questions
    )
    return replace(planned, questions=tuple(questions))
