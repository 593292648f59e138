"""A worker that does what its spec says, to see how the parent takes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitloss.errors import QuantizationError
from bitloss.quantizers.workers import serve


def main(spec: dict[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
    print("noise on stdout", flush=True)
    os.system("echo native noise on stdout")
    for done in range(spec.get("steps", 0)):
        report(done + 1, spec["steps"])
    if "straggler" in spec:
        # In a session of its own it outlives the worker, with the worker's stderr in its hands.
        late = ["sh", "-c", "sleep 0.3; echo late >&2; sleep 0.1; echo later >&2"]
        subprocess.Popen(late, start_new_session=True)
    if "signal" in spec:
        print("about to die", file=sys.stderr, flush=True)
        os.kill(os.getpid(), getattr(signal, spec["signal"]))
    if "exit" in spec:
        print("giving up\n" * 1000, file=sys.stderr, flush=True)
        os._exit(spec["exit"])
    if "unfit" in spec:
        raise QuantizationError(spec["unfit"], hint="take another")
    if "fault" in spec:
        raise ValueError(spec["fault"])
    if "sleep" in spec:
        child = subprocess.Popen(["sleep", "60"])
        Path(spec["pids"]).write_text(f"{os.getpid()} {child.pid}")
        time.sleep(60)
    return {"env": os.environ.get("BITLOSS_TEST", ""), "echo": spec.get("echo")}


if __name__ == "__main__":
    serve(main)
