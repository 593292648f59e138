"""What a run directory's result has that a new run would not: nobody is to lose it by surprise.

The records stay whatever happens, since their names are fingerprints of what they are. Only the
result, ``comparison.json``, is written again.
"""

from __future__ import annotations

from pathlib import Path

from bitloss.errors import BitlossError, UsageError
from bitloss.results.manifest import MANIFEST_FILE, UNFINISHED_FILE, Manifest
from bitloss.runner.plan import Plan

__all__ = ["refuse_to_replace"]

_RESULT = "comparison.json"


def refuse_to_replace(plan: Plan, out: Path) -> None:
    """Refuse to write the plan's result over one that has more, or that is of something else.

    Args:
        plan: of the new run.
        out: the run directory; may be absent or empty.

    Raises:
        UsageError: there is such a result; the message says what would be lost.
    """
    manifest = out / MANIFEST_FILE
    if not manifest.is_file():
        if (out / _RESULT).exists() and not (out / UNFINISHED_FILE).exists():
            raise UsageError(
                f"{out / _RESULT} is there already, and no run of bitloss is beside it",
                hint="give another directory with --out, or --force to replace it",
            )
        return
    try:
        finished = Manifest.from_json(manifest.read_bytes(), name=str(manifest))
    except (BitlossError, OSError):
        return  # damaged: nothing can be made of it, and the new run writes it again
    if lost := _lost(plan, finished):
        raise UsageError(
            f"{out} holds a result with {lost}, which this run does not have",
            hint="give another directory with --out, or --force to replace the result (its records "
            "stay: the command that made it makes it again without scoring)",
        )


def _lost(plan: Plan, finished: Manifest) -> str:
    """The first thing that the new result would lack; empty if there is none."""
    reference = finished.reference
    if reference.info.digest != plan.reference.model.identity.info.digest:
        return f"the reference {reference.name}"
    names = {ref.text for ref in plan.variants}
    for variant in finished.variants:
        if variant.name not in names:
            return f"the variant {variant.name}"
    corpora = {planned.facts.name: planned.facts for planned in plan.corpora}
    for name, entry in finished.corpora.items():
        old, new = entry.facts, corpora.get(name)
        if new is None:
            return f"the corpus {name}"
        if (old.protocol, old.parameters) != (new.protocol, new.parameters):
            return f"{name} by another protocol"
        if old.digest != new.digest:
            return f"another text as {name}"
        if old.n_windows > new.n_windows:
            return f"{old.n_windows:,} windows of {name}"
    tasks = {planned.name: planned for planned in plan.tasks}
    for name, task in finished.tasks.items():
        if name not in tasks:
            return f"the task {name}"
        if task.digest != tasks[name].digest:
            return f"other items of {name}"
        if task.n_items > len(tasks[name].questions):
            return f"{task.n_items:,} items of {name}"
    return ""
