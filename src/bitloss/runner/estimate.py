"""What a run will cost, before it is run: `--plan`."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from bitloss.quantizers import quantizer_of
from bitloss.runner.arithmetic import first_precision
from bitloss.runner.candidates import state_width
from bitloss.runner.plan import Plan
from bitloss.runner.shards import forwards, shards
from bitloss.types import PlannedModel, PlanSummary

if TYPE_CHECKING:
    import torch

__all__ = ["summarize"]

# Python with torch and transformers imported, before any weight.
_BASE_MEMORY = 450 << 20
# Of the products' peak speed, what scoring reaches (benchmarks/throughput.py).
_EFFICIENCY = 0.6
_RECORD_BYTES = 34


def summarize(plan: Plan, run_dir: Path) -> PlanSummary:
    """Jobs, tokens, memory, disk and time of every model of the plan.

    Args:
        plan: from `prepare`; nothing of it is run, no variant is made.
        run_dir: where the run would be, for the free space there.

    Times are estimated from the machine's speed at a matrix product, measured here for a moment;
    making a variant from a recipe comes on top.
    """
    import torch

    parameters = plan.reference.checkpoint.info.parameters
    work = _work(plan)
    precision = first_precision(plan.spec, parameters, work.tokens * (1 + len(plan.variants)))
    size = 2 if precision == "bf16" else 4
    states = work.scored * state_width(plan.reference) * size
    rate = _product_rate(torch.bfloat16 if precision == "bf16" else torch.float32)
    seconds = 2.0 * parameters * work.tokens / (rate * _EFFICIENCY)

    def planned(name: str, *, kept: int, note: str = "") -> PlannedModel:
        return PlannedModel(
            name=name,
            jobs=work.jobs,
            tokens=work.tokens,
            memory_bytes=_BASE_MEMORY + parameters * size,
            disk_bytes=kept + work.scored * _RECORD_BYTES,
            seconds=seconds,
            note=note,
        )

    models = [planned(plan.reference.name, kept=states)]
    for ref in plan.variants:
        recipe = ref.recipe
        if recipe is None:
            note = "fetched from the hub first" if ref.kind == "hub" else ""
            models.append(planned(ref.text, kept=states, note=note))
        else:
            made = int(parameters * quantizer_of(recipe).bits_per_weight(recipe) / 8)
            note = "made first, unless it is in the cache"
            models.append(planned(ref.text, kept=states + made, note=note))
    return PlanSummary(
        models=tuple(models),
        corpora=tuple(corpus.facts.name for corpus in plan.corpora),
        tasks=tuple(task.name for task in plan.tasks),
        protocol=plan.spec.protocol,
        dtype=precision,
        device=plan.spec.device,
        memory_available=psutil.virtual_memory().available,
        disk_available=shutil.disk_usage(_existing(run_dir)).free,
        notes=(
            f"time from a matrix product at {rate / 1e9:.0f} GFLOP/s, measured now",
            "disk of a variant's hidden states is freed during the run",
            *_about_looks(plan),
            *_about_texts(plan, work),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Work:
    """What every model has to do: jobs, tokens read and written, tokens scored."""

    jobs: int
    read: int
    written: int
    scored: int

    @property
    def tokens(self) -> int:
        return self.read + self.written


def _work(plan: Plan) -> _Work:
    batch = plan.spec.batch_tokens
    asked = [
        window for task in plan.tasks for question in task.questions for window in question.windows
    ]
    cut = shards if plan.stopping is None else forwards
    pieces = [piece for corpus in plan.corpora for piece in cut(corpus.windows, batch)]
    pieces += shards(asked, batch, share_prefixes=True) if asked else []
    requests = [request for task in plan.tasks for _, request in task.requests()]
    return _Work(
        jobs=len(pieces) + sum(bool(task.requests()) for task in plan.tasks),
        read=sum(piece.tokens for piece in pieces) + sum(len(r.prompt) for r in requests),
        written=sum(request.decoding.max_new_tokens for request in requests),
        scored=sum(window.n_scored for corpus in plan.corpora for window in corpus.windows)
        + sum(window.n_scored for window in asked),
    )


def _about_looks(plan: Plan) -> tuple[str, ...]:
    if plan.stopping is None:
        return ()
    return (
        "corpora are read in looks, the first at 4 % of the text: tokens, disk and time are what "
        "it takes if nothing can be said before the end",
    )


def _about_texts(plan: Plan, work: _Work) -> tuple[str, ...]:
    if not work.written:
        return ()
    names = [task.name for task in plan.tasks if task.requests()]
    return (
        f"{', '.join(names)}: models may write {work.written:,} of the tokens; most texts end "
        "earlier, but writing is slower than reading",
    )


def _product_rate(dtype: torch.dtype) -> float:
    """Multiply-adds a second (times two) of a product of a model's size, best of a few."""
    import torch

    left, right = torch.randn(1024, 1024).to(dtype), torch.randn(2048, 1024).to(dtype)
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        torch.nn.functional.linear(left, right)
        best = min(best, time.perf_counter() - start)
    return 2.0 * 1024 * 1024 * 2048 / best


def _existing(path: Path) -> Path:
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
