"""Chat models from beginning to end through the command line, on a tiny model with a template.

Oracles: the shipped schema; a copy of the reference writes the same; limits counted by hand.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from bitloss.cli.main import main
from bitloss.results.schema import PATH

Captured = pytest.CaptureFixture[str]

TEMPLATE = (
    "{% for t in tools or [] %}{{ t.function.name }};{% endfor %}"
    "{% for m in messages %}{{ m.content }}{% endfor %}"
    "{% if enable_thinking is not defined or enable_thinking %}<think>{% endif %}"
)


@pytest.fixture
def chat(models: Path, here: Path) -> Path:
    """The tiny model and a copy, with a template that opens the thinking, and two probes."""
    (here / "tiny").unlink()  # a link to the model of all trials
    shutil.copytree(models / "tiny", here / "tiny")
    write_template(here / "tiny", TEMPLATE)
    shutil.copytree(here / "tiny", here / "copy")
    for name, kind in (("refuse", "refusal"), ("call", "tool_call")):
        assert main(["new-task", name, "--kind", kind]) == 0
        text = (here / f"{name}.yaml").read_text()
        tokens = next(line for line in text.splitlines() if "max_new_tokens" in line)
        (here / f"{name}.yaml").write_text(text.replace(tokens, "  max_new_tokens: 6"))
    return here


def write_template(model: Path, template: str) -> None:
    (model / "chat_template.jinja").write_text(template)


def compare(*words: str) -> dict[str, Any]:
    assert main(["compare", "./tiny", "./copy", "--out", "run", "--quiet", *words]) == 0
    result: dict[str, Any] = json.loads(Path("run/comparison.json").read_text())
    jsonschema.Draft202012Validator(json.loads(PATH.read_text())).validate(result)
    return result


def test_thinking_that_never_ends_has_no_answer(chat: Path, capsys: Captured) -> None:
    result = compare("--chat", "--tasks", "refuse.yaml,call.yaml", "--thinking-budget", "10")
    shown = capsys.readouterr().out
    for model in (result["reference"], result["variants"][0]):
        for name in ("refuse", "call"):
            task = model["tasks"][name]
            assert task["n_scored"] == task["n_items"]  # an answer that is not there is wrong
            assert task["chat"] == {
                "template_args": {}, "thinking_budget": 10,
                "thinking_markers": ["<think>", "</think>"],
            }  # fmt: skip
            assert task["writing"]["thinking_tokens"] == 10  # random weights end no thinking
            assert task["writing"]["answer_tokens"] == 0
            assert task["writing"]["cut_off"] == task["writing"]["unanswered"] == 1
        assert model["tasks"]["refuse"]["score"]["value"] == 0
        assert list(model["tasks"]["call"]["scores"]) == ["right_arguments", "right_tool", "called"]
    assert "generated texts" in shown
    assert "--thinking-budget" in shown
    assert "score 0%" in shown
    assert "chat template" in shown


def test_template_arguments_change_what_is_asked(chat: Path) -> None:
    words = ("--chat", "--tasks", "refuse.yaml", "--template-arg", "enable_thinking=false")
    task = compare(*words)["reference"]["tasks"]["refuse"]
    assert task["chat"]["template_args"] == {"enable_thinking": False}
    assert task["writing"] == {
        "answer_tokens": 6, "thinking_tokens": 0, "cut_off": 1, "unanswered": 0,
        "loops": task["writing"]["loops"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tasks", "refuse.yaml"], "task `refuse` needs the model's chat template"),
        (["--tasks", "refuse.yaml", "--thinking-budget", "9"], "is for the chat template"),
        (["--tasks", "refuse.yaml", "--chat", "--template-arg", "thnk=1"], "no argument `thnk`"),
        (["--tasks", "refuse.yaml", "--chat", "--template-arg", "x=False"], "expected JSON"),
        (["--tasks", "refuse.yaml", "--chat", "--thinking-markers", "x"], "expected BEGIN,END"),
    ],
)
def test_what_people_get_wrong(chat: Path, capsys: Captured, words: list[str], said: str) -> None:
    assert main(["compare", "./tiny", "./copy", *words]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "hint: " in error


def test_template_without_tools_is_refused_by_name(chat: Path, capsys: Captured) -> None:
    write_template(chat / "tiny", "{{ messages[-1].content }}")
    assert main(["compare", "./tiny", "./copy", "--tasks", "call.yaml", "--chat"]) == 2
    assert "tiny takes no tools" in capsys.readouterr().err
