"""bitloss's answers to the items that lm-evaluation-harness was asked, and where the two differ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from bitloss.formats.tokenizers.loading import eos_ids, load_tokenizer
from bitloss.requests import Generated, GenerateRequest
from bitloss.runner.tasks.encoding import Encoder, Pair
from bitloss.tasks.base import Answer, Item, Task, TaskItems
from bitloss.types import Window
from product import Product

Record = dict[str, Any]
NEAR_TIE = 1e-4
# Of a log-probability, relative to it where it is beyond -1: float32 sums in another order.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class Peer:
    """A task of the harness.

    Attributes:
        name: the harness's.
        metrics: by bitloss's name, the harness's with its filter.
        shots: to be asked for; None is its own number.
        left_out: subjects that only bitloss has.
    """

    name: str
    metrics: dict[str, str]
    shots: int | None = None
    left_out: tuple[str, ...] = ()


_ACC = {"acc": "acc,none"}
_BOTH = _ACC | {"acc_norm": "acc_norm,none"}
_IFEVAL = ("prompt_level_strict_acc", "inst_level_strict_acc",
           "prompt_level_loose_acc", "inst_level_loose_acc")  # fmt: skip
PEERS = {
    "mmlu": Peer("mmlu", _ACC, shots=5),
    "ceval": Peer("ceval-valid", _BOTH, shots=5),
    "arc_easy": Peer("arc_easy", _BOTH),
    "arc_challenge": Peer("arc_challenge", _BOTH),
    "hellaswag": Peer("hellaswag", _BOTH),
    "winogrande": Peer("winogrande", _ACC),
    "logiqa": Peer("agieval_logiqa_en", _BOTH),
    "lambada": Peer("lambada_openai", _ACC),
    "bbh_choice": Peer(
        "leaderboard_bbh",
        {"acc_norm": "acc_norm,none"},
        left_out=("dyck_languages", "multistep_arithmetic_two", "word_sorting"),
    ),
    "gsm8k": Peer(
        "gsm8k",
        {"strict": "exact_match,strict-match", "flexible": "exact_match,flexible-extract"},
    ),
    "bbh": Peer("bbh_cot_fewshot", {"exact_match": "exact_match,get-answer"}),
    # Its programs are not run: prompts and texts only.
    "humaneval": Peer("humaneval", {}),
    "ifeval": Peer("ifeval", {metric: f"{metric},none" for metric in _IFEVAL}),
}


@dataclass
class Parity:
    """What came of one task; lists hold what there is to be said of single items.

    Attributes:
        items: both were asked.
        prompts: of them, with the same prompts, options, stop strings and lengths.
        graded: of `gradable`, the harness's answers that bitloss gives the same grade.
        compared: both gave an answer to the same tokens.
        alike: of them, with the same option chosen or the same text.
        merged: a token spans the border before the answer; the tools differ by design.
        merged_alike: of them, with the same option chosen.
        too_long: not compared: longer than the context.
        early: texts that bitloss ended because the answer was decided.
        skipped: items that the harness was not asked, before the last that it was.
        near_ties: of those not alike, where the two best options or tokens are all but equal.
        kind: what was compared.
        worst: the largest difference of a log-probability.
        scores: by metric, the two tools' sums and the sum of weights, over the compared items.
    """

    items: int = 0
    prompts: int = 0
    gradable: int = 0
    graded: int = 0
    compared: int = 0
    alike: int = 0
    merged: int = 0
    merged_alike: int = 0
    too_long: int = 0
    early: int = 0
    skipped: int = 0
    near_ties: int = 0
    kind: Literal["options", "texts"] = "options"
    worst: float = 0.0
    scores: dict[str, list[float]] = field(default_factory=dict)
    different: list[str] = field(default_factory=list)
    wrong: bool = False

    def differs(self, item: Item, what: str, *, excused: bool = False) -> None:
        """Keep what is to be said of an item."""
        self.different.append(f"{item.id}: {what}")
        self.wrong = self.wrong or not excused


class Bitloss:
    """A model in bitloss's dense engine, in float32.

    Args:
        model: its directory.
        context: tokens that it reads at once; None is what its config says.
    """

    def __init__(self, model: Path, context: int | None) -> None:
        tokenizer = load_tokenizer(model)
        changes = {} if context is None else {"max_position_embeddings": context}
        self.product = Product(model, "fp32", changes=changes)
        self.context = self.product.candidate.model.identity.context or 2048
        self._eos_ids = eos_ids(tokenizer, model)
        self._tokenizer = tokenizer
        self._decoded: list[int] = []
        self.encoder = Encoder(tokenizer, context=self.context, chat=False)

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """Let the model write."""
        return self.product.generate(requests, decode=self._decode, eos_ids=self._eos_ids)

    def gap_at_parting(self, request: GenerateRequest, theirs: str) -> float:
        """How far apart the two best tokens are, in nats, where a greedy text leaves another one.

        Infinite where it does not leave it by a token of its own.
        """
        ((_, _),) = self.generate([request])
        ids = self._decoded  # the last thing decoded is the whole text
        for n in range(1, len(ids) + 1):
            if theirs.startswith(self._tokenizer.decode(ids[:n]).rstrip("\ufffd")):
                continue
            context = np.concatenate([request.prompt, ids[: n - 1]]).astype(np.int32)
            second, first = np.sort(self.product.next_logits(context))[-2:]
            return float(first - second)
        return math.inf

    def _decode(self, ids: Sequence[int]) -> str:
        self._decoded = list(ids)
        return self._tokenizer.decode(ids)


def compare(
    task: Task, peer: Peer, loaded: TaskItems, records: Sequence[Record], model: Bitloss | None
) -> Parity:
    """Hold bitloss's prompts, grades and answers against the harness's.

    Args:
        task: bitloss's.
        peer: the harness's.
        loaded: bitloss's items.
        records: the harness's, as `lm_eval_answers.py` writes them.
        model: answers for bitloss; None compares prompts and grades only.
    """
    found = Parity(kind="options" if task.facts.decoding is None else "texts")
    own: dict[str, list[Item]] = {}
    for item in loaded.items:
        own.setdefault(item.subject, []).append(item)
    found.skipped = _skipped(records)
    pairs = []
    for record in records:
        item = own["" if "" in own else record["subject"]][record["row"]]
        pairs.append((item, record))
        _compare_prompt(found, task, item, record)
        _compare_grade(found, task, peer, item, record)
    if model is not None and task.facts.decoding is None:
        _compare_choices(found, task, peer, pairs, model)
    elif model is not None:
        _compare_texts(found, task, peer, pairs, model)
    return found


def _skipped(records: Sequence[Record]) -> int:
    last: dict[str, int] = {}
    for record in records:
        last[record["subject"]] = max(record["row"], last.get(record["subject"], 0))
    return sum(row + 1 for row in last.values()) - len(records)


def _compare_prompt(found: Parity, task: Task, item: Item, record: Record) -> None:
    ours: list[Any]
    if item.options:
        prompts = item.option_prompts or (item.prompt,) * len(item.options)
        ours = [
            [prompt.text, item.delimiter + option]
            for prompt, option in zip(prompts, item.options, strict=True)
        ]
        theirs = record["arguments"]
    else:
        assert task.facts.decoding is not None
        decoding = task.facts.decoding
        ours = [item.prompt.text, list(decoding.stop), decoding.max_new_tokens]
        ((prompt, settings),) = record["arguments"]
        # 256 tokens where a task does not say (lm_eval/models/huggingface.py).
        theirs = [prompt, settings["until"], settings.get("max_gen_toks", 256)]
    found.items += 1
    found.prompts += ours == theirs
    if ours != theirs:
        found.differs(item, f"other prompt: {ours!r:.400}, lm-eval {theirs!r:.400}")


def _compare_grade(found: Parity, task: Task, peer: Peer, item: Item, record: Record) -> None:
    if not peer.metrics:
        return
    if item.options:
        logprobs, greedy = zip(*record["answers"], strict=True)
        answer = Answer(logprobs=logprobs, greedy=greedy)
    else:
        answer = Answer(texts=tuple(record["answers"]))
    scores = _scores(task, item, answer)
    theirs = {ours: record["metrics"][metric] for ours, metric in peer.metrics.items()}
    found.gradable += 1
    same = all(abs(scores[metric] - value) < 1e-9 for metric, value in theirs.items())
    found.graded += same
    if not same:
        found.differs(item, f"other grade: {scores}, lm-eval {theirs} for {record['answers']!r}")


def _scores(task: Task, item: Item, answer: Answer) -> dict[str, float]:
    # No task that runs programs comes here, so there is no sandbox to be had.
    return dict(task.grade(item, answer, None).scores)  # type: ignore[arg-type]


def _compare_choices(
    found: Parity, task: Task, peer: Peer, pairs: Sequence[tuple[Item, Record]], model: Bitloss
) -> None:
    asked: list[tuple[Item, Record, list[Pair]]] = []
    for item, record in pairs:
        prompts = item.option_prompts or (item.prompt,) * len(item.options)
        encoded = model.encoder.pairs(prompts, [item.delimiter + text for text in item.options])
        if encoded is None or encoded[1]:
            found.too_long += 1
        else:
            asked.append((item, record, encoded[0]))
    windows = [
        Window(pair.ids, pair.first, index) for index, (*_, own) in enumerate(asked) for pair in own
    ]
    scores = model.product.score(windows)
    at = 0
    for item, record, own in asked:
        logprobs = tuple(scores.logprob[at : at + len(own)].tolist())
        greedy = tuple(scores.greedy[at : at + len(own)].tolist())
        at += len(own)
        theirs = tuple(logprob for logprob, _ in record["answers"])
        chosen = _chosen(logprobs, greedy)
        same = chosen == _chosen(theirs, [flag for _, flag in record["answers"]])
        if any(pair.spans_boundary for pair in own):
            found.merged += 1
            found.merged_alike += same
            continue
        found.compared += 1
        found.alike += same
        differences = [abs(a - b) for a, b in zip(logprobs, theirs, strict=True)]
        found.worst = max(found.worst, *differences)
        if any(d > TOLERANCE * max(1, abs(b)) for d, b in zip(differences, theirs, strict=True)):
            found.differs(item, f"other log-probabilities: {logprobs}, lm-eval {theirs}")
        _add_scores(found, task, peer, item, record, Answer(logprobs=logprobs, greedy=greedy))
        if not same:
            first, second = (*sorted(logprobs, reverse=True), -1e9)[:2]
            near = len(logprobs) > 1 and first - second < NEAR_TIE
            found.near_ties += near
            found.differs(
                item, f"other option: {logprobs}, lm-eval {theirs}{' (near tie)' * near}",
                excused=near,
            )  # fmt: skip


def _chosen(logprobs: Sequence[float], greedy: Sequence[bool]) -> int:
    """The most likely option; of one option alone, whether greedy decoding writes it."""
    if len(logprobs) == 1:
        return int(greedy[0])
    return max(range(len(logprobs)), key=logprobs.__getitem__)


def _compare_texts(
    found: Parity, task: Task, peer: Peer, pairs: Sequence[tuple[Item, Record]], model: Bitloss
) -> None:
    decoding = task.facts.decoding
    assert decoding is not None
    asked: list[tuple[Item, Record]] = []
    requests = []
    for item, record in pairs:
        fitted = model.encoder.prompt(item.prompt, decoding.max_new_tokens)
        too_long = fitted is None or fitted[1] > 0
        if too_long or len(fitted[0]) + decoding.max_new_tokens > model.context:
            found.too_long += 1
            continue
        asked.append((item, record))
        requests.append(GenerateRequest(fitted[0], decoding))
    for index, generated in list(model.generate(requests)):
        item, record = asked[index]
        (theirs,) = record["answers"]
        found.compared += 1
        found.early += generated.reason == "decided"
        same = _same_text(generated, theirs)
        found.alike += same
        _add_scores(found, task, peer, item, record, Answer(texts=(generated.text,)))
        if not same:
            gap = model.gap_at_parting(requests[index], theirs)
            found.near_ties += gap < NEAR_TIE
            what = f"{_parting(generated.text, theirs)}; best two tokens {gap:.1e} nats apart"
            found.differs(item, what, excused=gap < NEAR_TIE)


def _same_text(ours: Generated, theirs: str) -> bool:
    """Whether the texts agree; one that was decided early, as far as it goes."""
    if ours.reason == "decided":
        return theirs.startswith(ours.text)
    return ours.text == theirs


def _parting(ours: str, theirs: str) -> str:
    at = next(
        (n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b),
        min(len(ours), len(theirs)),
    )
    start = max(0, at - 20)
    mine, other = (text[start : at + 30] for text in (ours, theirs))
    return f"other text from character {at} on: {mine!r}, lm-eval {other!r}"


def _add_scores(
    found: Parity, task: Task, peer: Peer, item: Item, record: Record, answer: Answer
) -> None:
    if not peer.metrics:
        return
    grade = task.grade(item, answer, None)  # type: ignore[arg-type]
    for metric, name in peer.metrics.items():
        weight = grade.weights.get(metric, 1.0)
        sums = found.scores.setdefault(metric, [0.0, 0.0, 0.0])
        for at, value in enumerate((grade.scores[metric], record["metrics"][name], 1.0)):
            sums[at] += weight * value
