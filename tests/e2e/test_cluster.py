"""Runs on a Ray cluster of two nodes; oracle: the bytes of the same run on this machine alone.

The campaign `campaigns.cluster` kills nodes and workers many times; here one is killed.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import bitloss
from bitloss.errors import UsageError
from peers.ray_cluster import Nodes, nodes

pytest.importorskip("ray", reason="Ray is not installed: pip install 'bitloss[ray]'")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray's own, in threads and at its exit

OPTIONS: dict[str, Any] = {
    "corpora": ["pocket-prose"], "tasks": ["pocket_knowledge_en", "pocket_math"], "limit": 40,
    "max_length": 256, "stride": 256,
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster() -> Iterator[Nodes]:
    with nodes(2) as found:
        yield found


def noisy_pocket(folder: Path) -> Path:
    """The pocket model with a little noise in its weights."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = Path(bitloss.__file__).parent / "models" / "pocket"
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    dice = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.01 * weight.std() * torch.randn(weight.shape, generator=dice)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source).save_pretrained(folder)
    return folder


def compared(variant: Path, out: Path, **more: Any) -> dict[str, bytes]:
    bitloss.compare("pocket", [variant], out=out, **OPTIONS, **more)
    kept = [out / "comparison.json", out / "manifest.json", *(out / "records").iterdir()]
    return {path.name: path.read_bytes() for path in kept}


def kill_when(records: int, out: Path, cluster: Nodes) -> threading.Thread:
    """Kill a node once so many records have come home."""

    def watch() -> None:
        for _ in range(6000):
            if out.exists() and len(list(out.glob("records/*.parquet"))) >= records:
                cluster.kill()
                return
            time.sleep(0.02)

    thread = threading.Thread(target=watch)
    thread.start()
    return thread


def test_the_local_bytes_although_a_node_is_killed(cluster: Nodes, tmp_path: Path) -> None:
    noisy = noisy_pocket(tmp_path / "noisy")
    alone = compared(noisy, tmp_path / "alone")
    killer = kill_when(2, tmp_path / "shared", cluster)
    shared = compared(noisy, tmp_path / "shared", executor=cluster.executor)
    killer.join()
    assert len(cluster.running) == 1
    assert shared == alone
    # It is resumed by whoever has the folder, and nothing is left to do.
    assert compared(noisy, tmp_path / "shared") == alone


def test_no_room_for_a_worker(cluster: Nodes, tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with pytest.raises(UsageError, match="a worker needs 3 CPUs, the largest machine") as found:
            compared(tmp_path, tmp_path / "out", executor=cluster.executor)
    finally:
        torch.set_num_threads(before)
    assert found.value.hint.startswith("set OMP_NUM_THREADS")


def test_an_interruption_ends_the_workers_and_leaves_what_is_whole(
    cluster: Nodes, tmp_path: Path
) -> None:
    noisy = noisy_pocket(tmp_path / "noisy")
    while len(cluster.running) < 2:
        cluster.add()
    out = tmp_path / "shared"
    words = [
        "compare", "pocket", str(noisy), "--corpus", "pocket-prose", "--tasks", "pocket_math",
        "--max-length", "256", "--stride", "256", "--no-report", "--out", str(out),
    ]  # fmt: skip
    # Whoever runs the tests in the background may have told them to ignore the signal.
    command = ["env", "--default-signal=INT", sys.executable, "-m", "bitloss", *words]
    with subprocess.Popen(
        [*command, "--executor", cluster.executor], stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for _ in range(6000):
            if list(out.glob("records/*.parquet")) or process.poll() is not None:
                break
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGINT)
        printed, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert printed == ""
    assert "Traceback" not in said
    assert said.splitlines()[-1] == "interrupted; rerun the same command to resume"
    assert not list(out.rglob(".tmp-*"))
    assert not (out / "manifest.json").exists()
    for _ in range(200):
        if not workers():
            break
        time.sleep(0.05)
    assert not workers()


def workers() -> list[str]:
    """What actors of this machine are called by the system."""
    names = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            names.append(" ".join(process.cmdline()))
    return [name for name in names if "ray::BitlossWorker" in name]
