"""Is `--plan` right for a cluster?

    PYTHONPATH=src:tests python benchmarks/cluster.py MODEL VARIANT [--data DIR] [--limit N]
        [--corpora pocket-prose,pocket-code] [--tasks gsm8k,...] [--workers 2]

Starts a Ray cluster on this machine, of nodes of one CPU each, plans a run on it, carries it out,
and prints both times: from the first request for a worker to the last result. They are to be within
a factor of two where nothing else runs. Rates are those of an idle machine, so the CPU seconds of
the workers are printed beside the work that was planned.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from pathlib import Path

import psutil
import torch

from bitloss import api
from bitloss.runner import RunStore, execute, prepare, summarize
from bitloss.types import SilentProgress
from peers.ray_cluster import nodes
from sampling import sampled


def main() -> None:
    arguments = _parse()
    torch.set_num_threads(1)
    with nodes(arguments.workers) as cluster, tempfile.TemporaryDirectory() as scratch:
        spec = api.make_spec(
            arguments.model,
            [arguments.variant],
            corpora=_listed(arguments.corpora),
            tasks=_listed(arguments.tasks),
            limit=arguments.limit,
            data=arguments.data,
            dtype=arguments.dtype,
            executor=cluster.executor,
        )
        folder = Path(scratch)
        plan = prepare(spec, progress=SilentProgress())
        planned = summarize(plan, folder / "run").cluster
        assert planned is not None, "the run is on a cluster"
        store = RunStore(folder / "run")
        began = time.perf_counter()
        watch = _Watch()
        with store.locked(), sampled(watch.look, 0.5):
            execute(plan, store, command="", progress=SilentProgress())
        took = time.perf_counter() - began
    expected = planned.seconds or 0.0
    print(
        f"{Path(arguments.model).name}: {planned.workers} workers, planned {expected:.0f} s "
        f"({planned.start_seconds:.0f} s to start, busy {planned.busy:.0%}), took {took:.0f} s: "
        f"a factor of {max(took / expected, expected / took):.2f}"
    )
    worked = planned.workers * (planned.busy * expected + planned.start_seconds)
    wanted = f"{psutil.getloadavg()[0]:.1f} processes want {psutil.cpu_count()} CPUs"
    print(
        f"  workers: planned {worked:.0f} s of work and starting, "
        f"used {watch.seconds():.0f} s of CPU; {wanted}"
    )


class _Watch:
    """CPU seconds of the workers, which other programs do not lengthen as they do time."""

    def __init__(self) -> None:
        self._used: dict[int, float] = {}

    def seconds(self) -> float:
        return sum(self._used.values())

    def look(self) -> None:
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if "BitlossWorker" in " ".join(process.cmdline()):
                    used = process.cpu_times()
                    self._used[process.pid] = used.user + used.system


def _listed(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("variant")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--corpora", default="pocket-prose,pocket-code")
    parser.add_argument("--tasks", default="")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args()


if __name__ == "__main__":
    main()
