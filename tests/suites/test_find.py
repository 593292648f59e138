"""Suites by name and by path; the registry is the oracle of what names there are."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from bitloss.errors import UnknownName, UsageError
from bitloss.registry import CORPORA, TASKS
from bitloss.spec.suite import CorpusChoice, TaskChoice
from bitloss.suites import list_suites, load_suite, suite_contents


def write(folder: Path, text: str) -> str:
    path = folder / "suite.yaml"
    path.write_text(dedent(text))
    return str(path)


def told(path: str) -> list[str]:
    with pytest.raises(UsageError) as caught:
        load_suite(path)
    lines = caught.value.message.replace(f"{Path(path).parent}/", "").splitlines()
    return [line.strip() for line in lines]


def test_what_comes_along() -> None:
    names = list_suites()
    assert set(names) == {"quick", "standard", "code", "chinese", "assistant", "pocket"}
    for name, description in names.items():
        suite = load_suite(name)
        assert suite.name == name
        assert suite.description == description != ""
        assert {entry.name for entry in suite.corpora} <= set(CORPORA)
        assert {entry.name for entry in suite.tasks} <= set(TASKS)


def test_standard_has_every_task_whole_but_those_of_the_pocket_model() -> None:
    suite = load_suite("standard")
    pocket = {entry.name for entry in load_suite("pocket").tasks}
    assert suite.tasks == tuple(TaskChoice(name=name) for name in TASKS if name not in pocket)
    assert suite.corpora == (CorpusChoice(name="wikitext-2"),)


def test_quick_touches_every_capability_and_is_small() -> None:
    from bitloss.tasks import resolve_task
    from bitloss.tasks.base import CAPABILITIES

    facts = {entry: resolve_task(entry.name).facts for entry in load_suite("quick").tasks}
    assert {fact.capability for fact in facts.values()} == set(CAPABILITIES) - {"other"}
    for entry, fact in facts.items():
        assert entry.limit is not None
        assert entry.limit <= (10 if fact.decoding else 120)


def test_a_users_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "own.yaml").write_text("")
    (tmp_path / "notes.txt").write_text("x")
    path = write(
        tmp_path,
        """\
        name: mine
        corpora: [wikitext-2, {name: notes.txt, limit: 3}]
        tasks:
          - mmlu
          - {name: gsm8k, limit: 50, shots: 2}
          - {name: sub/own.yaml, samples: 4}
        """,
    )
    suite = load_suite(path)
    assert suite.corpora[1] == CorpusChoice(name=str(tmp_path / "notes.txt"), limit=3)
    assert suite.tasks == (
        TaskChoice(name="mmlu"),
        TaskChoice(name="gsm8k", limit=50, shots=2),
        TaskChoice(name=str(tmp_path / "sub" / "own.yaml"), samples=4),
    )
    assert suite_contents(suite)[1].startswith("mmlu, gsm8k (50 items, 2 shots), ")
    monkeypatch.chdir(tmp_path)
    assert load_suite("suite.yaml").tasks[2].name == "sub/own.yaml"


def test_all_mistakes_at_once(tmp_path: Path) -> None:
    (tmp_path / "own.txt").write_text("")
    first, *lines = told(
        write(
            tmp_path,
            """\
            nmae: mine
            corpora: [wikitext, notes.txt]
            tasks:
              - mmul
              - {name: gsm8k, limit: 0}
              - {name: bbh, limt: 3}
              - own.txt
              - own.yaml
              - mmlu
              - mmlu
              - {limit: 3}
            """,
        )
    )
    assert first == "10 errors in the suite `suite.yaml`:"
    assert lines == [
        "suite.yaml:1: nmae: no such key; did you mean `name`?",
        "suite.yaml:2: corpora.0: unknown corpus `wikitext`; did you mean `wikitext-2`?",
        "suite.yaml:2: corpora.1: no file `notes.txt`",
        "suite.yaml:4: tasks.0: unknown task `mmul`; did you mean `mmlu`?",
        "suite.yaml:5: tasks.1.limit: expected greater than or equal to 1, got `0`",
        "suite.yaml:6: tasks.2.limt: no such key; did you mean `limit`?",
        "suite.yaml:7: tasks.3: expected a task file (.yaml or .jsonl), got `own.txt`",
        "suite.yaml:8: tasks.4: no file `own.yaml`",
        "suite.yaml:10: tasks.6: task `mmlu` is named twice",
        "suite.yaml:11: tasks.7.name: missing",
    ]


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("name: x\n", "expected `corpora`, `tasks` or both, got none"),
        ("name: x\ntasks: some\n", "tasks: expected a list, got `some`"),
        ("name: x\ntasks: [[mmlu]]\n", "tasks.0: expected keys and values, got a list"),
    ],
)
def test_one_mistake(tmp_path: Path, text: str, mistake: str) -> None:
    (line,) = told(write(tmp_path, text))
    assert mistake in line


def test_names_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="did you mean `quick`"):
        load_suite("quikc")
    with pytest.raises(UsageError, match=r"no suite file at `\./quick`"):
        load_suite("./quick")


def test_a_corpus_may_be_a_folder_or_a_column_of_a_table(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "t.csv").write_text("body\none\n")
    path = write(tmp_path, "name: s\ndescription: d\ncorpora: [./texts, 't.csv::body']\n")
    names = [entry.name for entry in load_suite(path).corpora]
    assert names == [str(tmp_path / "texts"), f"{tmp_path / 't.csv'}::body"]
    path = write(tmp_path, "name: s\ndescription: d\ncorpora: ['none.csv::body']\n")
    assert "no file" in told(path)[-1]
