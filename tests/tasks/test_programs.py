"""Programs in chat answers. Oracles: by hand, and HumanEval's own tests on its own solutions."""

from __future__ import annotations

import gzip
import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitloss.tasks.programs import find_blocks, read_program

BODY = "    return 2 * x\n"
SIGNATURE = 'def double(x):\n    """Twice x."""\n'
WHOLE = SIGNATURE + BODY
GIVEN = "from math import pi\n\n\ndef help(x):\n    return x\n"


@pytest.mark.parametrize(
    ("text", "program"),
    [
        (BODY, WHOLE),
        (f"Sure:\n```python\n{WHOLE}```\nThat is it.", WHOLE),
        (f"```\n{BODY}```", WHOLE),
        (f"```python\n{WHOLE}", f"{WHOLE}\n"),  # cut off before the fence
        ("```sh\nls\n```\n```py\ndouble = lambda x: 2 * x\n```", "double = lambda x: 2 * x\n"),
        ("```py\ndef doubled(x): ...\n```", SIGNATURE + "    def doubled(x): ...\n"),
        (f"~~~\n{WHOLE}~~~", WHOLE),
        (f"```python\n{WHOLE}```\nIts use:\n```python\ndouble(1)\n```", WHOLE),
        # The last one counts, unless it was cut off.
        (f"```\ndef double(x): 1\n```\nNo:\n```\n{WHOLE}```", WHOLE),
        (f"```\n{WHOLE}```\nOr:\n```\ndef double(x):\n    ret", WHOLE),
        (f"1. So:\n   ```python\n{textwrap.indent(WHOLE, '   ')}   ```", WHOLE),
        (f"Here it is.\n\n{WHOLE}\nIt works by doubling.", f"{WHOLE}\n"),
        (f"Import this:\n\nimport math\n\n\n{WHOLE}", f"import math\n\n\n{WHOLE}\n"),
        ("```python\nreturn 2 * x\n```", WHOLE),
        ("return 2 * x\n", WHOLE),
        (f"{BODY}\nThis doubles it.", f"{WHOLE}"),
        (f"The missing line:\n\n{BODY}", WHOLE),
    ],
)
def test_program_in_an_answer(text: str, program: str) -> None:
    assert read_program(text, "double", SIGNATURE).rstrip("\n") == program.rstrip("\n")


def test_what_the_question_has_before_the_function_stands_before_the_program() -> None:
    found = read_program(f"```python\n{WHOLE}```", "double", GIVEN + SIGNATURE)
    assert found == f"{GIVEN.rstrip()}\n\n\n{WHOLE}"
    found = read_program(
        f"```\nfrom __future__ import annotations\n{WHOLE}```", "double", GIVEN + SIGNATURE
    )
    compile(found, "", "exec")  # such an import has to be the first one
    assert found.startswith("from __future__ import annotations\nfrom math import pi")


def test_blocks_and_what_is_outside() -> None:
    text = "a\n```python title\nb\n```\nc\n~~~~\n```\nd\n~~~~\n```js\ne"
    blocks, outside = find_blocks(text)
    assert [(b.text, b.language, b.closed) for b in blocks] == [
        ("b\n", "python", True), ("```\nd\n", "", True), ("e\n", "js", False),
    ]  # fmt: skip
    assert outside == "a\nc"
    # Inline code is no fence, and a docstring's fence does not end a block.
    assert find_blocks("```f``` is\nx")[0] == []
    (block,), _ = find_blocks('```\ndef f():\n    """\n    ```\n    """\n```')
    assert block.closed
    assert block.text.count("```") == 1


def styles(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """How chat models answer."""
    begins, body, name = row["prompt"], row["canonical_solution"], row["entry_point"]
    full = begins + body
    found = re.search(rf"^def {name}\b", full, re.MULTILINE)
    assert found is not None
    own = full[found.start() :]
    yield "fence", f"```python\n{full}```"
    yield "prose", f"Sure! Here:\n\n```python\n{full}```\n\nHow:\n\n1. It loops.\n2. It ends."
    yield "no language", f"```\n{full}```\nDone."
    yield "Python", f"``` Python\n{full}\n```"
    yield "tildes", f"Here:\n~~~python\n{full}\n~~~\nEnd"
    yield "four", f"````python3\n{full}\n````"
    yield "cut off", f"Here it is:\n```python\n{full}"
    yield (
        "in a list",
        "1. So:\n   ```python\n" + textwrap.indent(full, "   ") + "\n   ```\n2. Done.",
    )
    yield "its use after", f"```python\n{full}```\nUse:\n```python\nprint({name}(1))\n```"
    yield (
        "wrong first",
        (f"```python\ndef {name}(*a):\n    raise ValueError\n```\nBetter:\n```python\n{full}```"),
    )
    yield "shell first", f"```bash\npip install numpy\n```\n```python\n{full}```"
    yield "cut copy", f"```python\n{full}```\nAgain:\n```python\ndef {name}("
    yield "without its imports", f"```python\n{own}```"
    yield "imports of its own", f"```python\nimport math\nfrom typing import *\n\n{own}\n```"
    yield "future", f"```python\nfrom __future__ import annotations\n{own}\n```"
    yield "body", body
    yield "body in a fence", f"The body:\n```python\n{body}```\nIt is simple."
    yield "body and prose", f"{body}\nThis function works by looping."
    yield "prose and body", f"The missing lines are:\n\n{body}"
    yield "body at the margin", f"```python\n{textwrap.dedent(body)}```"
    yield "body without its first blanks", body.lstrip()
    yield "the same in a fence", f"```python\n{body.lstrip()}```"
    yield "no fence", full
    yield "no fence and prose", f"Here is the function.\n\n{full}\n\nIt does what it should."
    yield "no fence, no imports", f"Sure, here you go:\n\n{own}\nLet me know if you need more."
    yield "carriage returns", f"```python\n{full}```\n".replace("\n", "\r\n")
    yield "byte order mark", f"\ufeff```python\n{full}```"
    yield "fence behind code", f"```python\n{full.rstrip()}```\nThat is all."
    yield "fence in a fence", f"```markdown\n# Answer\n```python\n{full}\n```\n```"
    yield "all indented", textwrap.indent(f"```python\n{full}\n```", "    ")
    yield "main guard", f"```python\n{full}\n\nif __name__ == '__main__':\n    print({name})\n```"


def passes(program: str, row: dict[str, Any]) -> bool:
    scope: dict[str, Any] = {"__name__": "program"}
    try:
        exec(program, scope)
        exec(row["test"], scope)
        scope["check"](scope[row["entry_point"]])
    except Exception:
        return False
    return True


def test_published_solutions_pass_however_they_are_told(shared: Path) -> None:
    file = shared / "data" / "humaneval" / "HumanEval.jsonl.gz"
    if not file.is_file():
        pytest.skip(f"no {file}")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    failed = []
    for index, row in enumerate(rows):
        # Every style on a quarter of the problems; two whose text is unlike the others' always.
        own = list(styles(row))
        special = row["task_id"] in ("HumanEval/24", "HumanEval/38", "HumanEval/64")
        for at, (style, text) in enumerate(own):
            if (special or (index + at) % 4 == 0) and not passes(
                read_program(text, row["entry_point"], row["prompt"]), row
            ):
                failed.append((row["task_id"], style))
    assert failed == []


@pytest.mark.parametrize(
    ("begins", "text"),
    [
        ('def f(v):\n    """Double."""', "\n    return 2 * v"),
        ('def f(v):\n    """Double."""', "\n\n    return 2 * v\n"),
        ('def f(v):\n    """Double."""\n', "    return 2 * v"),
        ('def f(v):\n    """Double."""', "Here it is:\n    return 2 * v"),
        ('def f(v):\n    """Double."""', "```python\nreturn 2 * v\n```"),
        ("def f(v): return", " 2 * v"),
    ],
)
def test_a_body_goes_on_from_where_the_question_ends(begins: str, text: str) -> None:
    # Oracle: Python itself.
    names: dict[str, Any] = {}
    exec(read_program(text, "f", begins), names)
    assert names["f"](21) == 42
