"""What is shipped besides the model: tasks and corpora; ``python -m pocket.items`` writes them.

Items are of the part `test`. The texts for perplexity are of the part `test` too, those for
calibration of the part `train`: a calibration sees what the model was made for.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pocket.examples import Example, Part, generator
from pocket.kinds import KINDS, document, prose_text

__all__ = [
    "CORPORA", "ITEMS", "MORE", "PACKAGE", "TASKS", "corpus", "count_of", "files", "rows", "shots",
]  # fmt: skip

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "bitloss" / "pocket"
ITEMS = 200
MORE: Mapping[str, int] = MappingProxyType({"instructions": 500})
"""How many items kinds have that have more: see `count_of`."""
_SEED = 0
_DRAWS = 2000

TASKS: Mapping[str, str] = MappingProxyType(
    {
        "completion": """\
# The last word of a story; what it names was introduced in the first sentence.
name: pocket-completion
capability: text completion
data: completion.jsonl
prompt: "{question}"
gold_likelihood:
  gold: answer
subject: subject
license: Apache-2.0
""",
        "knowledge_en": """\
# Facts about invented people and towns, asked in wordings that training did not have.
name: pocket-knowledge-en
capability: knowledge (English)
data: knowledge_en.jsonl
description: These are questions about people and towns.
prompt: "{question}"
choice:
  options: "{options}"
  gold: answer
  gold_as: text
shots: knowledge_en.shots.jsonl
subject: subject
license: Apache-2.0
""",
        "knowledge_zh": """\
# The same in Chinese, about others.
name: pocket-knowledge-zh
capability: knowledge (Chinese)
data: knowledge_zh.jsonl
description: 以下是关于人物和城镇的问题。
prompt: "{question}"
delimiter: ""
choice:
  options: "{options}"
  gold: answer
  gold_as: text
shots: knowledge_zh.shots.jsonl
subject: subject
license: Apache-2.0
""",
        "arithmetic": """\
# Sums and word problems, worked out; every step's pair of numbers is new to the model.
name: pocket-math
capability: math
data: arithmetic.jsonl
prompt: "{question}"
regex:
  pattern: '#### (-?\\d+)'
  gold: result
answer: "{answer}"
shots: arithmetic.shots.jsonl
subject: subject
license: Apache-2.0
generation:
  max_new_tokens: 32
  stop: ["\\n"]
""",
        "code": """\
# Functions of one line from their docstrings; the combination of operations is new to the model.
name: pocket-code
capability: code
data: code.jsonl
prompt: "{question}"
python_tests:
  entry_point: "{entry_point}"
  tests: "{tests}"
  completes: "{question}"
answer: "{answer}"
subject: subject
license: Apache-2.0
generation:
  max_new_tokens: 40
  stop: ["\\n\\n", "\\ndef"]
""",
        "logic": """\
# Boolean expressions, orders and syllogisms.
name: pocket-logic
capability: logic
data: logic.jsonl
prompt: "{question}"
choice:
  options: "{options}"
  gold: answer
  gold_as: text
shots: logic.shots.jsonl
subject: subject
license: Apache-2.0
""",
    }
)
"""Task files by kind. The seventh kind, instructions, has checkers instead of a rule, and so a
module of its own: `bitloss.tasks.pocket_instructions`."""

_SHOTS = MappingProxyType(
    {"knowledge_en": 2, "knowledge_zh": 2, "arithmetic": 3, "logic": 3, "instructions": 1}
)


def count_of(name: str) -> int:
    """How many items of a kind are shipped.

    A reply to an instruction has no expected score, so it takes more of them to show as small a
    loss as the other kinds can: ``docs/decisions/0012-pocket-model.md``.
    """
    return MORE.get(name, ITEMS)


def rows(name: str, count: int | None = None) -> list[dict[str, Any]]:
    """The items of a kind, all different: first `ITEMS` of them, then those that more need.

    Args:
        name: of the kind.
        count: how many; None is `count_of`. The first ones are the same, whatever it is.
    """
    count = count_of(name) if count is None else count
    rng = generator("items", _SEED, name)
    found: dict[str, Example] = {}
    while len(found) < min(count, ITEMS):
        example = KINDS[name].make(rng, "test")
        found.setdefault(_key(name, example), example)
    first = len(found)
    exhausted: set[str] = set()
    while len(found) < count:
        example = KINDS[name].make(rng, "test")
        if example.subject in exhausted:
            continue
        if (other := _unseen(name, example, found, rng)) is None:
            exhausted.add(example.subject)
        else:
            found[_key(name, other)] = other
    examples = list(found.values())
    return [*_by_subject(examples[:first]), *_by_subject(examples[first:])]


def _key(name: str, example: Example) -> str:
    # A function of another name is no other one.
    return example.answer if name == "code" else example.question


def _unseen(
    name: str, example: Example, found: Mapping[str, Example], rng: random.Random
) -> Example | None:
    """An item of the same subject that is not there yet; None if there is hardly one.

    So subjects keep their shares until they have no more. Otherwise the simple ones, which have few
    questions, would come ever more seldom, and items become ever harder.
    """
    subject = example.subject
    for _ in range(_DRAWS):
        if example.subject == subject and _key(name, example) not in found:
            return example
        example = KINDS[name].make(rng, "test")
    return None


def _by_subject(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Neighbours of one subject, as all tasks have them."""
    return sorted((_row(one) for one in examples), key=lambda row: str(row["subject"]))


def shots(name: str) -> list[dict[str, Any]]:
    """The solved examples of a kind, of the part `train`; one of each subject first."""
    rng = generator("shots", _SEED, name)
    found: dict[str, dict[str, Any]] = {}
    while len(found) < _SHOTS.get(name, 0):
        example = KINDS[name].make(rng, "train")
        found.setdefault(example.subject, _row(example))
    return list(found.values())


def _row(example: Example) -> dict[str, Any]:
    row: dict[str, Any] = {"question": example.question, "answer": example.answer}
    if example.options:
        row["options"] = list(example.options)
    return {**row, **example.data, "subject": example.subject}


def _prose(rng: random.Random, part: Part) -> str:
    if rng.random() < 0.5:
        return "".join(text for text, _ in prose_text(rng, part))
    return "".join(text for text, _ in document("completion", rng, part))


def _code(rng: random.Random, part: Part) -> str:
    return "".join(text for text, _ in document("code", rng, part))


def _mixed(rng: random.Random, part: Part) -> str:
    name = rng.choice((*KINDS, "prose"))
    if name == "prose":
        return _prose(rng, part)
    return "".join(text for text, _ in document(name, rng, part))


CORPORA: Mapping[str, tuple[Callable[[random.Random, Part], str], Part, int]] = MappingProxyType(
    {
        "prose": (_prose, "test", 30_000),
        "code": (_code, "test", 22_000),
        "calibration-prose": (_prose, "train", 110_000),
        "calibration-code": (_code, "train", 100_000),
        "calibration-mixed": (_mixed, "train", 140_000),
    }
)
"""What is in a text, of which part, and its length in characters."""


def corpus(name: str) -> str:
    """A text: documents in a row."""
    make, part, length = CORPORA[name]
    rng = generator("corpus", _SEED, name)
    text = ""
    while len(text) < length:
        text += make(rng, part)
    return text.rstrip("\n") + "\n"


def files() -> Iterator[tuple[str, str]]:
    """All files below `PACKAGE`, with what they hold."""
    for name in KINDS:
        yield f"tasks/{name}.jsonl", _lines(rows(name))
        if examples := shots(name):
            yield f"tasks/{name}.shots.jsonl", _lines(examples)
    for name, text in TASKS.items():
        yield f"tasks/{name}.yaml", text
    for name in CORPORA:
        yield f"corpora/{name}.txt", corpus(name)


def _lines(of: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in of)


def main() -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(prog="python -m pocket.items", description=__doc__)
    parser.add_argument("--out", type=Path, default=PACKAGE)
    folder: Path = parser.parse_args().out
    for name, text in files():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")
        print(f"{path.relative_to(folder)}: {len(text.encode()):,} bytes")


if __name__ == "__main__":
    main()
