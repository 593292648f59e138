"""The llama.cpp engine beside llama.cpp itself: the same perplexity, and what it costs.

    python benchmarks/llamacpp_engine.py tool SDIST OUT
    python benchmarks/llamacpp_engine.py perplexity --tool OUT/llama-perplexity --text FILE *.gguf
    python benchmarks/llamacpp_engine.py decode FILE.gguf
    python benchmarks/llamacpp_engine.py divergence --tool OUT/llama-perplexity --text FILE \
        --reference DIRECTORY --dense f32.gguf *.gguf

`tool` compiles llama.cpp's own `llama-perplexity` from the unpacked sdist of llama-cpp-python
(``pip download --no-binary :all: --no-deps llama-cpp-python==0.3.36``), linked against the
libraries that are installed with it: both sides run the same kernels. Everything runs with
``OMP_WAIT_POLICY=passive``; a machine that is busy slows the tool down several times without it.
"""

from __future__ import annotations

import argparse
import ctypes
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PASSIVE = {"OMP_WAIT_POLICY": "passive"}

CMAKE = """\
cmake_minimum_required(VERSION 3.18)
project(perplexity CXX)
set(CMAKE_CXX_STANDARD 17)
set(CMAKE_BUILD_TYPE Release)
find_package(Threads REQUIRED)
file(GLOB COMMON ${SOURCE}/common/*.cpp ${SOURCE}/common/jinja/*.cpp
     ${SOURCE}/common/parsers/*.cpp)
file(WRITE ${CMAKE_BINARY_DIR}/build-info.cpp "
#include \\"build-info.h\\"
#include <cstdio>
int llama_build_number(void) { return 0; }
const char * llama_commit(void) { return \\"\\"; }
const char * llama_compiler(void) { return \\"\\"; }
const char * llama_build_target(void) { return \\"\\"; }
const char * llama_build_info(void) { return \\"\\"; }
void llama_print_build_info(const char *, FILE *) {}
")
add_library(common STATIC ${COMMON} ${SOURCE}/vendor/cpp-httplib/httplib.cpp
            ${CMAKE_BINARY_DIR}/build-info.cpp)
target_include_directories(common PUBLIC ${SOURCE}/common ${SOURCE}/include ${SOURCE}/src
                           ${SOURCE}/ggml/include ${SOURCE}/vendor)
target_compile_options(common PRIVATE -O1 -w)
add_executable(llama-perplexity ${SOURCE}/tools/perplexity/perplexity.cpp
               ${SOURCE}/tools/perplexity/main.cpp)
target_compile_options(llama-perplexity PRIVATE -O3 -w)
target_link_libraries(llama-perplexity common ${LIBRARIES}/libllama.so ${LIBRARIES}/libggml.so
                      ${LIBRARIES}/libggml-cpu.so ${LIBRARIES}/libggml-base.so Threads::Threads)
set_target_properties(llama-perplexity PROPERTIES BUILD_RPATH ${LIBRARIES})
"""


def build_tool(sdist: Path, out: Path) -> Path:
    """Compile `llama-perplexity`."""
    spec = importlib.util.find_spec("llama_cpp")
    assert spec is not None
    assert spec.submodule_search_locations is not None
    libraries = Path(spec.submodule_search_locations[0]) / "lib"
    out.mkdir(parents=True, exist_ok=True)
    (out / "CMakeLists.txt").write_text(CMAKE)
    source = (sdist / "vendor" / "llama.cpp").resolve()
    given = [f"-DSOURCE={source}", f"-DLIBRARIES={libraries}"]
    subprocess.run(["cmake", "-S", out, "-B", out, *given], check=True)
    subprocess.run(["cmake", "--build", out, "--target", "llama-perplexity"], check=True)
    return out / "llama-perplexity"


def timed(command: Sequence[object]) -> tuple[str, float, float]:
    """Output, seconds by the clock and of the processor."""
    words = [str(word) for word in command]
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(words, env={**os.environ, **PASSIVE}, capture_output=True, text=True)
    seconds, after = time.perf_counter() - start, os.times()
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(words)}\nended with {done.returncode}:\n{done.stderr[-3000:]}")
    spent = (after.children_user - before.children_user) + (
        after.children_system - before.children_system
    )
    return done.stdout + done.stderr, seconds, spent


def bitloss(*words: object) -> tuple[str, float, float]:
    return timed([sys.executable, "-m", "bitloss", *words])


# The same perplexity ---------------------------------------------------------------------------


def compare_perplexity(tool: Path, text: Path, files: Sequence[Path], caches: Sequence[str]) -> int:
    """Print both perplexities of each file; 1 if a pair differs in its fourth decimal."""
    differs = 0
    print(f"{'file':14} {'cache':12} {'llama-perplexity':>17} {'bitloss':>10}")
    for file in files:
        for cache in caches:
            keys, _, values = cache.partition("/")
            flash = "on" if values.startswith(("q", "iq")) else "off"
            said, *_ = timed(
                [tool, "-m", file, "-f", text, "-c", 512, "-fa", flash, "-ctk", keys,
                 "-ctv", values]
            )  # fmt: skip
            (theirs,) = re.findall(r"Final estimate: PPL = ([\d.]+)", said)
            ours = f"{our_perplexity(file, text, keys, values):.4f}"
            differs += ours != theirs
            print(f"{file.stem:14} {cache:12} {theirs:>17} {ours:>10}", flush=True)
    return int(differs > 0)


def our_perplexity(file: Path, text: Path, keys: str, values: str) -> float:
    """By the engine's logits of the protocol's windows."""
    import torch

    from bitloss.datasets import load_corpus
    from bitloss.formats.tokenizers.loading import load_tokenizer
    from bitloss.protocols.llama_cpp import LlamaCpp

    windows = LlamaCpp().plan(load_corpus(str(text), data=None), load_tokenizer(file)).windows
    engine, losses = load_engine(file, keys, values), []
    for window in windows:
        rows = torch.cat(list(engine.logits(window)))
        targets = torch.from_numpy(window.ids[window.first :].astype(np.int64))
        losses.append(torch.nn.functional.cross_entropy(rows.double(), targets, reduction="none"))
    return float(torch.cat(losses).mean().exp())


def load_engine(file: Path, keys: str = "", values: str = "") -> Any:
    """The engine's model of a file."""
    from bitloss.engines.llamacpp.plug import ENGINE
    from bitloss.engines.values import Candidate, Model
    from bitloss.formats import open_checkpoint
    from bitloss.formats.base import identify
    from bitloss.spec.serving import Serving

    checkpoint = open_checkpoint(file)
    model = Model(file.stem, identify(checkpoint), checkpoint, file)
    assert ENGINE.logits is not None
    candidate = Candidate(model, "llama.cpp", serving=Serving(keys, values))
    return ENGINE.logits(candidate, batch_tokens=2048)


# The bare loop ---------------------------------------------------------------------------------


def bare_loop(file: Path, ids: np.ndarray, threads: int) -> Callable[[], float]:
    """Decodes windows as llama.cpp does; gives a function that returns the seconds it takes."""
    import llama_cpp as api

    callback = api.llama_log_callback(lambda level, text, data: None)
    api.llama_log_set(callback, ctypes.c_void_p(0))
    model = api.llama_model_load_from_file(os.fsencode(file), api.llama_model_default_params())
    options = api.llama_context_default_params()
    n = ids.shape[1]
    options.n_ctx = options.n_batch = options.n_ubatch = n
    options.n_threads = options.n_threads_batch = threads
    options.flash_attn_type = api.LLAMA_FLASH_ATTN_TYPE_DISABLED
    options.type_k = options.type_v = api.GGML_TYPE_F32
    context = api.llama_init_from_model(model, options)
    batch = api.llama_batch_init(n, 0, 1)
    batch.n_tokens = n

    def run(kept: Any = (callback, model)) -> float:
        del kept
        start = time.perf_counter()
        for window in ids:
            for at, token in enumerate(window.tolist()):
                batch.token[at], batch.pos[at] = token, at
                batch.n_seq_id[at], batch.seq_id[at][0] = 1, 0
                batch.logits[at] = at >= n // 2
            api.llama_memory_clear(api.llama_get_memory(context), True)
            assert api.llama_decode(context, batch) == 0
            api.llama_get_logits(context)
        return time.perf_counter() - start

    return run


def measure_decode(file: Path, rounds: int, windows: int) -> None:
    """Seconds of the bare loop and of the engine in interleaved rounds, and their ratio."""
    import torch

    from bitloss.types import Window

    engine = load_engine(file)
    rng = np.random.default_rng(0)
    ids = rng.integers(5, engine.vocabulary, (windows, 512)).astype(np.int32)
    bare = bare_loop(file, ids, torch.get_num_threads())
    given = [Window(np.append(own, np.int32(5)), 257) for own in ids]
    ratios = []
    for number in range(rounds + 1):
        theirs = bare()
        start = time.perf_counter()
        read = sum(len(block) for block in engine.logits_of(given))
        ours = time.perf_counter() - start
        assert read == windows * 256
        if number:  # the first round warms up
            ratios.append(theirs / ours)
            print(f"bare loop {theirs:6.2f} s   engine {ours:6.2f} s   ratio {ratios[-1]:.3f}")
    print(f"{file.stem}: engine at {np.median(ratios):.3f} of the bare loop (median of {rounds})")


# Divergence of several variants ----------------------------------------------------------------


def measure_divergence(
    tool: Path,
    text: Path,
    reference: Path,
    dense: Path,
    files: Sequence[Path],
    dtypes: Sequence[str],
) -> None:
    """Seconds of llama.cpp's two steps, and of bitloss with each engine."""
    from bitloss.results import Comparison

    found: dict[str, dict[str, float]] = {}
    totals: dict[str, tuple[float, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        logits = Path(folder) / "logits"
        _, clock, spent = timed(
            [tool, "-m", dense, "-f", text, "-c", 512, "--kl-divergence-base", logits]
        )
        size = logits.stat().st_size
        found["llama.cpp's tool"] = {}
        for file in files:
            said, *seconds = timed(
                [tool, "-m", file, "-f", text, "-c", 512, "--kl-divergence-base", logits,
                 "--kl-divergence"]
            )  # fmt: skip
            clock, spent = clock + seconds[0], spent + seconds[1]
            found["llama.cpp's tool"][file.stem] = float(
                re.findall(r"Mean\s+KLD:\s+([-\d.]+)", said)[0]
            )
        totals["llama.cpp's tool"] = clock, spent
        print(f"tool: {clock:.1f} s, {spent:.1f} s of the processor", flush=True)
        for engine, dtype in (("llama.cpp", "fp32"), *(("dense", dtype) for dtype in dtypes)):
            name = engine if engine == "llama.cpp" else f"dense {dtype}"
            out = Path(folder) / name
            _, *seconds = bitloss(
                "compare", reference, *files, "--engine", engine, "--protocol", "llama.cpp",
                "--corpus", text, "--out", out, "--no-report", "-q", "--dtype", dtype,
            )  # fmt: skip
            totals[name] = seconds[0], seconds[1]
            found[name] = {
                Path(variant.name).stem: next(iter(variant.corpora.values())).kl_divergence.mean
                for variant in Comparison.load(out).variants
            }
            print(f"{name}: {seconds[0]:.1f} s, {seconds[1]:.1f} s of the processor", flush=True)
    print(f"{'variant':10}" + "".join(f"{name:>18}" for name in found))
    for file in files:
        print(f"{file.stem:10}" + "".join(f"{v[file.stem]:18.6f}" for v in found.values()))
    base = totals["llama.cpp's tool"]
    for name, (clock, spent) in totals.items():
        print(
            f"{name:18} {clock:7.1f} s by the clock ({base[0] / clock:4.2f} times as fast), "
            f"{spent:7.1f} s of the processor ({base[1] / spent:4.2f})"
        )
    print(f"the tool's logits file: {size / 1e6:.0f} MB")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    tool = commands.add_parser("tool")
    tool.add_argument("sdist", type=Path)
    tool.add_argument("out", type=Path)
    decode = commands.add_parser("decode")
    decode.add_argument("--rounds", type=int, default=5)
    decode.add_argument("--windows", type=int, default=4)
    perplexity = commands.add_parser("perplexity")
    perplexity.add_argument("--caches", nargs="*", default=["f32/f32"])
    divergence = commands.add_parser("divergence")
    divergence.add_argument("--reference", type=Path, required=True)
    divergence.add_argument("--dense", type=Path, required=True)
    divergence.add_argument("--dtypes", nargs="*", default=["auto", "mixed", "bf16"])
    for command in (perplexity, divergence):
        command.add_argument("--tool", type=Path, required=True)
        command.add_argument("--text", type=Path, required=True)
    for command in (decode, perplexity, divergence):
        command.add_argument("files", type=Path, nargs="+")
    args = parser.parse_args()
    if args.command == "tool":
        print(build_tool(args.sdist, args.out))
    elif args.command == "perplexity":
        return compare_perplexity(args.tool, args.text, args.files, args.caches)
    elif args.command == "decode":
        for file in args.files:
            measure_decode(file, args.rounds, args.windows)
    else:
        measure_divergence(
            args.tool, args.text, args.reference, args.dense, args.files, args.dtypes
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
