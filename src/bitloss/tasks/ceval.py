"""C-Eval: 52 Chinese subjects from school to professional level, four options each.

Huang et al. 2023, "C-Eval: A Multi-Level Multi-Discipline Chinese Evaluation Suite for Foundation
Models" (arXiv:2305.08322). The validation split is used: the test split's answers are not public.
Prompts and scoring are those of lm-eval 0.4.13 (lm_eval/tasks/ceval, group ``ceval-valid``), asked
with the subject's five development questions, without their explanations; lm-eval has none
by default. The score is ``acc``, as in the paper and in lm-eval's group; options of one
letter have the same ``acc_norm``. The groups are C-Eval's own (its subject_mapping.json, which
leaves ``clinical_medicine`` without one, in the middle of ``Other``).

Local layout: ``ceval/{dev,val}/SUBJECT_SPLIT.csv`` with a header.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from bitloss.datasets.snapshots import local_or_hub_table
from bitloss.datasets.tables import HubTable, Table
from bitloss.tasks.base import HarnessTask, Task, TaskFacts, TaskItems, unfiltered
from bitloss.tasks.choices import grade_acc_norm
from bitloss.tasks.exams import COLUMNS, Exam, load_exam

__all__ = ["CEVAL"]

_GROUPS = {
    "STEM": {
        "computer_network": "计算机网络",
        "operating_system": "操作系统",
        "computer_architecture": "计算机组成",
        "college_programming": "大学编程",
        "college_physics": "大学物理",
        "college_chemistry": "大学化学",
        "advanced_mathematics": "高等数学",
        "probability_and_statistics": "概率统计",
        "discrete_mathematics": "离散数学",
        "electrical_engineer": "注册电气工程师",
        "metrology_engineer": "注册计量师",
        "high_school_mathematics": "高中数学",
        "high_school_physics": "高中物理",
        "high_school_chemistry": "高中化学",
        "high_school_biology": "高中生物",
        "middle_school_mathematics": "初中数学",
        "middle_school_biology": "初中生物",
        "middle_school_physics": "初中物理",
        "middle_school_chemistry": "初中化学",
        "veterinary_medicine": "兽医学",
    },
    "Social Science": {
        "college_economics": "大学经济学",
        "business_administration": "工商管理",
        "marxism": "马克思主义基本原理",
        "mao_zedong_thought": "毛泽东思想和中国特色社会主义理论体系概论",
        "education_science": "教育学",
        "teacher_qualification": "教师资格",
        "high_school_politics": "高中政治",
        "high_school_geography": "高中地理",
        "middle_school_politics": "初中政治",
        "middle_school_geography": "初中地理",
    },
    "Humanities": {
        "modern_chinese_history": "近代史纲要",
        "ideological_and_moral_cultivation": "思想道德修养与法律基础",
        "logic": "逻辑学",
        "law": "法学",
        "chinese_language_and_literature": "中国语言文学",
        "art_studies": "艺术学",
        "professional_tour_guide": "导游资格",
        "legal_professional": "法律职业资格",
        "high_school_chinese": "高中语文",
        "high_school_history": "高中历史",
        "middle_school_history": "初中历史",
    },
    "Other": {
        "civil_servant": "公务员",
        "sports_science": "体育学",
        "plant_protection": "植物保护",
        "basic_medicine": "基础医学",
        "clinical_medicine": "临床医学",
        "urban_and_rural_planner": "注册城乡规划师",
        "accountant": "注册会计师",
        "fire_engineer": "注册消防工程师",
        "environmental_impact_assessment_engineer": "环境影响评价工程师",
        "tax_accountant": "税务师",
        "physician": "医师资格",
    },
}
_SUBJECTS = dict(
    sorted((subject, name) for names in _GROUPS.values() for subject, name in names.items())
)

# One configuration per subject.
_HUB_VAL = HubTable("ceval/ceval-exam", None, "val")


def load(data: Path | None, *, shots: int | None = None) -> TaskItems:
    """See `bitloss.tasks.base.Load`; at most five shots."""
    return load_exam(_EXAM, data, shots)


def _hub(data: Path | None, split: str, expected: str) -> dict[str, Table]:
    return {
        subject: local_or_hub_table(
            data,
            replace(_HUB_VAL, config=subject, split=split),
            expected=expected,
            columns=COLUMNS,
            folders=("ceval",),
        )
        for subject in _SUBJECTS
    }


_EXAM = Exam(
    task="ceval",
    title="C-Eval",
    subjects=_SUBJECTS,
    description=lambda name: f"以下是中国关于{name}的单项选择题，请选出其中的正确答案。\n\n",
    ask="答案：",
    split="val",
    header=True,
    published={
        "dev": (260, "7fd2362b5860e133d1ec5bbadd77dade25632d16da7dbcdc5df8d1e93654156e"),
        "val": (1_346, "5d88d32e948d42374f8e138aa3779e314b2fd01398795677e04f41b4a6bca824"),
    },
    origin="https://huggingface.co/datasets/ceval/ceval-exam",
    hub=_hub,
)

CEVAL = Task(
    facts=TaskFacts(
        name="ceval",
        capability="knowledge (Chinese)",
        metrics=("acc", "acc_norm"),
        source="Huang et al. 2023 (arXiv:2305.08322), validation split",
        license="CC BY-NC-SA 4.0",
        n_items=1_346,
        chance=0.25,
        title="C-Eval",
        hub=_HUB_VAL,
        harness=HarnessTask("ceval-valid", 2.0, unfiltered("acc", "acc_norm")),
        groups=MappingProxyType(
            {subject: group for group, names in _GROUPS.items() for subject in names}
        ),
    ),
    load=load,
    grade=grade_acc_norm,
)
