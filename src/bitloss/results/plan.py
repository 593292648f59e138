"""A run before it is run: what ``--plan`` says of it."""

from __future__ import annotations

from dataclasses import dataclass, field

__all__ = ["PlanSummary", "PlannedCluster", "PlannedModel"]


@dataclass(frozen=True, slots=True)
class PlannedModel:
    """What one model of a run will cost, as `--plan` shows it.

    Attributes:
        name: as in the result's tables.
        jobs: jobs of the run (a shard of a corpus each).
        tokens: tokens read.
        memory_bytes: at the peak, with what is held beside this model (the reference's states).
        disk_bytes: written to the run directory and the cache, made variants included.
        seconds: estimated; None where nothing is known to estimate from.
        note: what else there is to say of it (it has to be made, or fetched).
    """

    name: str
    jobs: int
    tokens: int
    memory_bytes: int
    disk_bytes: int
    seconds: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class PlannedCluster:
    """What a run takes of a cluster.

    Attributes:
        workers: that work at a time.
        cpus: of each.
        gpus: of each.
        memory_bytes: of each; 0 where it is the GPU's.
        start_seconds: until a worker is there, measured.
        seconds: from the start of the workers to the last result; None if a part is unknown.
        busy: share of that time in which workers load or work.
        price: of a worker per hour; None if not given.
    """

    workers: int
    cpus: int
    gpus: int
    memory_bytes: int
    start_seconds: float
    seconds: float | None
    busy: float
    price: float | None = None

    @property
    def worker_hours(self) -> float | None:
        """What is paid for: every worker, from the beginning to the end."""
        return None if self.seconds is None else self.workers * self.seconds / 3600

    @property
    def cost(self) -> float | None:
        """In the currency of the price."""
        hours = self.worker_hours
        return None if hours is None or self.price is None else hours * self.price


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """A run before it is run: what `--plan` prints.

    Attributes:
        models: the reference first.
        corpora: their names.
        tasks: their names.
        protocol: the perplexity protocol's name.
        dtype: arithmetic, as in the run's specification.
        device: a torch device.
        compared_seconds: of comparing the models, on top of the models' own; None if unknown.
        compared_bytes: memory that comparing takes at its peak.
        together_bytes: memory that jobs which run side by side take at their peak.
        memory_available: bytes free on the device, None where unknown.
        disk_available: bytes free where the run directory will be, None where unknown.
        notes: what the reader should know (where the estimate's speed was measured).
        cluster: where other machines do the work.
    """

    models: tuple[PlannedModel, ...]
    corpora: tuple[str, ...]
    protocol: str
    dtype: str
    device: str
    memory_available: int | None = None
    disk_available: int | None = None
    notes: tuple[str, ...] = field(default=())
    tasks: tuple[str, ...] = ()
    compared_seconds: float | None = 0.0
    compared_bytes: int = 0
    together_bytes: int = 0
    cluster: PlannedCluster | None = None

    @property
    def seconds(self) -> float | None:
        """Of the run; None if a part of it is unknown."""
        parts = [*(model.seconds for model in self.models), self.compared_seconds]
        known = [part for part in parts if part is not None]
        return sum(known) if len(known) == len(parts) else None

    @property
    def memory_bytes(self) -> int:
        """At the run's peak: its parts come one after the other, or side by side."""
        models = (model.memory_bytes for model in self.models)
        return max(self.compared_bytes, self.together_bytes, *models)

    @property
    def disk_bytes(self) -> int:
        """Of all models."""
        return sum(model.disk_bytes for model in self.models)
