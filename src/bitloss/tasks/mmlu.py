"""MMLU: 57 subjects from school to professional level, four options each.

Hendrycks et al. 2021, "Measuring Massive Multitask Language Understanding" (arXiv:2009.03300).
Prompts and scoring are those of lm-eval 0.4.13 (lm_eval/tasks/mmlu/default, task ``mmlu``), asked
with the subject's first five development questions, as the paper does; lm-eval has none
by default. The score is ``acc``, as in the paper and on the Open LLM Leaderboard (version
1, 5 shots): over all items in lm-eval and here (micro); a result's `macro` is over subjects.

Local layouts: ``mmlu/{dev,test}/SUBJECT_SPLIT.csv`` without header (question, A, B, C, D, letter),
or the hub's (`bitloss.datasets.snapshots`).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from bitloss.datasets.snapshots import local_or_hub_table
from bitloss.datasets.tables import HubTable, Row, Table, damaged_row, table_from_rows
from bitloss.tasks.base import HarnessTask, Task, TaskFacts, TaskItems, unfiltered
from bitloss.tasks.choices import grade_acc
from bitloss.tasks.exams import LETTERS, Exam, load_exam

__all__ = ["MMLU"]

_GROUPS = {
    "stem": """
        abstract_algebra anatomy astronomy college_biology college_chemistry
        college_computer_science college_mathematics college_physics computer_security
        conceptual_physics electrical_engineering elementary_mathematics high_school_biology
        high_school_chemistry high_school_computer_science high_school_mathematics
        high_school_physics high_school_statistics machine_learning
    """,
    "humanities": """
        formal_logic high_school_european_history high_school_us_history
        high_school_world_history international_law jurisprudence logical_fallacies
        moral_disputes moral_scenarios philosophy prehistory professional_law world_religions
    """,
    "social sciences": """
        econometrics high_school_geography high_school_government_and_politics
        high_school_macroeconomics high_school_microeconomics high_school_psychology
        human_sexuality professional_psychology public_relations security_studies sociology
        us_foreign_policy
    """,
    "other": """
        business_ethics clinical_knowledge college_medicine global_facts human_aging management
        marketing medical_genetics miscellaneous nutrition professional_accounting
        professional_medicine virology
    """,
}
_GROUP_OF = {subject: group for group, subjects in _GROUPS.items() for subject in subjects.split()}
_HUB_TEST = HubTable("cais/mmlu", "all", "test")
_SUBJECTS = tuple(sorted(_GROUP_OF))


def load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    """See `bitloss.tasks.base.Load`; at most five shots."""
    return load_exam(_EXAM, data, shots)


def _hub(data: Path | None, split: str, expected: str) -> dict[str, Table]:
    """The hub's one table of all subjects, in the columns of the files."""
    table = local_or_hub_table(
        data,
        replace(_HUB_TEST, split=split),
        expected=expected,
        folders=("mmlu",),
        columns=("question", "subject", "choices", "answer"),
    )
    rows: dict[str, list[Row]] = {subject: [] for subject in _SUBJECTS}
    for index, row in enumerate(table.rows):
        if row["subject"] not in rows or len(row["choices"]) != len(LETTERS):
            raise damaged_row(table, index, "a known subject and four choices", repr(row)[:80])
        options = dict(zip(LETTERS, row["choices"], strict=True))
        answer = dict(enumerate(LETTERS)).get(row["answer"])
        rows[row["subject"]].append({"question": row["question"], **options, "answer": answer})
    return {subject: table_from_rows(found, table.source) for subject, found in rows.items()}


_EXAM = Exam(
    task="mmlu",
    title="MMLU",
    subjects={subject: subject.replace("_", " ") for subject in _SUBJECTS},
    description=lambda topic: (
        f"The following are multiple choice questions (with answers) about {topic}.\n\n"
    ),
    ask="Answer:",
    split="test",
    header=False,
    published={
        "dev": (285, "5f685d09b0ad4bf5d8aaf02b7b4086edae8724c0d2a47345446cc30c9a21195a"),
        "test": (14_042, "43b2ac9b5a7b5b70ed4e82366ae6d51d84edd9765b8fecfd1f305f8bfd842f24"),
    },
    origin="https://people.eecs.berkeley.edu/~hendrycks/data.tar",
    hub=_hub,
)

MMLU = Task(
    facts=TaskFacts(
        name="mmlu",
        capability="knowledge (English)",
        metrics=("acc",),
        source="Hendrycks et al. 2021 (arXiv:2009.03300), github.com/hendrycks/test",
        license="MIT",
        n_items=14_042,
        chance=0.25,
        title="MMLU",
        hub=_HUB_TEST,
        harness=HarnessTask("mmlu", 2, unfiltered("acc")),
        groups=MappingProxyType(_GROUP_OF),
    ),
    load=load,
    grade=grade_acc,
)
