"""Is `lm-eval:NAME` what `lm_eval --model hf` measures, and is `lm_eval --model bitloss`?

    python benchmarks/lm_eval_bridge.py --model DIR --data DIR [--limit N] [--context N]
        [--tasks NAME ...] [--skip-model]

Needs an interpreter with both bitloss and lm-eval 0.4.13 (and accelerate, which its `hf` imports).
Eleven tasks of the harness that bitloss does not have of its own are asked of one model in float32,
the first N documents of each: by the harness's `hf`, by bitloss's tasks ``lm-eval:NAME``, and by
the harness with bitloss's engine. The harness's own YAML files are used, with their prompts,
solved examples, filters and metrics; only ``dataset_path`` is a local file here, written to a
temporary folder with the hub's columns (`lm_eval_rows.py`).

Printed of every task: items with the same prompts, continuations and stop strings; the largest
difference of a log-likelihood; items with the same choice, greedy verdict or text; items with the
same grades in every metric; numbers over all documents; then the same of the harness with bitloss's
engine. Counted apart: items longer than the context (the harness cuts prompts from the left,
bitloss leaves out solved examples), and items where a token spans the border before the answer
(bitloss reads the text's own tokens). Ends with 1 where anything else differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

from bitloss.spec.suite import TaskChoice
from bitloss.tasks.base import Answer, Item, Task
from bitloss.tasks.find import resolve_tasks
from bitloss.tasks.lm_eval.harness import silenced
from bitloss.types import Window
from lm_eval_rows import Row, hub_rows
from parity_answers import Bitloss

TOLERANCE = 1e-4
"""Of a log-likelihood, relative to it where it is beyond -1: float32 sums in another order."""


@dataclass(frozen=True)
class Local:
    """A task of the harness on local rows.

    Attributes:
        yaml: its file, below the harness's folder of tasks.
        path: the data set's name on the hub.
        name: of its configuration.
        splits: more splits that the task names, by the one that stands in for each.
    """

    yaml: str
    path: str
    name: str | None = None
    splits: dict[str, str] = field(default_factory=dict)


TASKS = {
    "bbh_zeroshot_boolean_expressions": Local(
        "bbh/zeroshot/boolean_expressions.yaml", "SaylorTwift/bbh", "boolean_expressions"
    ),
    "bbh_zeroshot_navigate": Local("bbh/zeroshot/navigate.yaml", "SaylorTwift/bbh", "navigate"),
    "bbh_fewshot_snarks": Local("bbh/fewshot/snarks.yaml", "SaylorTwift/bbh", "snarks"),
    "lambada_openai_cloze_yaml": Local(
        "lambada_cloze/lambada_openai_cloze.yaml", "EleutherAI/lambada_openai"
    ),
    "agieval_logiqa_zh": Local("agieval/logiqa-zh.yaml", "hails/agieval-logiqa-zh"),
    "mmlu_anatomy_continuation": Local(
        "mmlu/continuation/mmlu_anatomy.yaml", "cais/mmlu", "anatomy"
    ),
    "mmlu_astronomy_generative": Local(
        "mmlu/generative/mmlu_astronomy.yaml", "cais/mmlu", "astronomy"
    ),
    "arc_challenge_chat": Local(
        "arc/arc_challenge_chat.yaml", "allenai/ai2_arc", "ARC-Challenge",
        {"train": "test", "validation": "test"},
    ),
    "gsm8k_cot": Local("gsm8k/gsm8k-cot.yaml", "openai/gsm8k", "main"),
    "gsm8k_cot_zeroshot": Local("gsm8k/gsm8k-cot-zeroshot.yaml", "openai/gsm8k", "main"),
    "wikitext": Local(
        "wikitext/wikitext.yaml", "EleutherAI/wikitext_document_level",
        splits={"train": "test", "validation": "test"},
    ),
}  # fmt: skip


@dataclass
class Agreement:
    """What came of one task; counts of items.

    Attributes:
        items: asked by both.
        prompts: with the same texts.
        compared: that read the same tokens.
        alike: of them, with the same choice, greedy verdict or text.
        graded: of `items`, the harness's answers to which bitloss's task gives the same grades.
        worst: the largest difference of a log-likelihood, in nats.
        relative: the same, relative to log-likelihoods beyond -1.
        set_apart: longer than the context, or with a token across the border.
        metrics: by name, bitloss's number and the harness's, over the compared items.
        model_alike: of all items, with the same answers by the harness with bitloss's engine.
        model_worst: the largest relative difference of a log-likelihood there.
        differences: of single items, in words.
    """

    items: int = 0
    prompts: int = 0
    compared: int = 0
    alike: int = 0
    graded: int = 0
    worst: float = 0.0
    relative: float = 0.0
    set_apart: int = 0
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)
    model_items: int = 0
    model_alike: int = 0
    model_worst: float = 0.0
    differences: list[str] = field(default_factory=list)

    def keep(self, nats: float, relative: float) -> None:
        """Keep the larger differences."""
        self.worst, self.relative = max(self.worst, nats), max(self.relative, relative)

    @property
    def wrong(self) -> bool:
        """Whether anything differs that should not."""
        same = self.prompts == self.graded == self.items and self.alike == self.compared
        same = same and self.model_alike == self.model_items
        near = max(self.relative, self.model_worst) <= TOLERANCE
        return not (same and near and all(_close(*pair) for pair in self.metrics.values()))


def main() -> int:
    arguments = _parse()
    wrong = False
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        os.environ["HF_DATASETS_CACHE"] = str(place / "cache")
        for name in arguments.tasks:
            _write_task(place / "tasks", name, arguments.data)
        theirs = _harness(arguments, place / "tasks", "hf", dtype="float32", device="cpu")
        ours = {}
        if not arguments.skip_model:
            ours = _harness(arguments, place / "tasks", "bitloss", dtype="fp32")
        model = Bitloss(arguments.model, arguments.context)
        for name in arguments.tasks:
            choice = TaskChoice(name=f"lm-eval:{name}")
            (task,) = resolve_tasks(choice, include_path=[place / "tasks"], data=arguments.data)
            found = _compare(task, theirs, name, model)
            if ours:
                _compare_model(found, theirs["samples"][name], ours["samples"][name])
            _show(name, found)
            wrong = wrong or found.wrong
    return int(wrong)


# The harness --------------------------------------------------------------------------------------


def _write_task(folder: Path, name: str, data: Path) -> None:
    """The harness's own task file, on local rows."""
    import lm_eval.tasks
    import yaml

    local = TASKS[name]
    rows = folder.parent / "rows" / name
    rows.mkdir(parents=True)
    folder.mkdir(exist_ok=True)
    files = {}
    found = _rows(data, local)
    for split, own in found.items():
        lines = "".join(json.dumps(row) + "\n" for row in own)
        if own:
            (rows / f"{split}.jsonl").write_text(lines, encoding="utf-8")
            files[split] = str(rows / f"{split}.jsonl")
    files |= {split: files[stands_in] for split, stands_in in local.splits.items()}
    source = Path(lm_eval.tasks.__file__).parent / local.yaml
    document = {
        "include": str(source), "task": name, "dataset_path": "json", "dataset_name": None,
        "dataset_kwargs": {"data_files": files}, "tag": [],
    }  # fmt: skip
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def _rows(data: Path, local: Local) -> dict[str, list[Row]]:
    if local.path == "EleutherAI/wikitext_document_level":
        from bitloss.datasets import load_corpus

        pages = load_corpus("wikitext-2", data=data).documents
        return {"test": [{"page": page} for page in pages]}
    if local.path == "hails/agieval-logiqa-zh":
        lines = (data / "logiqa/logiqa-zh.jsonl").read_text(encoding="utf-8").split("\n")
        return {"test": [_logiqa_zh(json.loads(line)) for line in lines if line.strip()]}
    return hub_rows(data, local.path, local.name)


def _logiqa_zh(row: Row) -> Row:
    """AGIEval's prompts, which its rows on the hub hold ready-made (src/dataset_loader.py)."""
    options = row["options"]
    asked = f"问题:{row['question']} 选项:{' '.join(options)}\n"
    cue = f"答案:从A到{'ABCDEFG'[len(options) - 1]}, 我们应选择"
    return {
        "query": (row["passage"] or "") + asked + cue,
        "choices": options,
        "gold": ["ABCDEFG".index(row["label"])],
    }


def _harness(arguments: argparse.Namespace, tasks: Path, model: str, **settings: Any) -> Any:
    """What the harness makes of its tasks with one of its models."""
    with silenced():
        from lm_eval import simple_evaluate
        from lm_eval.tasks import TaskManager

        import bitloss.lm_eval.model  # noqa: F401 - registers it

        settings["pretrained"] = str(arguments.model)
        if arguments.context is not None:
            settings["max_length"] = arguments.context
        return simple_evaluate(
            model, model_args=settings, tasks=list(arguments.tasks), limit=arguments.limit,
            batch_size=1, bootstrap_iters=0, log_samples=True,
            task_manager=TaskManager(include_path=str(tasks), include_defaults=False),
        )  # fmt: skip


# Comparing ----------------------------------------------------------------------------------------


def _compare(task: Task, results: Any, name: str, model: Bitloss) -> Agreement:
    found = Agreement()
    items = {item.id: item for item in task.load(None).items}
    theirs: dict[str, dict[str, Any]] = {}
    for sample in results["samples"][name]:
        record = theirs.setdefault(f"{name}/{sample['doc_id']}", {**sample, "metrics": {}})
        for metric in sample["metrics"]:
            key = metric if sample["filter"] == "none" else f"{metric},{sample['filter']}"
            record["metrics"][key] = sample[metric]
    pairs = [(items[key], record) for key, record in theirs.items()]
    found.items = len(pairs)
    for item, record in pairs:
        found.prompts += _same_prompt(task, item, record, found)
        given = [answers[0] for answers in record["resps"]]
        found.graded += _same_grades(task, item, _answer(task, given), record, found)
    own = _answers(task, pairs, model, found)
    for (item, record), answer in zip(pairs, own, strict=True):
        if answer is not None:
            _same_answer(task, item, record, answer, found)
    kept = [(pair, answer) for pair, answer in zip(pairs, own, strict=True) if answer is not None]
    _numbers(task, [pair for pair, _ in kept], [answer for _, answer in kept], found)
    return found


def _same_prompt(task: Task, item: Item, record: Any, found: Agreement) -> bool:
    if item.rolling:
        ours = [[item.options[0]]]
    elif item.options:
        prompts = item.option_prompts or (item.prompt,) * len(item.options)
        ours = [
            [prompt.text, item.delimiter + option]
            for prompt, option in zip(prompts, item.options, strict=True)
        ]
    else:
        decoding = task.facts.decoding
        assert decoding is not None
        ours = [[item.prompt.text, list(decoding.stop), decoding.max_new_tokens]]
    theirs = [list(arguments) for arguments in record["arguments"]]
    if not item.options:
        settings = theirs[0][1]
        until = settings.get("until") or []
        until = [until] if isinstance(until, str) else until
        theirs = [[theirs[0][0], list(until), settings.get("max_gen_toks", 256)]]
    if ours == theirs:
        return True
    found.differences.append(f"{item.id}: asked {ours!r:.200}, the harness {theirs!r:.200}")
    return False


def _answer(task: Task, given: Sequence[Any]) -> Answer:
    """The harness's answers, for bitloss's grading."""
    if task.facts.decoding is not None:
        return Answer(texts=(given[0],))
    if isinstance(given[0], float):
        return Answer((given[0],), (False,))
    return Answer(tuple(float(one[0]) for one in given), tuple(bool(one[1]) for one in given))


def _same_grades(task: Task, item: Item, answer: Answer, record: Any, found: Agreement) -> bool:
    grade = task.grade(item, answer, None)  # type: ignore[arg-type] # runs no programs
    for metric, score in grade.scores.items():
        if metric not in record["metrics"]:  # bitloss's own
            continue
        if not _close(score, float(record["metrics"][metric])):
            found.differences.append(
                f"{item.id}: {metric} {score}, the harness {record['metrics'][metric]}"
            )
            return False
    return True


def _answers(
    task: Task, pairs: Sequence[tuple[Item, Any]], model: Bitloss, found: Agreement
) -> list[Answer | None]:
    """bitloss's answers; None where the two tools read different tokens, by design."""
    from bitloss.requests import GenerateRequest

    answers: list[Answer | None] = [None] * len(pairs)
    if task.facts.decoding is not None:
        requests, places = [], []
        for at, (item, _) in enumerate(pairs):
            most = task.facts.decoding.most_tokens
            fitted = model.encoder.prompt(item.prompt, most)
            if fitted is None or fitted[1] or len(fitted[0]) + most > model.context:
                found.set_apart += 1
                continue
            requests.append(GenerateRequest(fitted[0], task.facts.decoding))
            places.append(at)
        for index, generated in model.generate(requests):
            answers[places[index]] = Answer(texts=(generated.text,))
        return answers
    windows: list[Window] = []
    spans: dict[int, slice] = {}
    for at, (item, _) in enumerate(pairs):
        if item.rolling:
            encoded = model.encoder.rolling(item.options[0])
        else:
            prompts = item.option_prompts or (item.prompt,) * len(item.options)
            fitted_pairs = model.encoder.pairs(
                prompts, [item.delimiter + option for option in item.options]
            )
            if fitted_pairs is None or fitted_pairs[1]:
                found.set_apart += 1
                continue
            encoded = fitted_pairs[0]
        if any(pair.spans_boundary for pair in encoded):
            found.set_apart += 1
            continue
        spans[at] = slice(len(windows), len(windows) + len(encoded))
        windows += [Window(pair.ids, pair.first) for pair in encoded]
    scores = model.product.score(windows)
    for at, part in spans.items():
        logprobs, greedy = scores.logprob[part].tolist(), scores.greedy[part].tolist()
        if pairs[at][0].rolling:
            logprobs, greedy = [sum(logprobs)], [all(greedy)]
        answers[at] = Answer(tuple(logprobs), tuple(greedy))
    return answers


def _same_answer(task: Task, item: Item, record: Any, ours: Answer, found: Agreement) -> None:
    found.compared += 1
    theirs = _answer(task, [answers[0] for answers in record["resps"]])
    found.keep(*_apart(ours, theirs))
    alike = ours.texts == theirs.texts
    if not item.rolling and task.facts.decoding is None:
        alike = ours.greedy == theirs.greedy and _best(ours) == _best(theirs)
    found.alike += alike
    if not alike:
        found.differences.append(
            f"{item.id}: {ours.texts or ours.logprobs!r:.150}, the harness "
            f"{theirs.texts or theirs.logprobs!r:.150}"
        )


def _best(answer: Answer) -> int:
    return answer.logprobs.index(max(answer.logprobs))


def _apart(ours: Answer, theirs: Answer) -> tuple[float, float]:
    """The largest difference of log-likelihoods, in nats and relative to them."""
    pairs = list(zip(ours.logprobs, theirs.logprobs, strict=True))
    nats = max((abs(one - other) for one, other in pairs), default=0.0)
    return nats, max((_relative(one, other) for one, other in pairs), default=0.0)


def _numbers(
    task: Task, pairs: Sequence[tuple[Item, Any]], answers: Sequence[Answer], found: Agreement
) -> None:
    """Every metric over the compared items: bitloss's answers, and the harness's."""
    if not pairs:
        return
    items = [item for item, _ in pairs]
    given = [_answer(task, [one[0] for one in record["resps"]]) for _, record in pairs]
    for metric in task.facts.metrics:
        numbers = []
        for own in (answers, given):
            grades = [task.grade(i, a, None) for i, a in zip(items, own, strict=True)]  # type: ignore[arg-type]
            weights = [grade.weights.get(metric, 1.0) for grade in grades]
            total = sum(g.scores[metric] * w for g, w in zip(grades, weights, strict=True))
            numbers.append(total / sum(weights))
        found.metrics[metric] = numbers[0], numbers[1]
    if task.totals is not None:
        ours, theirs = task.totals(items, answers), task.totals(items, given)
        found.metrics |= {name: (ours[name], theirs[name]) for name in ours}


def _compare_model(found: Agreement, theirs: Sequence[Any], ours: Sequence[Any]) -> None:
    """The harness with bitloss's engine beside the harness with `hf`: every request of it."""
    for one, other in zip(ours, theirs, strict=True):
        found.model_items += 1
        alike = True
        for own, given in zip(one["resps"], other["resps"], strict=True):
            mine, its = own[0], given[0]
            if isinstance(mine, str):
                alike = alike and mine == its
            elif isinstance(mine, float):
                found.model_worst = max(found.model_worst, _relative(mine, its))
            else:
                found.model_worst = max(found.model_worst, _relative(mine[0], its[0]))
                alike = alike and bool(mine[1]) == bool(its[1])
        alike = alike and all(_close(one[m], other[m]) for m in one["metrics"])
        found.model_alike += alike
        if not alike:
            found.differences.append(
                f"--model bitloss, document {one['doc_id']}: {one['resps']!r:.150}, hf "
                f"{other['resps']!r:.150}"
            )


def _relative(one: float, other: float) -> float:
    return abs(one - other) / max(1.0, abs(other))


def _close(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple):
        return all(_close(*pair) for pair in zip(one, other, strict=True))
    return math.isclose(float(one), float(other), rel_tol=1e-4, abs_tol=1e-6)


# What is printed ----------------------------------------------------------------------------------


def _show(name: str, found: Agreement) -> None:
    print(
        f"{name:34} prompts {found.prompts}/{found.items}, same answers "
        f"{found.alike}/{found.compared}, graded alike {found.graded}/{found.items}, "
        f"max difference {found.worst:.1e} nats ({found.relative:.1e} of the log-likelihood)"
        + (f", set apart {found.set_apart}" if found.set_apart else "")
    )
    for metric, (ours, theirs) in found.metrics.items():
        print(f"{'':34} {metric} {ours:.6g} and {theirs:.6g}")
    if found.model_items:
        print(
            f"{'':34} --model bitloss: same answers and metrics {found.model_alike}/"
            f"{found.model_items}, max difference {found.model_worst:.1e} of the log-likelihood"
        )
    for line in found.differences[:5]:
        print(f"{'':34} {line}")
    sys.stdout.flush()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", type=Path, required=True, help="model directory")
    parser.add_argument("--data", type=Path, required=True, help="local data directory")
    parser.add_argument("--tasks", nargs="+", choices=TASKS, default=list(TASKS), metavar="NAME")
    parser.add_argument("--limit", type=int, default=20, help="documents of each task")
    parser.add_argument("--context", type=int, help="tokens that the model reads at once")
    parser.add_argument("--skip-model", action="store_true", help="without --model bitloss")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
