"""Work as values: a run is a list of jobs, read by resuming, by ``--plan`` and by executors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Job", "JobKind", "Resources", "require_order"]

JobKind = Literal[
    "make-variant", "states", "pair", "floor", "texts", "grade", "collect", "speed", "ahead"
]
"""``make-variant``: quantize or open. ``states``: read a text with one model. ``pair``: compare a
group of models on it. ``floor``: what the measurement itself adds. ``texts``: let one model write.
``grade``: grade what it wrote. ``collect``: write down what a corpus or task came to. ``speed``:
time one model beside the reference. ``ahead``: hand out the work of later jobs."""


@dataclass(frozen=True, slots=True)
class Resources:
    """What a job takes, estimated before it is run.

    Attributes:
        seconds: None if nothing is known to estimate from.
        memory_bytes: at the peak.
        disk_bytes: written.
        tokens: read and generated.
        device: a torch device.
        share: of the machine's cores that it keeps busy, 0 to 1; jobs whose shares add up to 1 may
            run side by side.
        parts: pieces that workers can share.
        background: whether it leaves the device alone and may run beside jobs that use it.
        by_layers: whether the model is read a layer at a time.
    """

    seconds: float | None = 0.0
    memory_bytes: int = 0
    disk_bytes: int = 0
    tokens: int = 0
    device: str = "cpu"
    share: float = 1.0
    parts: int = 1
    background: bool = False
    by_layers: bool = False


@dataclass(frozen=True, slots=True)
class Job:
    """One piece of work.

    Running a job again is safe: what the store has is not done twice, so to resume a run is to run
    its list again. A model that is at fault does not fail the job; later jobs leave it out.

    Attributes:
        key: name within the run, the same in every attempt: ``states/corpora/wikitext-2/gptq-4``.
        kind: see `JobKind`.
        run: does it.
        model: name of the model whose work it is; empty for what concerns several.
        needs: keys of jobs that must have ended.
        resources: see `Resources`.
        ahead: hands the work out that `run` is going to wait for, where others can do it; called
            once all variants are made (of those, before). None for what depends on how earlier
            jobs came out. What was handed out and is not needed after all changes nothing.
    """

    key: str
    kind: JobKind
    run: Callable[[], None]
    model: str = ""
    needs: tuple[str, ...] = ()
    resources: Resources = Resources()
    ahead: Callable[[], None] | None = None


def require_order(jobs: Sequence[Job]) -> None:
    """Check that every job comes after all that it needs, and that keys are unique.

    Raises:
        ValueError: the list breaks the rule; the first job that does is named.
    """
    seen: set[str] = set()
    for job in jobs:
        missing = [key for key in job.needs if key not in seen]
        if missing:
            raise ValueError(f"job `{job.key}` needs `{missing[0]}`, which does not come before it")
        if job.key in seen:
            raise ValueError(f"two jobs have the key `{job.key}`")
        seen.add(job.key)
