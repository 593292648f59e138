"""How fast are tasks answered beside lm-evaluation-harness?

    python benchmarks/tasks_against_lm_eval.py [--part mmlu|suite] [--rounds N] [--models DIR]

`mmlu`: five-shot questions of subjects with short and long solved examples, the first `--questions`
of each, scored as a run scores them (loading, records and all) and by the harness (hf, batch 8,
loading not counted), both bf16. `suite`: one `bitloss compare` of a reference and seven variants on
a mix of tasks, scores and divergences, whole process, against the harness's run of the same items
with one model, counted eight times. Interleaved, medians. Weights are random (0.5 B parameters,
Qwen2's shape), so tasks that generate are left to `generation.py`: such a model never stops.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import against_lm_eval
import harness
import random_models
from bitloss.formats.tokenizers.loading import HFTokenizer, load_tokenizer
from bitloss.runner.draw import draw_items
from bitloss.runner.tasks.encoding import Encoder
from bitloss.tasks import resolve_task
from bitloss.types import Window
from product import Product

ROOT = Path(__file__).resolve().parents[1]
CONTEXT = 4096
# Solved examples of 300 to 2,700 of Qwen2's tokens.
SUBJECTS = ("abstract_algebra", "college_biology", "professional_law", "high_school_us_history")
# By our name: the harness's, shots, and subtasks (`--items` are evaluated, evenly of each).
SUITE = {
    "mmlu": ("mmlu", 5, 57),
    "ceval": ("ceval-valid", 5, 52),
    "arc_challenge": ("arc_challenge", None, 1),
    "hellaswag": ("hellaswag", None, 1),
    "winogrande": ("winogrande", None, 1),
    "logiqa": ("agieval_logiqa_en", None, 1),
    "lambada": ("lambada_openai", None, 1),
}


def main() -> None:
    arguments = _parse()
    reference = random_models.dense(arguments.models / "qwen2-0.5b", arguments.tokenizer)
    interpreter = harness.python(arguments.environment)
    parts = {"mmlu": _mmlu, "suite": _suite}
    for name in [arguments.part] if arguments.part else parts:
        parts[name](arguments, reference, interpreter)


def _mmlu(arguments: argparse.Namespace, reference: Path, interpreter: Path) -> None:
    tokenizer = load_tokenizer(reference)
    model = Product(reference, "bf16")
    print(
        f"{'MMLU, 5 shots, bf16':28} {'items':>6} {'bitloss/s':>10} {'lm_eval/s':>10} {'ratio':>7}"
    )
    for subject in arguments.subjects.split(","):
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            start = time.perf_counter()
            n = _score(model, tokenizer, arguments, subject)
            ours.append(n / (time.perf_counter() - start))
            job = [(f"mmlu_{subject}", "mmlu", 5, arguments.questions)]
            theirs.append(n / harness_seconds(interpreter, reference, job, arguments.data))
        mine, peer = statistics.median(ours), statistics.median(theirs)
        print(f"{subject:28} {n:6} {mine:10.2f} {peer:10.2f} {mine / peer:7.1f}", flush=True)


def _score(
    model: Product, tokenizer: HFTokenizer, options: argparse.Namespace, subject: str
) -> int:
    """Answer a subject's first questions, from text to chosen options."""
    task = resolve_task("mmlu")
    encoder = Encoder(tokenizer, context=CONTEXT, chat=False)
    items = [item for item in task.load(options.data).items if item.subject == subject]
    windows: list[Window] = []
    for document, item in enumerate(items[: options.questions]):
        encoded = encoder.pairs(
            [item.prompt] * len(item.options), [item.delimiter + o for o in item.options]
        )
        assert encoded is not None
        windows += [Window(pair.ids, pair.first, document) for pair in encoded[0]]
    options_per_item = len(windows) // len(items[: options.questions])
    chosen = model.score(windows).logprob.reshape(-1, options_per_item).argmax(axis=1)
    return len(chosen)


def _suite(arguments: argparse.Namespace, reference: Path, interpreter: Path) -> None:
    _, variants = against_lm_eval._models(arguments.models, arguments.tokenizer)
    chosen = {name: SUITE[name] for name in arguments.tasks.split(",")}
    limits = {
        name: max(1, arguments.items // subtasks) for name, (_, _, subtasks) in chosen.items()
    }
    job = [(theirs, name, shots, None) for name, (theirs, shots, _) in chosen.items()]
    counts = {name: limits[name] * subtasks for name, (_, _, subtasks) in chosen.items()}
    # bitloss draws its items at random; the harness evaluates the same ones.
    samples = {name: _drawn(name, counts[name], arguments.data) for name in chosen}
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        suite = Path(folder) / "mix.yaml"
        entries = [{"name": name, "limit": count} for name, count in counts.items()]
        suite.write_text(json.dumps({"name": "mix", "tasks": entries}))
        for number in range(arguments.rounds):
            ours.append(_compare(reference, variants, suite, Path(folder) / str(number), arguments))
            start = time.perf_counter()
            harness_seconds(interpreter, reference, job, arguments.data, samples)
            theirs.append(time.perf_counter() - start)
    mine, peer, models = statistics.median(ours), statistics.median(theirs), 1 + len(variants)
    n = sum(counts.values())
    print(f"bitloss compare, {models} models, {n} items, scores and KLD  {mine:8.1f} s")
    print(f"lm_eval {harness.VERSION}, one model, scores                   {peer:8.1f} s")
    print(f"lm_eval x {models} / bitloss                               {models * peer / mine:8.2f}")


def _drawn(name: str, count: int, data: Path) -> dict[str, list[int]]:
    """The rows that a run with this limit asks, by the harness's subtask."""
    items = resolve_task(name).load(data).items
    chosen = {item.id for item in draw_items(items, count, seed=0)}
    harness_name = SUITE[name][0]
    seen: Counter[str] = Counter()
    rows: dict[str, list[int]] = {}
    for item in items:
        subtask = f"{harness_name}_{item.subject}" if item.subject else harness_name
        if item.id in chosen:
            rows.setdefault(subtask, []).append(seen[subtask])
        seen[subtask] += 1
    return rows


def _compare(
    reference: Path, variants: Sequence[Path], suite: Path, run: Path, options: argparse.Namespace
) -> float:
    command = [
        sys.executable, "-m", "bitloss", "compare", reference, *variants, "--suite", suite,
        "--data", options.data, "--dtype", "bf16", "--out", run, "--quiet",
    ]  # fmt: skip
    start = time.perf_counter()
    subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def harness_seconds(
    interpreter: Path,
    model: Path,
    tasks: Sequence[tuple[str, str, int | None, int | None]],
    data: Path,
    samples: Mapping[str, Mapping[str, Sequence[int]]] | None = None,
) -> float:
    """Seconds that the harness takes for the tasks, its model loaded.

    Args:
        interpreter: of its environment.
        model: directory.
        tasks: its name, ours, shots, and how many first items of each subtask; None is all, or
            those of `samples`.
        data: directory.
        samples: by our name, rows of each subtask.
    """
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "model": str(model), "data": str(data), "out": folder, "dtype": "bfloat16",
            "tasks": [list(task) for task in tasks], "limit": None, "max_length": CONTEXT,
            "batch_size": 8, "samples": dict(samples or {}),
        }  # fmt: skip
        path = Path(folder) / "job.json"
        path.write_text(json.dumps(job))
        done = subprocess.run(
            [interpreter, Path(__file__).with_name("lm_eval_answers.py"), path],
            env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": f"{folder}/cache"},
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"lm_eval ended with {done.returncode}:\n{done.stderr[-4000:]}")
        return float(json.loads((Path(folder) / "seconds.json").read_text()))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--part", choices=("mmlu", "suite"))
    parser.add_argument("--subjects", default=",".join(SUBJECTS))
    parser.add_argument("--questions", type=int, default=40)
    parser.add_argument("--tasks", default=",".join(SUITE))
    parser.add_argument("--items", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--data", type=Path, default=shared / "data")
    parser.add_argument("--tokenizer", type=Path, default=shared / "tokenizers" / "qwen2")
    parser.add_argument("--models", type=Path, default=ROOT / ".cache" / "models")
    parser.add_argument("--environment", type=Path, default=harness.ENVIRONMENT)
    return parser.parse_args()


if __name__ == "__main__":
    main()
