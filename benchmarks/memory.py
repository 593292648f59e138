"""What bitloss says that a GGUF file takes to run, beside what llama.cpp takes.

    python benchmarks/memory.py FILE.gguf ... [--contexts N ...] [--caches TYPE ...] [--fill N]

Each case runs in a process of its own with llama.cpp's defaults (flash attention auto, windows kept
as windows), which fills `--fill` tokens of the context. Printed are the file, keys and values as
llama.cpp's log and as `bitloss.runner.memory` have them, and the resident memory beside the sum.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import subprocess
import sys
from pathlib import Path

_TYPES = {"f32": 0, "f16": 1, "q8_0": 8, "q4_0": 2}
_STATUS = Path("/proc/self/status")


def resident() -> int:
    (found,) = re.findall(r"VmRSS:\s+(\d+)", _STATUS.read_text())
    return int(found) * 1024


def take(file: Path, context: int, cache: str, fill: int) -> None:
    """Run a file in this process; prints bytes of keys and values, and of resident memory."""
    import llama_cpp as api

    lines: list[str] = []
    log = api.llama_log_callback(lambda level, text, data: lines.append(text.decode()))
    api.llama_log_set(log, ctypes.c_void_p(0))
    before = resident()
    model = api.llama_model_load_from_file(os.fsencode(file), api.llama_model_default_params())
    options = api.llama_context_default_params()
    options.n_ctx, options.swa_full = context, False
    options.n_threads = options.n_threads_batch = 1
    options.type_k = options.type_v = _TYPES[cache]
    made = api.llama_init_from_model(model, options)
    for at in range(0, fill, 512):
        count = min(512, fill - at)
        batch = api.llama_batch_init(count, 0, 1)
        batch.n_tokens = count
        for n in range(count):
            batch.token[n], batch.pos[n] = 5 + (at + n) % 1000, at + n
            batch.n_seq_id[n], batch.seq_id[n][0] = 1, 0
            batch.logits[n] = int(n == count - 1)
        assert api.llama_decode(made, batch) == 0
    found = re.findall(r"KV buffer size\s*=\s*([\d.]+) MiB", "".join(lines))
    print(round(sum(map(float, found)) * 2**20), resident() - before)


def report(file: Path, context: int, cache: str, fill: int) -> None:
    from bitloss.formats import open_checkpoint
    from bitloss.formats.base import identify
    from bitloss.runner.memory import buffer_bytes, context_bytes
    from bitloss.spec.serving import Serving

    words = [sys.executable, __file__, "--take", str(file), str(context), cache, str(fill)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    keys, taken = map(int, done.stdout.split())
    identity = identify(open_checkpoint(file))
    said = context_bytes(identity.config, Serving(cache, cache), context) or 0
    total = file.stat().st_size + said + (buffer_bytes(identity.config, identity.vocabulary) or 0)
    print(
        f"{file.name:16} {context:7} {cache:5} {keys / 2**20:10.2f} {said / 2**20:10.2f} "
        f"{taken / 2**20:10.1f} {total / 2**20:10.1f} {total / taken:6.2f}",
        flush=True,
    )


def main() -> int:
    if sys.argv[1:2] == ["--take"]:
        file, context, cache, fill = sys.argv[2:]
        take(Path(file), int(context), cache, int(fill))
        return 0
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--contexts", type=int, nargs="+", default=[2048, 8192])
    parser.add_argument("--caches", nargs="+", default=["f16", "q8_0"])
    parser.add_argument("--fill", type=int, default=512)
    args = parser.parse_args()
    print("MiB of            context cache   llama.cpp    bitloss      taken  estimated  ratio")
    for file in args.files:
        for context in args.contexts:
            for cache in args.caches:
                report(file, context, cache, args.fill)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
