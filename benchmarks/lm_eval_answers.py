"""lm-evaluation-harness's answers to its own tasks on local data, written down item by item.

    .venv-lm-eval/bin/python benchmarks/lm_eval_answers.py JOB.json

Runs in the harness's environment, for `parity_tasks.py`. Tasks, YAML files, few-shot samplers,
model class, filters and metrics are the harness's own; replaced are `datasets.load_dataset`, which
gives the local files' rows in the hub's columns, and the metric `code_eval`, which would come from
the hub and run programs: HumanEval's programs are not run.

The job: `model` (directory; null makes answers up), `data`, `out` (a directory), `tasks` (lists of
the harness's name, bitloss's, the number of shots or null, and items of each subtask where that is
not `limit`), `limit` (or null; the first of each), `samples` (if given, by bitloss's name the rows
to be asked of each subtask, in place of a limit), `max_length` (or null), `batch_size`, `dtype`
(float32). Written: ``TASK.jsonl`` by bitloss's names, an item a line with subject, row, arguments,
answers and metrics; ``seconds.json``, what all tasks took with the model loaded.
"""

from __future__ import annotations

import json
import math
import random
import sys
import time
import types
from pathlib import Path
from typing import Any

import evaluate
import langdetect
import nltk
from lm_eval import simple_evaluate
from lm_eval.api.model import LM
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

import datasets
from lm_eval_rows import checkable, hub_rows


class MadeUp(LM):  # type: ignore[misc]
    """Answers that need no model: numbers with ties among them, texts around the right answer."""

    def __init__(self) -> None:
        super().__init__()
        self._random = random.Random(0)

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        """One of few values, so that options tie."""
        draw = self._random
        return [
            (draw.choice([-1.0, -2.0, -3.0, -40 * draw.random()]), draw.random() < 0.5)
            for _ in requests
        ]

    def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
        """No task here asks this."""
        raise NotImplementedError

    def generate_until(self, requests: list[Any]) -> list[str]:
        """The right answer in several dresses, a wrong one, something of the prompt, nothing."""
        return [self._text(request.doc, request.args[0]) for request in requests]

    def _text(self, doc: dict[str, Any], prompt: str) -> str:
        right = str(doc.get("answer") or doc.get("target") or "* one\n* two\n\nP.S. <<three>>")
        last = right.split()[-1]
        return self._random.choice(
            [
                right, f" {right}. ", f"So the answer is {right}.", f"the answer is {right}",
                f"the answer is {right}.\nthe answer is no.", f"#### {last}", f"#### ${last}.",
                f"It is {last}, not #### 7,000.", f"It is ${last}.00", right.upper(), right.lower(),
                prompt[: self._random.randrange(200)], f'"{prompt[:300]}"', "12", "", "\n",
            ]
        )  # fmt: skip


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    langdetect.DetectorFactory.seed = 0  # its verdicts are random otherwise
    datasets.load_dataset = _local_data(Path(job["data"]))
    evaluate.load = _no_programs
    lm, task_manager = _model(job), TaskManager()
    start = time.perf_counter()
    for harness_name, name, shots, *limit in job["tasks"]:
        results = simple_evaluate(
            lm, tasks=[harness_name], num_fewshot=shots, limit=(limit or [job["limit"]])[0],
            samples=job.get("samples", {}).get(name), batch_size=job["batch_size"],
            bootstrap_iters=0, log_samples=True,
            task_manager=task_manager, confirm_run_unsafe_code=True,
        )  # fmt: skip
        with (Path(job["out"]) / f"{name}.jsonl").open("w", encoding="utf-8") as out:
            for samples in results["samples"].values():
                for record in _records(name, samples):
                    out.write(json.dumps(record) + "\n")
    seconds = time.perf_counter() - start
    (Path(job["out"]) / "seconds.json").write_text(json.dumps(seconds))


def _model(job: dict[str, Any]) -> LM:
    if job["model"] is None:
        return MadeUp()
    return HFLM(
        pretrained=job["model"], dtype=job.get("dtype", "float32"), device="cpu",
        batch_size=job["batch_size"], max_length=job["max_length"],
    )  # fmt: skip


def _local_data(data: Path) -> Any:
    def load_dataset(path: str, name: str | None = None, **options: Any) -> Any:
        splits = hub_rows(data, path, name)
        if path == "google/IFEval":
            splits = {k: checkable(rows, punkt=_has_punkt()) for k, rows in splits.items()}
        rows = {
            split: [row | {"_subject": name or ""} for row in rows]
            for split, rows in splits.items()
        }
        return datasets.DatasetDict(
            {split: datasets.Dataset.from_list(found) for split, found in rows.items()}
        )

    return load_dataset


def _has_punkt() -> bool:
    try:
        nltk.data.find("tokenizers/punkt_tab")
    except LookupError:
        return False
    return True


def _no_programs(name: str) -> Any:
    if name != "code_eval":
        raise SystemExit(f"the harness wants the metric {name} of the hub")
    return types.SimpleNamespace(compute=lambda **_: ({"pass@1": math.nan}, {}))


def _records(name: str, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record an item; the harness has one for each of a task's filters."""
    records: dict[int, dict[str, Any]] = {}
    for sample in samples:
        record = records.setdefault(
            sample["doc_id"],
            {
                "task": name,
                "subject": sample["doc"]["_subject"],
                "row": sample["doc"]["_row"],
                "arguments": sample["arguments"],
                "answers": [answers[0] for answers in sample["resps"]],
                "metrics": {},
            },
        )
        for metric in sample["metrics"]:
            record["metrics"][f"{metric},{sample['filter']}"] = _number(sample[metric])
    return list(records.values())


def _number(value: Any) -> float | None:
    """Of one metric; instructions of an item are given as a list of verdicts."""
    if isinstance(value, list):
        return sum(map(float, value)) / len(value)
    try:
        return float(value)
    except (TypeError, ValueError):  # perplexities, which take two numbers
        return None


if __name__ == "__main__":
    main()
