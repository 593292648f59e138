"""Task files as `Task`: prompts and options written out by hand."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import pytest

from bitloss.errors import UsageError
from bitloss.requests import Decoding
from bitloss.tasks.base import Item, Prompt
from bitloss.tasks.custom import load_task_file

from .conftest import Write

CAPITALS = """\
    name: capitals
    capability: knowledge (English)
    data: rows.jsonl
    description: Answer.
    prompt: "Q: {question}\\nA:"
    exact_match: {gold: answer}
    shots:
      - {question: France, answer: Paris}
      - {question: Japan, answer: Tokyo}
    """
ROWS = [{"question": "Norway", "answer": "Oslo"}, {"question": "Peru", "answer": ["Lima", "lima"]}]


def test_items_are_as_written(write: Write) -> None:
    path = write(CAPITALS, ROWS)
    task = load_task_file(path)
    assert task.facts.name == "capitals"
    assert task.facts.capability == "knowledge (English)"
    assert task.facts.metrics == ("exact_match",)
    assert task.facts.n_items == 2
    assert task.facts.source == str(path)
    assert task.facts.decoding == Decoding(64, ("\n",))
    assert task.facts.chance is None
    loaded = task.load(None)
    shots = ("Q: France\nA: Paris\n\n", "Q: Japan\nA: Tokyo\n\n")
    assert loaded.items[1] == Item(
        id="capitals/2",
        prompt=Prompt("Q: Peru\nA:", shots, "Answer.\n\n"),
        gold_answer="Lima",
        data={"golds": ["Lima", "lima"]},
    )
    assert loaded.source == str(path)
    assert loaded.notes == ()


@pytest.mark.parametrize("key", ["license", "licence"])
def test_license_in_either_spelling(write: Write, key: str) -> None:
    assert load_task_file(write(CAPITALS, ROWS)).facts.license == "not stated"
    assert load_task_file(write(f"    {key}: CC0\n{CAPITALS}", ROWS)).facts.license == "CC0"


def test_license_once(write: Write) -> None:
    path = write(f"    license: CC0\n    licence: MIT\n{CAPITALS}", ROWS)
    with pytest.raises(UsageError, match=r"licence: no such key; did you mean `license`\?"):
        load_task_file(path)


def test_shots(write: Write) -> None:
    task = load_task_file(write(CAPITALS, ROWS))
    assert [len(task.load(None, shots=n).items[0].prompt.shots) for n in (0, 1, 2)] == [0, 1, 2]
    for n in (3, -1):
        with pytest.raises(UsageError, match=f"expected 0 to 2 examples .* got {n}"):
            task.load(None, shots=n)


def test_digest_covers_the_task_and_its_data(write: Write, tmp_path: Path) -> None:
    def digest() -> str:
        return load_task_file(path).load(None).digest

    path = write(CAPITALS.replace("shots:", "shots: shots.csv").partition("      -")[0], ROWS)
    (tmp_path / "shots.csv").write_text("question,answer\nFrance,Paris\n")
    seen = [digest()]
    assert digest() == seen[0]
    (tmp_path / "shots.csv").write_text("question,answer\nJapan,Tokyo\n")
    seen.append(digest())
    write(path.read_text(), ROWS[:1])
    seen.append(digest())
    path.write_text(path.read_text().replace("Answer.", "Answer!"))
    seen.append(digest())
    assert len(set(seen)) == 4


def test_loaded_task_does_not_change_with_its_files(write: Write) -> None:
    path = write(CAPITALS, ROWS)
    task = load_task_file(path)
    before = task.load(None)
    write(CAPITALS.replace("Answer.", "Go."), ROWS[:1])
    assert task.load(None) == before


def test_yaml_values_are_text_as_written(write: Write) -> None:
    """YAML 1.1 would make these False, 1.1, a date and 8."""
    task = load_task_file(
        write("""\
            name: norway
            capability: logic
            items:
              - {q: a, answer: no}
              - {q: b, answer: 1.10}
              - {q: c, answer: 2024-01-01}
              - {q: d, answer: 010}
            prompt: "{q}"
            gold_likelihood: {gold: answer}
            """)
    )
    items = task.load(None).items
    assert [item.options for item in items] == [("no",), ("1.10",), ("2024-01-01",), ("010",)]
    assert all(item.gold == 0 for item in items)
    assert task.facts.metrics == ("acc",)
    assert task.facts.decoding is None


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ("['{a}', '{b}', none]", {"a": "x", "b": "y", "gold": "y"}),
        ("'{list}'", {"list": ["x", "y", "none"], "gold": "B"}),
        ("list", None),
    ],
)
def test_options(write: Write, options: str, row: dict[str, object] | None) -> None:
    text = f"""\
        name: own
        capability: logic
        data: rows.jsonl
        prompt: "?"
        choice: {{options: {options}, gold: "{{gold}}"}}
        """
    if row is None:
        with pytest.raises(UsageError, match="expected two or more, or a field that holds a list"):
            load_task_file(write(text, [{"gold": "x"}]))
        return
    task = load_task_file(write(text, [row]))
    (item,) = task.load(None).items
    assert item.options == ("x", "y", "none")
    assert item.gold == 1
    assert item.gold_answer is None
    assert task.facts.metrics == ("acc", "acc_norm")
    assert task.facts.chance == pytest.approx(1 / 3)


@pytest.mark.parametrize(("gold_as", "index"), [("index", 1), ("number", 0)])
def test_gold_as(write: Write, gold_as: str, index: int) -> None:
    text = """\
        name: own
        capability: logic
        data: rows.jsonl
        prompt: "?"
        choice: {options: [x, y, z], gold: gold%s}
        """
    rows = [{"gold": 1}, {"gold": 2}]
    with pytest.raises(UsageError, match="`gold_as: index` or `gold_as: number`"):
        load_task_file(write(text % "", rows))
    task = load_task_file(write(text % f", gold_as: {gold_as}", rows))
    assert task.load(None).items[0].gold == index


def test_examples_of_a_choice_show_the_right_option(write: Write) -> None:
    task = load_task_file(
        write(
            """\
            name: own
            capability: logic
            data: rows.jsonl
            prompt: "{q}"
            delimiter: " -> "
            separator: "\\n"
            subject: part
            id: key
            choice: {options: [yes, no], gold: answer}
            shots: [{q: up, answer: no}]
            """,
            [{"q": "down", "answer": "yes", "part": "one", "key": "k/1"}],
        )
    )
    (item,) = task.load(None).items
    assert item.prompt.text == "up -> no\ndown"
    assert (item.options, item.gold) == (("yes", "no"), 0)
    assert (item.subject, item.id) == ("one", "k/1")


def test_answer_in_full_is_what_examples_say(write: Write) -> None:
    task = load_task_file(
        write(
            """\
            name: own
            capability: math
            data: rows.csv.gz
            prompt: "{q}"
            answer: "{why}. So {n}"
            regex: {pattern: 'So (\\d+)', gold: n}
            shots: [{q: 1+1, why: easy, n: 2}]
            generation: {max_new_tokens: 9, stop: "#", temperature: 0.5, top_p: 0.9, samples: 3}
            """
        ).with_name("task.yaml")
        if _gzip(write)
        else Path()
    )
    (item,) = task.load(None).items
    assert item.prompt.shots == ("1+1 easy. So 2\n\n",)
    assert item.gold_answer == "hard. So 5"
    assert task.facts.decoding == Decoding(9, ("#",), None, 0.5, 0.9)
    assert task.facts.samples == 3


def _gzip(write: Write) -> bool:
    folder = write("").parent
    (folder / "rows.csv.gz").write_bytes(gzip.compress(b"q,why,n\n2+3,hard,5\n"))
    return True


def test_items_that_are_examples_are_told(write: Write) -> None:
    task = load_task_file(write(CAPITALS, [*ROWS, {"question": "Japan", "answer": "Tokyo"}]))
    assert task.load(None).notes == ("1 of the 3 items are also examples",)


def test_bare_jsonl(tmp_path: Path) -> None:
    path = tmp_path / "my rows.jsonl"
    path.write_text('{"prompt": "2 + 2 =", "answer": 4}\n')
    task = load_task_file(path)
    assert task.facts.name == "my-rows"
    assert task.facts.metrics == ("exact_match",)
    loaded = task.load(None)
    assert loaded.items[0].prompt.text == "2 + 2 ="
    assert loaded.items[0].data == {"golds": ["4"]}
    assert "capability assumed to be" in loaded.notes[0]
    path.write_text('{"prompt": "2 + 2 =", "options": ["3", "4"], "answer": "B"}\n')
    (item,) = load_task_file(path).load(None).items
    assert (item.options, item.gold) == (("3", "4"), 1)
    path.write_text('{"question": "2 + 2 =", "answer": "4"}\n')
    with pytest.raises(UsageError, match="has a field `prompt`"):
        load_task_file(path)


def test_grading_and_items_can_be_sent_to_another_process(write: Write) -> None:
    task = load_task_file(write(CAPITALS, ROWS))
    assert pickle.loads(pickle.dumps(task.grade)).args == task.grade.args  # type: ignore[attr-defined]


def test_real_data_gives_the_golds_of_the_task_that_comes_along(write: Write, shared: Path) -> None:
    """WinoGrande numbers its options from 1; `bitloss.tasks.winogrande` is the oracle."""
    from bitloss.tasks import resolve_task

    task = load_task_file(
        write(f"""\
            name: own
            capability: logic
            data: {shared}/data/winogrande/winogrande_xl_validation.jsonl
            prompt: "{{sentence}} Who or what is _?"
            choice: {{options: ["{{option1}}", "{{option2}}"], gold: answer}}
            """)
    )
    known = resolve_task("winogrande").load(shared / "data").items
    items = task.load(None).items
    assert [item.gold for item in items] == [item.gold for item in known]
    assert task.facts.n_items == 1267
    assert task.facts.chance == 0.5


def test_a_field_says_which_items_belong_together(write: Write) -> None:
    text = CAPITALS.replace("prompt:", "cluster: continent\n    prompt:")
    rows = [{**ROWS[0], "continent": "Europe"}, {**ROWS[1], "continent": "America"}]
    loaded = load_task_file(write(text, [*rows, rows[0]])).load(None)
    assert [item.belongs_to for item in loaded.items] == ["Europe", "America", "Europe"]
    assert load_task_file(write(CAPITALS, ROWS)).load(None).items[0].belongs_to == "capitals/1"
