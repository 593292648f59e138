"""A campaign of lost workers and machines; prints how many were killed and how many runs differed.

Some minutes:

    PYTHONPATH=src:tests python -m campaigns.cluster [--kills N] [--seed N] [-v]

A run of the bundled model (a text, options, texts) is repeated on a Ray cluster of two nodes on
this machine. While it runs, workers are killed by SIGKILL and nodes with all their processes, at
random moments; for a node another one comes. It ends when so many were killed.

Oracle: the same run on this machine alone. Records, manifest and comparison are compared byte for
byte. A run that says that it lost workers too often is no fault if it did, and is run again to its
end: what came home is there.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bitloss
from bitloss.errors import DataError
from peers.ray_cluster import Nodes, nodes

__all__ = ["run_campaign"]

_ACTOR = "BitlossWorker"
_OPTIONS: dict[str, Any] = {
    "corpora": ["pocket-prose"], "tasks": ["pocket_knowledge_en", "pocket_math"], "limit": 60,
    "max_length": 256, "stride": 256,
}  # fmt: skip


def _noisy(folder: Path) -> Path:
    from e2e.test_cluster import noisy_pocket

    return noisy_pocket(folder)


def compared(variants: list[Path], out: Path, **more: Any) -> dict[str, bytes]:
    """The files of a run's result."""
    bitloss.compare("pocket", variants, out=out, **_OPTIONS, **more)
    kept = [out / "comparison.json", out / "manifest.json", *(out / "records").iterdir()]
    return {path.name: path.read_bytes() for path in kept}


@dataclass
class Killer:
    """Kills while a run runs.

    Attributes:
        cluster: whose workers and nodes.
        dice: decides what and when.
        most: kills at most.
        killed: what was.
    """

    cluster: Nodes
    dice: random.Random
    most: int
    killed: list[str] = field(default_factory=list)

    def while_(self, run: Callable[[], Any]) -> Any:
        """What the run gives."""
        ended = threading.Event()
        thread = threading.Thread(target=self._kill, args=(ended,))
        thread.start()
        try:
            return run()
        finally:
            ended.set()
            thread.join()

    def _kill(self, ended: threading.Event) -> None:
        while len(self.killed) < self.most:
            if ended.wait(self.dice.uniform(1.0, 12.0)):
                return
            workers = _workers()
            if not workers:
                continue  # nobody works yet
            if self.dice.random() < 0.5:
                os.kill(self.dice.choice(workers), signal.SIGKILL)
                self.killed.append("worker")
                continue
            self.cluster.kill(self.dice.randrange(len(self.cluster.running)))
            self.killed.append("node")
            self.cluster.add()


def _workers() -> list[int]:
    import psutil

    found = []
    for process in psutil.Process().children(recursive=True):
        try:
            if _ACTOR in " ".join(process.cmdline()):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def run_campaign(kills: int, seed: int, folder: Path, *, verbose: bool = False) -> Counter[str]:
    """Run until so many were killed; counts of what happened."""
    dice = random.Random(seed)
    variants = [_noisy(folder / "noisy")]
    alone = compared(variants, folder / "alone")
    counts: Counter[str] = Counter()
    with nodes(2) as cluster:
        while counts["worker"] + counts["node"] < kills:
            counts["runs"] += 1
            out = folder / f"run{counts['runs']}"
            began = time.monotonic()
            left = kills - counts["worker"] - counts["node"]
            killer = Killer(cluster, dice, left)

            def run(out: Path = out) -> dict[str, bytes]:
                return compared(variants, out, executor=cluster.executor)

            try:
                found = killer.while_(run)
            except DataError as error:
                counts["given up"] += 1
                print(f"given up after {len(killer.killed)} kills: {error.message}", flush=True)
                found = run()
            counts.update(killer.killed)
            wrong = [name for name in {*alone, *found} if alone.get(name) != found.get(name)]
            counts["differing"] += bool(wrong)
            if verbose or wrong:
                names = ", ".join(killer.killed) or "nothing"
                print(f"{names} killed in {time.monotonic() - began:.0f} s: "
                      f"{'; '.join(wrong) or 'the same bytes'}", flush=True)  # fmt: skip
    return counts


def main() -> int:
    """Run all of it; the exit status says whether a run differed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-v", "--verbose", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        counts = run_campaign(
            arguments.kills, arguments.seed, Path(folder), verbose=arguments.verbose
        )
    print(f"killed {counts['worker']} workers and {counts['node']} nodes in {counts['runs']} runs, "
          f"{counts['differing']} differing, {counts['given up']} given up")  # fmt: skip
    return 1 if counts["differing"] else 0


if __name__ == "__main__":
    sys.exit(main())
