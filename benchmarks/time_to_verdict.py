"""How long until a recommendation is settled, beside a full run and lm-evaluation-harness?

    python benchmarks/time_to_verdict.py MODEL [--tasks T,...] [--items 40,120] [--out RUN]

A reference and seven GGUF files, made beforehand, on WikiText-2 and tasks, whole processes:

* `bitloss compare ... --until decided`, as long as it takes;
* the same command without it, and the harness with the reference (hf, bf16, batches of 8), asked
  once a model. Both read everything, hours of it, and their work grows evenly with what is read.
  So each is timed with two limits, and the line through both is followed to the end. Ours is timed
  in bf16, which leaves out what a full run scores again in float32.
  The harness reads the dense reference for every variant, which spares it their formats.

Both read the text in the harness's windows (protocol `lm-eval-wikitext`). Prints the three times,
their ratios, and the levels and recommendation of the decided run; `--full RUN` compares these with
those of a full run that was made at leisure (also its comparison.json; of a run that is not
finished, `bitloss report RUN --format json` writes one).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import harness
from bitloss.datasets import load_corpus
from bitloss.results import Comparison, Verdict
from bitloss.tasks import resolve_task
from tasks_against_lm_eval import harness_seconds

ROOT = Path(__file__).resolve().parents[1]
RECIPES = ("q8_0", "q6_k", "q5_k_m", "q4_k_m", "q4_0", "q3_k_m", "q2_k")
LENGTH = 1024
TEXT = ("--corpus", "wikitext-2", "--protocol", "lm-eval-wikitext", "--max-length", LENGTH)


def main() -> None:
    arguments = _parse()
    tasks = arguments.tasks.split(",")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        variants = _made(arguments.model, arguments.variants or work / "variants")
        command = _compare(arguments, variants)
        decided, n_items = arguments.out or work / "decided", _items(tasks, arguments.data)
        ours = arguments.seconds or _decided(command, tasks, decided)
        print(f"--until decided, {1 + len(variants)} models: {ours:.0f} s", flush=True)
        result = Comparison.load(decided)
        _print_verdicts(result)
        if arguments.full:
            _print_agreement(result, Comparison.load(arguments.full))
        if arguments.only_decided:
            return
        tokens = result.variants[0].corpora["wikitext-2"].n_total
        command += ["--dtype", "bf16"]
        full = _whole(arguments.limits, tokens, lambda n: _text(command, work, n))
        full += _whole(arguments.items, n_items, lambda n: _tasks(command, tasks, work, n))
        models = 1 + len(variants)
        print(f"all of it, {models} models: {full:.0f} s, {full / ours:.1f} times")
        peer = _peer(arguments, tasks, n_items) * models
        print(f"lm_eval {harness.VERSION} x {models}: {peer:.0f} s, {peer / ours:.1f} times")


def _made(model: Path, folder: Path) -> list[Path]:
    paths = [folder / f"{model.name}-{name}.gguf" for name in RECIPES]
    for name, path in zip(RECIPES, paths, strict=True):
        if not path.exists():
            words = ["quantize", model, path, "--recipe", f"gguf-{name}", "--quiet"]
            _timed([sys.executable, "-m", "bitloss", *words])
    return paths


def _compare(arguments: argparse.Namespace, variants: Sequence[Path]) -> list[object]:
    return [
        sys.executable, "-m", "bitloss", "compare", arguments.model, *variants,
        "--data", arguments.data, "--quiet",
    ]  # fmt: skip


def _decided(command: Sequence[object], tasks: Sequence[str], out: Path) -> float:
    words = [*command, *TEXT, "--tasks", ",".join(tasks), "--until", "decided", "--out", out]
    return _timed(words)


def _timed(command: Sequence[object]) -> float:
    start = time.perf_counter()
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, check=False)
    if done.returncode != 0:
        raise SystemExit(f"ended with {done.returncode}: {' '.join(map(str, command))}")
    return time.perf_counter() - start


def _items(tasks: Sequence[str], data: Path) -> int:
    """How many items the tasks have; each limit is of each task."""
    return sum(len(resolve_task(name).load(data).items) for name in tasks)


def _whole(limits: Sequence[int], total: int, seconds: Callable[[int], tuple[float, int]]) -> float:
    """The time of all of it, from the line through the times of two limits."""
    (first, few), (second, more) = (seconds(limit) for limit in limits)
    pace = (second - first) / (more - few)
    whole = first + pace * (total - few)
    print(f"  {few}: {first:.1f} s, {more}: {second:.1f} s, all {total}: {whole:.0f} s", flush=True)
    return whole


def _text(command: Sequence[object], work: Path, limit: int) -> tuple[float, int]:
    out = work / f"text-{limit}"
    seconds = _timed([*command, *TEXT, "--limit", limit, "--out", out])
    return seconds, Comparison.load(out).variants[0].corpora["wikitext-2"].n_scored


def _tasks(
    command: Sequence[object], tasks: Sequence[str], work: Path, limit: int
) -> tuple[float, int]:
    chosen = ["--tasks", ",".join(tasks), "--limit", limit, "--out", work / f"tasks-{limit}"]
    return _timed([*command, *chosen]), limit * len(tasks)


def _peer(arguments: argparse.Namespace, tasks: Sequence[str], n_items: int) -> float:
    """Seconds of the harness for one model."""
    interpreter = harness.python(arguments.environment)
    pages = load_corpus("wikitext-2", data=arguments.data).documents
    characters = sum(map(len, pages))

    def text(n: int) -> tuple[float, int]:
        args = f"dtype=bfloat16,max_length={LENGTH}"
        _, seconds = harness.wikitext(
            interpreter, arguments.model, pages[:n], model_args=args, batch_size=8
        )
        return seconds, sum(map(len, pages[:n]))

    def items(n: int) -> tuple[float, int]:
        job = [(name, name, None, n) for name in tasks]
        start = time.perf_counter()
        harness_seconds(interpreter, arguments.model, job, arguments.data)
        return time.perf_counter() - start, n * len(tasks)

    of_text = _whole(arguments.pages, characters, text)
    return of_text + _whole([2 * limit for limit in arguments.items], n_items, items)


def _print_verdicts(result: Comparison) -> None:
    for variant in result.variants:
        verdict = variant.verdict
        assert verdict is not None
        measured = {**variant.corpora, **variant.tasks}
        spent = ", ".join(
            f"{name} {one.n_scored} of {one.n_total}" for name, one in measured.items()
        )
        print(f"  {variant.name}: {verdict.level}, {verdict.outcome}; {spent}")
    print(f"  {_choice(result)}", flush=True)


def _choice(result: Comparison) -> str:
    assert result.answer is not None
    return result.answer.paragraphs[0]


def _print_agreement(result: Comparison, full: Comparison) -> None:
    for one, other in zip(result.variants, full.variants, strict=True):
        assert one.verdict is not None
        assert other.verdict is not None
        print(f"  {one.name}: {_found(one.verdict)}; whole run: {_found(other.verdict)}")
    print(f"  whole run: {_choice(full)}", flush=True)


def _found(verdict: Verdict) -> str:
    kept = ", ".join(f"{name} {one.outcome}" for name, one in verdict.capabilities.items())
    found = verdict.relative_perplexity
    assert found is not None
    assert found.low is not None
    assert found.high is not None
    return f"{verdict.level} ({found.value:.4f} [{found.low:.4f}, {found.high:.4f}]), {kept}"


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])

    def pair(text: str) -> list[int]:
        return [int(word) for word in text.split(",")]

    parser.add_argument("model", type=Path)
    parser.add_argument(
        "--tasks", default="arc_easy,hellaswag", help="that the harness calls the same"
    )
    parser.add_argument("--limits", type=pair, default=[8, 24], help="windows of a full run")
    parser.add_argument("--items", type=pair, default=[40, 120], help="of a task, of a full run")
    parser.add_argument("--pages", type=pair, default=[3, 9], help="that the harness reads")
    parser.add_argument("--seconds", type=float, help="what the run in --out took")
    parser.add_argument("--variants", type=Path, help="where the files are, or are to be made")
    parser.add_argument("--out", type=Path, help="run directory of the decided run")
    parser.add_argument("--full", type=Path, help="a full run, to compare verdicts with")
    parser.add_argument("--only-decided", action="store_true")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--environment", type=Path, default=harness.ENVIRONMENT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
