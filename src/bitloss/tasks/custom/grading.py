"""The rules by which answers to a user's own task are graded."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence

from bitloss.sandbox.base import Program, Sandbox
from bitloss.tasks.base import Answer, Grade, Item
from bitloss.tasks.choices import grade_acc_norm, grade_greedy
from bitloss.tasks.custom.refusals import find_refusal
from bitloss.tasks.custom.schema import (
    Choice,
    Contains,
    ExactMatch,
    GoldLikelihood,
    PythonTests,
    Refusal,
    RegexMatch,
    ToolCall,
)
from bitloss.tasks.custom.tool_calls import find_calls, same_json
from bitloss.tasks.pass_at_k import metrics_of_samples, pass_at_ks
from bitloss.tasks.programs import read_program

__all__ = [
    "grade_choice",
    "grade_contains",
    "grade_exact_match",
    "grade_gold_likelihood",
    "grade_python_tests",
    "grade_refusal",
    "grade_regex",
    "grade_tool_call",
    "metrics_of",
    "program",
]

_SHOWN = 80


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
        case ToolCall():
            called = ("right_tool", "called")
            return called if rule.arguments is None else ("right_arguments", *called)
        case Refusal():
            return ("refused_right",)
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


def grade_tool_call(rule: ToolCall, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Whether a tool is called if and only if one should be, exactly once: the right one, and with
    the right arguments. Each of the three needs the ones before it.
    """
    del sandbox
    _require_texts(item, answer.texts)
    graded = [_tool_call(item, text) for text in answer.texts]
    names = metrics_of(rule)
    scores = {name: sum(one[name] for one, _ in graded) / len(graded) for name in names}
    return Grade(scores, detail=_shown(graded[0][1]))


def _tool_call(item: Item, text: str) -> tuple[dict[str, bool], str]:
    tool, arguments = item.data["tool"], item.data["arguments"]
    found = find_calls(text, item.prompt.tools)
    names = ", ".join(call.name for call in found.calls)
    if tool is None:
        none = not found.calls and not found.unreadable
        detail = "no call" if none else f"called {names or 'something unreadable'}"
        return dict.fromkeys(("called", "right_tool", "right_arguments"), none), detail
    called = bool(found.calls)
    right = len(found.calls) == 1 and found.calls[0].name == tool
    same = right and (arguments is None or same_json(found.calls[0].arguments, arguments))
    detail = (
        f"called {names}" if called else "an unreadable call" if found.unreadable else "no call"
    )
    if right and not same:
        detail = f"{names} with {json.dumps(found.calls[0].arguments, ensure_ascii=False)}"
    return {"called": called, "right_tool": right, "right_arguments": same}, detail


def grade_refusal(rule: Refusal, item: Item, answer: Answer, sandbox: Sandbox) -> Grade:
    """Whether the answer refuses if and only if it should; an empty one does neither."""
    del sandbox

    def passes(text: str) -> bool:
        refused = find_refusal(text, rule.patterns) is not None
        return bool(text.strip()) and refused == item.data["refuse"]

    def shown(text: str) -> str:
        refusal = find_refusal(text, rule.patterns)
        return f"refused: {refusal}" if refusal else "answered" if text.strip() else "no answer"

    return _mean("refused_right", item, answer.texts, passes, shown)


def program(item: Item, text: str) -> Program:
    """The program that a model's answer to an item is."""
    data = item.data
    return Program(
        solution=read_program(text, data["entry_point"], data["completes"]),
        entry_point=data["entry_point"],
        tests=data["tests"],
        support=data["support"],
    )


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
