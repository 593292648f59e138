"""A Ray cluster of several nodes on this machine, small and without a dashboard."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

__all__ = ["Nodes", "nodes"]

_STORE = 100_000_000
# How soon a node that was killed is known to be gone; Ray's own are for networks that stutter.
_SOON = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 6,
}


class Nodes:
    """A head without workers, and nodes of one CPU.

    Args:
        cluster: Ray's own.
    """

    def __init__(self, cluster: Any) -> None:
        self.cluster = cluster
        self.running: list[Any] = []
        # A node ends with the thread that started it.
        self._keeper = ThreadPoolExecutor(1)

    @property
    def executor(self) -> str:
        """The option that names it."""
        return f"ray://{self.cluster.address}"

    def add(self) -> None:
        """Another node, from any thread."""
        self.running.append(self._keeper.submit(self._add).result())

    def _add(self) -> Any:
        # Ray would set a signal's handler, which is the main thread's to do.
        with mock.patch("ray._private.utils.set_sigterm_handler"):
            return self.cluster.add_node(num_cpus=1, object_store_memory=_STORE)

    def kill(self, number: int = 0) -> None:
        """Kill a node with all its processes."""
        self.cluster.remove_node(self.running.pop(number), allow_graceful=False)

    def close(self) -> None:
        """End all of it."""
        self.cluster.shutdown()
        self._keeper.shutdown()


@contextlib.contextmanager
def nodes(count: int) -> Iterator[Nodes]:
    """A cluster of so many nodes, gone afterwards."""
    warnings.simplefilter("ignore")  # Ray's own
    import ray
    from ray._common.utils import get_default_ray_temp_dir
    from ray.cluster_utils import Cluster

    # Workers find the package and these tests as this process does.
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    folder = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # a socket's path has to be short
    # Whatever folder it is given, it notes its address in the default one, and does not make it.
    Path(get_default_ray_temp_dir()).mkdir(parents=True, exist_ok=True)
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0, "object_store_memory": _STORE, "include_dashboard": False,
            "_system_config": _SOON, "temp_dir": str(folder),
        },
    )  # fmt: skip
    found = Nodes(cluster)
    try:
        for _ in range(count):
            found.add()
        yield found
    finally:
        ray.shutdown()
        found.close()
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
