"""Oracle: a prompt written out by hand after lm-eval 0.4.13's tasks/ceval."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.datasets import hub
from bitloss.errors import TaskDataError
from bitloss.tasks.ceval import CEVAL

# _default_ceval_yaml's doc_to_text, ceval-valid_law.yaml's description.
ONE_SHOT = """\
以下是中国关于法学的单项选择题，请选出其中的正确答案。

一加一____。
A. 一
B. 二
C. 三
D. 四
答案： B

二加二____。
A. 1
B. 2
C. 3
D. 4
答案："""
DEV = 'id,question,A,B,C,D,answer,explanation\n0,一加一____。,一,二,三,四,B,"1. 分析\n2. 二"\n'
VAL = "id,question,A,B,C,D,answer\n0, 二加二____。 ,1,2,3,4,D\n"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for split, text in (("dev", DEV), ("val", VAL)):
        (tmp_path / "ceval" / split).mkdir(parents=True)
        for subject in CEVAL.facts.groups:
            path = tmp_path / "ceval" / split / f"{subject}_{split}.csv"
            path.write_text(text, encoding="utf-8")
    return tmp_path


def test_the_prompt_is_that_of_lm_eval(data: Path) -> None:
    loaded = CEVAL.load(data, shots=1)
    item = next(item for item in loaded.items if item.subject == "law")
    assert item.prompt.text == ONE_SHOT
    assert (item.options, item.delimiter, item.gold) == (("A", "B", "C", "D"), " ", 3)
    assert "C-Eval val: 52 rows, the published files have 1,346" in loaded.notes


def test_the_real_files(shared: Path) -> None:
    loaded = CEVAL.load(shared / "data")
    assert (len(loaded.items), loaded.notes) == (1_346, ())
    assert all(len(item.prompt.shots) == 5 for item in loaded.items)


def test_four_groups() -> None:
    # C-Eval's subject_mapping.json: 20, 10, 11 and, with clinical_medicine, 11.
    groups = list(CEVAL.facts.groups.values())
    assert {group: groups.count(group) for group in groups} == {
        "STEM": 20, "Social Science": 10, "Humanities": 11, "Other": 11,
    }  # fmt: skip


def test_a_file_without_its_header_is_refused(data: Path) -> None:
    (data / "ceval" / "val" / "law_val.csv").write_text("id,question,A,B,C,answer\n")
    with pytest.raises(TaskDataError, match=r"line 1 of .*law_val.csv`: expected columns question"):
        CEVAL.load(data)


def test_the_hub_gives_the_same_items(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = CEVAL.load(data, shots=1)

    def fetch(table: hub.HubTable, expected: str, first: int | None) -> list[hub.Row]:
        assert table.repository == "ceval/ceval-exam"
        assert table.config in CEVAL.facts.groups
        if table.split == "dev":
            return [{"id": 0, "question": "一加一____。", "A": "一", "B": "二", "C": "三",
                     "D": "四", "answer": "B", "explanation": "..."}]  # fmt: skip
        return [{"id": 0, "question": " 二加二____。 ", "A": "1", "B": "2", "C": "3", "D": "4",
                 "answer": "D", "explanation": ""}]  # fmt: skip

    monkeypatch.setattr(hub, "_fetch", fetch)
    monkeypatch.delenv("BITLOSS_DATA", raising=False)
    assert CEVAL.load(None, shots=1).items == local.items
