"""Rows of several files, examples by subject, nulls and lists: prompts written out by hand."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from bitloss.errors import TaskDataError, UsageError
from bitloss.tasks.base import Prompt
from bitloss.tasks.ceval import CEVAL
from bitloss.tasks.custom import load_task_file
from bitloss.tasks.custom.sources import find_sources

from .conftest import Write

HEADER = ",Question,A,B,C,D,Answer\n"
# The layout of CMMLU: a folder per split, a CSV per subject with an unnamed column of numbers.
CMMLU = {
    "dev/agronomy.csv": HEADER + "0,Seed?,w,x,y,z,A\n1,Soil?,w,x,y,z,B\n",
    "dev/arts.csv": HEADER + "0,Ink?,w,x,y,z,C\n1,Brush?,w,x,y,z,D\n2,Paper?,w,x,y,z,A\n",
    "test/agronomy.csv": HEADER + "0,Rice?,k,l,m,n,B\n1,Wheat?,k,l,m,n,C\n",
    "test/arts.csv": HEADER + '0,"Jade, or\nsilk?",k,l,m,n,D\n',
    "test/README.md": "not a table",
}
TASK = """\
    name: cmmlu
    capability: knowledge (Chinese)
    data: test
    shots: dev
    shots_per_subject: true
    subject: file
    description: "以下是关于{file}的单项选择题"
    prompt: "{Question}\\nA. {A}\\nB. {B}\\nC. {C}\\nD. {D}\\n答案是："
    delimiter: ""
    choice: {options: [A, B, C, D], gold: Answer}
    """


@pytest.fixture
def cmmlu(tmp_path: Path) -> Path:
    for name, text in CMMLU.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def question(name: str, options: str, answer: str = "") -> str:
    lines = [f"{letter}. {option}" for letter, option in zip("ABCD", options, strict=True)]
    return "\n".join([name, *lines, f"答案是：{answer}"])


def test_a_file_per_subject(write: Write, cmmlu: Path) -> None:
    task = load_task_file(write(TASK))
    first, second, third = task.load(None).items
    # As many examples as every subject has: two.
    assert first.prompt == Prompt(
        question("Rice?", "klmn"),
        (question("Seed?", "wxyz", "A") + "\n\n", question("Soil?", "wxyz", "B") + "\n\n"),
        "以下是关于agronomy的单项选择题\n\n",
    )
    assert third.prompt == Prompt(
        question("Jade, or\nsilk?", "klmn"),
        (question("Ink?", "wxyz", "C") + "\n\n", question("Brush?", "wxyz", "D") + "\n\n"),
        "以下是关于arts的单项选择题\n\n",
    )
    assert [item.id for item in (first, second, third)] == [
        "cmmlu/agronomy/1", "cmmlu/agronomy/2", "cmmlu/arts/1",
    ]  # fmt: skip
    assert [item.subject for item in (first, second, third)] == ["agronomy", "agronomy", "arts"]
    assert [item.gold for item in (first, second, third)] == [1, 2, 3]
    fewer = task.load(None, shots=1).items
    assert [len(item.prompt.shots) for item in fewer] == [1, 1, 1]
    with pytest.raises(UsageError, match="expected 0 to 2 examples"):
        task.load(None, shots=3)


@pytest.mark.parametrize(
    ("named", "names"),
    [
        ("test", ["agronomy", "arts"]),
        ("test/*.csv", ["agronomy", "arts"]),
        ("test/a*s.csv", ["rt"]),  # what the star stands for
        ("t*/[ab]rts.csv", ["est"]),
        ("test/art?.csv", ["arts"]),
        ("*/arts.csv", ["dev", "test"]),
        ("**/arts.csv", ["dev", "test"]),
        ("**/a*.csv", ["dev/gronomy", "dev/rts", "test/gronomy", "test/rts"]),
        (["test/arts.csv", "dev/ag*"], ["arts", "ronomy"]),
    ],
)
def test_names_of_files(cmmlu: Path, named: str | list[str], names: list[str]) -> None:
    assert [source.name for source in find_sources(named, cmmlu)] == names
    absolute = [named] if isinstance(named, str) else named
    found = find_sources([str(cmmlu / name) for name in absolute], Path("/nowhere"))
    assert [source.path for source in found] == [one.path for one in find_sources(named, cmmlu)]


def test_gzipped_files_and_names_with_signs(tmp_path: Path) -> None:
    (tmp_path / "a[1].jsonl.gz").write_bytes(gzip.compress(b"{}\n"))
    (tmp_path / "b.jsonl").write_text("{}\n")
    assert [one.name for one in find_sources("a[1].jsonl.gz", tmp_path)] == ["a[1]"]
    assert [one.name for one in find_sources(".", tmp_path)] == ["a[1]", "b"]
    assert [one.name for one in find_sources("*", tmp_path)] == ["a[1]", "b"]


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("data: test", "data: tset", "3: data: no file `tset`"),
        ("data: test", "data: test/*.json", "3: data: no file matches `test/*.json`"),
        ("data: test", "data: .", "data: expected tables (.jsonl, .csv, .parquet ...) in the"),
        ("data: test", "data: [test, test/arts.csv]", "data: `test/arts.csv` is named twice"),
        ("data: test", "data: [test, 3, {a: b}]", "data: expected the path of a .jsonl or .csv"),
        ("shots_per_subject: true", "shots_per_subject:",
         "4: shots: expected `shots_per_subject` with examples of 2 files: true gives an item "
         "those of its subject, false all 5"),
        ("subject: file", "subject: null", "5: shots_per_subject: expected `subject` too"),
        ("subject: file", "subject: fiel", "no row of `agronomy.csv` and 1 more files has a field "
                                           "`fiel`; did you mean `file`?"),
        ("shots: dev", "shots: dev/arts.csv", "rows 1 and 2: no example under `shots` is of the "
                                              "subject `agronomy`"),
        ("gold: Answer", "gold: Question", "test/agronomy.csv: row 1: expected an option's text"),
    ],
)  # fmt: skip
def test_mistakes(write: Write, cmmlu: Path, old: str, new: str, mistake: str) -> None:
    assert old in TASK
    path = write(TASK.replace(old, new))
    with pytest.raises((UsageError, TaskDataError)) as caught:
        load_task_file(path)
    assert mistake in str(caught.value).replace(f"{cmmlu}/", "").replace(f"`{cmmlu}`", "`.`")


def test_an_error_of_many_files_is_told_once(write: Write, tmp_path: Path) -> None:
    for number in range(67):
        text = HEADER + "0,Q?,w,x,y,z,\n"
        (tmp_path / f"{number}.csv").write_text(text)
    task = TASK.replace("data: test", "data: '*.csv'").replace("shots: dev", "shots: null")
    with pytest.raises(TaskDataError) as caught:
        load_task_file(write(task.replace("    shots_per_subject: true\n", "")))
    assert str(caught.value).count("\n") == 1  # the mistake, and the hint
    assert "(and in 66 more files)" in str(caught.value)


def test_renaming_a_subject_changes_the_task(write: Write, cmmlu: Path) -> None:
    path = write(TASK)
    before = load_task_file(path).load(None).digest
    assert load_task_file(path).load(None).digest == before
    for split in ("dev", "test"):
        (cmmlu / split / "arts.csv").rename(cmmlu / split / "crafts.csv")
    assert load_task_file(path).load(None).digest != before


def test_csv_without_a_header(write: Write, tmp_path: Path) -> None:
    # The layout of MMLU.
    (tmp_path / "anatomy_test.csv").write_text("Bone?,a,b,c,d,C\n")
    (tmp_path / "law_test.csv").write_text("Court?,a,b,c,d,D\n")
    items = (
        load_task_file(
            write("""\
        name: exam
        capability: knowledge (English)
        data: "*_test.csv"
        columns: [question, A, B, C, D, answer]
        subject: file
        prompt: "{question}"
        choice: {options: ["{A}", "{B}", "{C}", "{D}"], gold: answer}
        """)
        )
        .load(None)
        .items
    )
    assert [(item.subject, item.prompt.question, item.gold) for item in items] == [
        ("anatomy", "Bone?", 2), ("law", "Court?", 3),
    ]  # fmt: skip


# AGIEval's rows: a passage or null, options that differ in number, a label or null.
AGIEVAL = [
    {"passage": "A text. ", "question": "Who?", "options": ["(A)x", "(B)y"], "label": "B"},
    {"passage": None, "question": "When?", "options": ["(A)p", "(B)q", "(C)r"], "label": "A"},
]


def test_nulls_and_lists_in_a_prompt(write: Write) -> None:
    task = load_task_file(
        write(
            """\
            name: agieval
            capability: logic
            data: rows.jsonl
            list_separator: " "
            prompt: "{passage}Q: {question} Answer Choices: {options}\\nA: The answer is"
            choice: {options: "{options}", gold: label}
            """,
            AGIEVAL,
        )
    )
    loaded = task.load(None)
    assert [item.prompt.question for item in loaded.items] == [
        "A text. Q: Who? Answer Choices: (A)x (B)y\nA: The answer is",
        "Q: When? Answer Choices: (A)p (B)q (C)r\nA: The answer is",
    ]
    assert [item.gold for item in loaded.items] == [1, 0]
    assert loaded.notes == ("field `passage` is null in 1 of 2 rows, and left empty",)
    assert task.facts.chance == pytest.approx((1 / 2 + 1 / 3) / 2)


def test_trailing_options_may_be_null(write: Write) -> None:
    text = """\
        name: own
        capability: logic
        data: rows.jsonl
        prompt: "{q}"
        choice: {options: ["{a}", "{b}", "{c}"], gold: g, gold_as: letter}
        """
    rows = [
        {"q": "one", "a": "x", "b": "y", "c": None, "g": "B"},
        {"q": "two", "a": "x", "b": "y", "c": "z", "g": "C"},
    ]
    items = load_task_file(write(text, rows)).load(None).items
    assert [item.options for item in items] == [("x", "y"), ("x", "y", "z")]
    rows[1]["b"] = None
    with pytest.raises(TaskDataError, match="row 2: field `b` holds nothing"):
        load_task_file(write(text, rows))


@pytest.mark.parametrize("key", ["answer", "options"])
def test_what_is_graded_by_has_no_gaps(write: Write, key: str) -> None:
    row = {"q": "one", "x": None, "g": "A"}
    rule = {
        "answer": 'answer: "It is {x}."\nexact_match: {gold: g}',
        "options": 'choice: {options: ["{x}a", b], gold: g}',
    }[key]
    path = write(
        f'name: own\ncapability: logic\ndata: rows.jsonl\nprompt: "{{q}}"\n{rule}\n', [row]
    )
    with pytest.raises(TaskDataError, match="field `x` holds nothing, expected text or a number"):
        load_task_file(path)


FULL = """\
    name: own
    capability: logic
    data: rows.jsonl
    prompt: "{q}"
    exact_match: {gold: a}
    """


@pytest.mark.parametrize(
    "key",
    ["items", "messages", "description", "shots", "shots_per_subject", "separator", "delimiter",
     "list_separator", "columns", "answer", "id", "subject", "cluster", "license", "licence",
     "generation", "choice", "python_tests",
     "generation: {stop: null, samples: null}\n    refusal"],
)  # fmt: skip
def test_a_key_with_null_is_not_given(write: Write, key: str) -> None:
    rows = [{"q": "one", "a": "1"}]
    bare = load_task_file(write(FULL, rows))
    with_null = load_task_file(write(f"{FULL}{key}: null\n".replace("    ", ""), rows))
    assert with_null.facts == bare.facts
    assert with_null.load(None).items == bare.load(None).items


@pytest.mark.parametrize(
    ("old", "new", "mistake"),
    [
        ("data: rows.jsonl", "data: null", "expected one of `data`, `items` to say where the rows"),
        ("data: rows.jsonl", "data:", "expected one of `data`, `items` to say where the rows"),
        ("exact_match: {gold: a}", "choice: null", "to say how answers are graded, got none"),
        ("{gold: a}", "{gold: null}", "5: exact_match.gold: missing"),
        ('"{q}"', "null", "expected one of `prompt`, `messages` as the question, got none"),
        ("{gold: a}", "{gold: a}\n    promtp: null",
         "6: promtp: no such key; did you mean `prompt`?"),
        ("{gold: a}", "{gold: a, strop: null}", "5: exact_match.strop: no such key; did you mean "
                                                "`strip`?"),
    ],
)  # fmt: skip
def test_mistakes_with_null(write: Write, old: str, new: str, mistake: str) -> None:
    assert old in FULL
    with pytest.raises(UsageError) as caught:
        load_task_file(write(FULL.replace(old, new), [{"q": "one", "a": "1"}]))
    assert mistake in str(caught.value)


def test_the_examples_are_found_among_the_items_of_other_files(
    write: Write, tmp_path: Path
) -> None:
    row = {"q": "one", "a": "1"}
    (tmp_path / "shots.jsonl").write_text(json.dumps(row))
    task = load_task_file(write(f"{FULL}shots: shots.jsonl\n", [row, {"q": "two", "a": "2"}]))
    assert task.load(None).notes == ("1 of the 2 items are also examples",)


def test_at_most_thirty_mistakes_are_written_out(write: Write) -> None:
    text = FULL.replace("exact_match: {gold: a}", "choice: {options: [x, y], gold: a}")
    rows = [{"q": "one", "a": f"{number}, neither"} for number in range(1_000)]
    with pytest.raises(TaskDataError) as caught:
        load_task_file(write(text, rows))
    first, *lines = str(caught.value).splitlines()
    assert first.startswith("1,000 errors")
    assert len(lines) == 32
    assert lines[-2:] == ["  and 970 more", "hint: fix these rows and try again"]


def test_the_real_files_of_c_eval(write: Write, shared: Path) -> None:
    # The oracle is the built-in task, which has lm-eval's prompts and descriptions of its own.
    data = shared / "data" / "ceval"
    own = (
        load_task_file(
            write(f"""\
        name: own
        capability: knowledge (Chinese)
        data: {data}/val/*_val.csv
        shots: {data}/dev/*_dev.csv
        shots_per_subject: true
        subject: file
        prompt: "{{question}}\\nA. {{A}}\\nB. {{B}}\\nC. {{C}}\\nD. {{D}}\\n答案："
        choice: {{options: [A, B, C, D], gold: answer}}
        """)
        )
        .load(None)
        .items
    )
    built_in = CEVAL.load(shared / "data").items
    assert len(own) == 1_346
    assert [(i.subject, i.prompt.question, i.prompt.shots, i.options, i.gold) for i in own] == [
        (i.subject, i.prompt.question, i.prompt.shots, i.options, i.gold) for i in built_in
    ]


def test_examples_of_a_list_of_files(write: Write, cmmlu: Path) -> None:
    text = TASK.replace("shots: dev", "shots: [dev/agronomy.csv, dev/arts.csv]")
    items = load_task_file(write(text)).load(None).items
    assert [len(item.prompt.shots) for item in items] == [2, 2, 2]
    text = text.replace("shots_per_subject: true", "shots_per_subject: false")
    items = load_task_file(write(text)).load(None).items
    assert [len(item.prompt.shots) for item in items] == [5, 5, 5]
