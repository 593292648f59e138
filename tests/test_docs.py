"""What docs/tasks.md shows is read by the code, and its table is what the command prints."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from bitloss.cli.main import main
from bitloss.suites import load_suite
from bitloss.tasks.custom import load_task_file
from bitloss.tasks.custom.schema import RULES, Definition

PAGE = (Path(__file__).parents[1] / "docs" / "tasks.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
ROWS = {
    "endings.csv": "text,ending\nA red,rose\n",
}


def files(folder: Path, example: str) -> Path:
    """The example, a data file with the row that its comment shows, and tools."""
    path = folder / "task.yaml"
    path.write_text(example, encoding="utf-8")
    if shown := re.search(r"^data: (\S+) +# (.+)$", example, re.MULTILINE):
        name, row = shown.groups()
        (folder / name).write_text(ROWS.get(name, row + "\n"), encoding="utf-8")
    if shown := re.search(r"tools: (\S+\.json)", example):
        tool = {"name": "weather", "parameters": {"type": "object"}}
        (folder / shown[1]).write_text(json.dumps([tool]), encoding="utf-8")
    return path


@pytest.mark.parametrize("number", range(len(RULES)))
def test_example_of_a_rule(number: int, tmp_path: Path) -> None:
    task = load_task_file(files(tmp_path, EXAMPLES[number]))
    assert len(task.load(None).items) == 1
    assert f"\n{RULES[number]}: " in EXAMPLES[number]


CMMLU = ",Question,A,B,C,D,Answer\n0,Q?,w,x,y,z,A\n"
LSAT = {"passage": None, "question": "Who?", "options": list("pqrst"), "label": "E"}


def test_examples_of_many_files(tmp_path: Path) -> None:
    for name in ("test/agronomy.csv", "test/anatomy.csv", "dev/agronomy.csv", "dev/anatomy.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(CMMLU)
    for name in ("lsat-ar.jsonl", "lsat-lr.jsonl", "lsat-rc.jsonl"):
        (tmp_path / name).write_text(json.dumps(LSAT))
    cmmlu, agieval, _ = EXAMPLES[len(RULES) : -1]
    items = load_task_file(files(tmp_path, cmmlu)).load(None).items
    assert [item.subject for item in items] == ["agronomy", "anatomy"]
    assert [len(item.prompt.shots) for item in items] == [1, 1]
    items = load_task_file(files(tmp_path, agieval)).load(None).items
    assert [item.subject for item in items] == ["lsat-ar", "lsat-lr", "lsat-rc"]


MBPP = {
    "task_id": 2, "text": "Double a number.", "code": "def f(x):\r\n    return 2 * x",
    "test_list": ["assert f(1) == 2", "assert f(2) == 4"], "test_setup_code": "",
}  # fmt: skip


def test_example_of_mbpp(tmp_path: Path) -> None:
    for name in ("mbpp.jsonl", "mbpp-prompt.jsonl"):
        (tmp_path / name).write_text(json.dumps(MBPP) + "\n")
    (item,) = load_task_file(files(tmp_path, EXAMPLES[-2])).load(None).items
    assert item.data["entry_point"] == "f"
    assert item.prompt.shots[0].endswith("[BEGIN]\ndef f(x):\r\n    return 2 * x\n[DONE]\n\n")


def test_example_of_a_suite(tmp_path: Path) -> None:
    path = files(tmp_path, EXAMPLES[-1])
    (tmp_path / "manual.txt").write_text("x")
    (tmp_path / "capitals.yaml").write_text("x")
    assert len(load_suite(str(path)).tasks) == 3


def test_every_key_is_explained() -> None:
    table = PAGE.partition("### Keys of every task")[2].partition("## Suites")[0]
    missing = {key for key in Definition.model_fields if f"`{key}`" not in table}
    assert missing <= set(RULES)


def test_suites_are_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "suites"]) == 0
    assert f"```\n{capsys.readouterr().out}```" in PAGE
