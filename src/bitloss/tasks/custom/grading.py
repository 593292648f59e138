"""The rules by which answers to a user's own task are graded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from bitloss.sandbox.base import Program, Sandbox
from bitloss.tasks.base import Answer, Grade, Item
from bitloss.tasks.choices import grade_acc_norm, grade_greedy
from bitloss.tasks.custom.schema import (
    Choice,
    Contains,
    ExactMatch,
    GoldLikelihood,
    PythonTests,
    RegexMatch,
)
from bitloss.tasks.pass_at_k import metrics_of_samples, pass_at_ks

__all__ = [
    "extract_program",
    "grade_choice",
    "grade_contains",
    "grade_exact_match",
    "grade_gold_likelihood",
    "grade_python_tests",
    "grade_regex",
    "metrics_of",
    "program",
]

_SHOWN = 80
_FENCE = re.compile(r"^[ \t]*```[^\n`]*\n(.*?)(?:^[ \t]*```|\Z)", re.DOTALL | re.MULTILINE)


def metrics_of(rule: object, samples: int = 1) -> tuple[str, ...]:
    """Names of what a rule reports of so many texts; the first is the task's score."""
    match rule:
        case Choice():
            return ("acc", "acc_norm")
        case GoldLikelihood():
            return ("acc",)
        case PythonTests():
            return metrics_of_samples(samples)
        case Contains():
            return ("contains",)
    return ("exact_match",)


def grade_choice(rule: Choice, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Whether the likeliest option is right, as `bitloss.tasks.choices` has it."""
    del rule
    return grade_acc_norm(item, answer, sandbox)


def grade_gold_likelihood(
    rule: GoldLikelihood, item: Item, answer: Answer, sandbox: Sandbox
) -> Grade:
    """Whether greedy decoding would have written the gold answer."""
    del rule
    return grade_greedy(item, answer, sandbox)


def grade_exact_match(rule: ExactMatch, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Whether the text equals one of the right answers."""
    del sandbox

    def plain(text: str) -> str:
        for pattern in rule.regexes_to_ignore:
            text = re.sub(pattern, "", text)
        text = text.lower() if rule.ignore_case else text
        return text.strip() if rule.strip else text

    right = {plain(gold) for gold in item.data["golds"]}
    return _mean("exact_match", item, answer.texts, lambda text: plain(text) in right)


def grade_regex(rule: RegexMatch, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Whether what the pattern finds equals one of the right answers."""
    del sandbox
    pattern = re.compile(rule.pattern)
    group = rule.group if rule.group is not None else min(1, pattern.groups)

    def plain(text: str) -> str:
        return text.strip().lower() if rule.ignore_case else text.strip()

    def found(text: str) -> str | None:
        matches = list(pattern.finditer(text))
        if not matches:
            return None
        return matches[0 if rule.take == "first" else -1].group(group)

    right = {plain(gold) for gold in item.data["golds"]}

    def passes(text: str) -> bool:
        part = found(text)
        return part is not None and plain(part) in right

    def shown(text: str) -> str:
        part = found(text)
        return "no match" if part is None else part

    return _mean("exact_match", item, answer.texts, passes, shown)


def grade_contains(rule: Contains, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Whether a right answer (all of them with `rule.all`) stands in the text."""
    del sandbox

    def plain(text: str) -> str:
        return text.lower() if rule.ignore_case else text

    wanted = [plain(gold) for gold in item.data["golds"]]
    enough = all if rule.all else any

    def passes(text: str) -> bool:
        there = plain(text)
        return enough(gold in there for gold in wanted)

    return _mean("contains", item, answer.texts, passes)


def grade_python_tests(rule: PythonTests, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """pass@k of the texts' programs, see `bitloss.tasks.pass_at_k`."""
    del rule
    _require_texts(item, answer.texts)
    verdicts = [sandbox.run(program(item, text)) for text in answer.texts]
    first = verdicts[0]
    detail = f"{first.reason}: {first.detail}" if first.detail else first.reason
    passed = sum(verdict.passed for verdict in verdicts)
    return Grade(pass_at_ks(len(verdicts), passed), detail=detail)


def program(item: Item, text: str) -> Program:
    """The program that a model's answer to an item is."""
    data = item.data
    return Program(
        solution=extract_program(text, data["entry_point"], data["completes"]),
        entry_point=data["entry_point"],
        tests=data["tests"],
        support=data["support"],
    )


def extract_program(text: str, entry_point: str, completes: str) -> str:
    """The program in a model's answer.

    The first block between fences that defines the entry point, else the first block, else the
    whole text; the latter two stand behind `completes`, whose end they go on from.
    """
    text = text.removeprefix("\ufeff")
    blocks = _FENCE.findall(text)
    defines = re.compile(
        rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{re.escape(entry_point)}\b"
        rf"|^{re.escape(entry_point)}[ \t]*=",
        re.MULTILINE,
    )
    for block in blocks:
        if defines.search(block):
            return str(block)
    return completes + (str(blocks[0]) if blocks else text)


def _mean(
    metric: str,
    item: Item,
    texts: Sequence[str],
    passes: Callable[[str], bool],
    shown: Callable[[str], str] = str.strip,
) -> Grade:
    _require_texts(item, texts)
    score = sum(map(passes, texts)) / len(texts)
    return Grade({metric: score}, detail=_shown(shown(texts[0])))


def _require_texts(item: Item, texts: Sequence[str]) -> None:
    # A generation that is not there is a fault of the run, never a wrong answer.
    if not texts:
        raise ValueError(f"no text was generated for `{item.id}`")


def _shown(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
