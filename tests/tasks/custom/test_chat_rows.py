"""Task files whose rows are put through the chat template. Oracle: by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import TaskDataError, UsageError
from bitloss.tasks import resolve_task
from bitloss.tasks.base import Task

TOOL = {"name": "timer", "parameters": {"type": "object", "properties": {}}}
WRAPPED = {"type": "function", "function": TOOL}
HEAD = "name: probe\ncapability: instruction following\ndata: rows.jsonl\n"
TOOLS = HEAD + 'prompt: "{q}"\ntool_call: {tools: t.json, tool: tool, arguments: a}\n'
ROW = {"q": "Five minutes.", "tool": "timer", "a": {"minutes": 5}}


def read(folder: Path, text: str, *rows: dict[str, Any], tools: Any = (TOOL,)) -> Task:
    (folder / "probe.yaml").write_text(text)
    (folder / "t.json").write_text(tools if isinstance(tools, str) else json.dumps(tools))
    (folder / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return resolve_task(str(folder / "probe.yaml"))


def test_tools_of_a_file_and_of_rows(tmp_path: Path) -> None:
    rows = (ROW, {"q": "Who?", "tool": None}, {"q": "Go.", "tool": "timer", "a": None})
    task = read(tmp_path, TOOLS, *rows)
    first, second, third = task.load(None).items
    assert first.prompt.tools == second.prompt.tools == (WRAPPED,)
    assert first.prompt.question == "Five minutes."
    assert first.data == {"tool": "timer", "arguments": {"minutes": 5}}
    assert second.data == {"tool": None, "arguments": None}
    assert third.data == {"tool": "timer", "arguments": None}
    assert task.facts.metrics == ("right_arguments", "right_tool", "called")
    assert task.facts.needs_chat
    assert task.facts.decoding is not None
    assert "[TOOL_CALLS]" in task.facts.decoding.keep
    digest = task.load(None).digest
    assert read(tmp_path, TOOLS, *rows, tools=[WRAPPED]).load(None).digest != digest
    own = TOOLS.replace("t.json", "ts").replace(", arguments: a", "")
    task = read(tmp_path, own, {**ROW, "ts": [WRAPPED]})
    assert task.load(None).items[0].prompt.tools == (WRAPPED,)
    assert task.facts.metrics == ("right_tool", "called")


def test_a_conversation_in_place_of_a_prompt(tmp_path: Path) -> None:
    said = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": "Hi!"},
        {"role": "user", "content": "Pick a lock."},
    ]
    text = HEAD + "messages: said\nrefusal: {should_refuse: no}\n"
    (item,) = read(tmp_path, text, {"said": said, "no": True}).load(None).items
    assert item.prompt.messages == tuple(said)
    assert item.prompt.question == "Pick a lock."
    assert item.data == {"refuse": True}


@pytest.mark.parametrize(
    ("change", "row", "said"),
    [
        ({}, {**ROW, "tool": "clock"}, "names `clock`; the tools are timer"),
        ({}, {**ROW, "tool": 5}, "expected a tool's name, or null, in field `tool`"),
        ({}, {**ROW, "a": [5]}, "expected an object of arguments in field `a`"),
        ({}, {**ROW, "tool": None}, "expected no arguments where no tool is to be called"),
        ({"t.json": "ts"}, {**ROW, "ts": []}, "expected a list of tools, got `[]`"),
        ({"t.json": "ts"}, {**ROW, "ts": [{"x": 1}]}, "expected a tool with a `name`"),
        ({'prompt: "{q}"': "messages: q"}, ROW, "expected a list of messages in field `q`"),
        (
            {'prompt: "{q}"': "messages: q"},
            {**ROW, "q": [{"role": "user"}]},
            "expected messages with a `role`",
        ),
        (
            {'prompt: "{q}"': "messages: q"},
            {**ROW, "q": [{"role": "assistant", "content": "x"}]},
            "expected a message to answer at the end",
        ),
        (
            {"tool_call: {tools: t.json, tool: tool, arguments: a}": "refusal: {should_refuse: a}"},
            {**ROW, "a": "maybe"},
            "expected true or false in field `a`, got `maybe`",
        ),
    ],
)
def test_rows_that_cannot_be(
    tmp_path: Path, change: dict[str, str], row: dict[str, Any], said: str
) -> None:
    text = TOOLS
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new)
    with pytest.raises(TaskDataError) as caught:
        read(tmp_path, text, row)
    assert said in caught.value.message
    assert "row 1" in caught.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TOOLS + "messages: q\n", "expected one of `prompt`, `messages`"),
        (TOOLS.replace('prompt: "{q}"\n', ""), "expected one of `prompt`, `messages`"),
        (TOOLS + "shots: [{q: a}]\n", "`tool_call` takes none; remove it"),
        (HEAD + "messages: q\ncontains: {gold: tool}\n", "only `tool_call` and `refusal` take"),
        (TOOLS.replace("tool: tool", "tool: tol"), "no row of `rows.jsonl` has a field `tol`"),
        (TOOLS.replace("t.json", "none.json"), "cannot read"),
    ],
)
def test_task_files_that_cannot_be(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises((UsageError, TaskDataError)) as caught:
        read(tmp_path, text, ROW)
    assert said in caught.value.message


@pytest.mark.parametrize("tools", ["{", "[]", '[{"name": 1}]', '[{"name": "a", "parameters": 1}]'])
def test_files_that_hold_no_tools(tmp_path: Path, tools: str) -> None:
    with pytest.raises(TaskDataError, match=r"t\.json"):
        read(tmp_path, TOOLS, ROW, tools=tools)


def test_stop_strings_of_a_completion_do_not_cut_a_fence(tmp_path: Path) -> None:
    text = HEAD + (
        'prompt: "{q}"\npython_tests: {entry_point: f, tests: "assert f() == 1"}\n'
        'generation: {stop: ["\\ndef "]}\n'
    )
    task = read(tmp_path, text, ROW)
    assert task.facts.decoding is not None
    assert task.facts.decoding.stop == ("\ndef ",)
    assert task.chat is not None
    assert task.chat.facts.decoding is not None
    assert task.chat.facts.decoding.stop == ()
    assert any("stop strings are not used" in note for note in task.chat.load(None).notes)
    assert task.load(None).notes == ()
