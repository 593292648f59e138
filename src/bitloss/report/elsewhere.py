"""What others call the corpora and tasks of bitloss: data sets on the hub, lm-eval's tasks.

The hub's names are those that `bitloss.tasks` and `bitloss.datasets` load (BIG-Bench Hard, read
from its authors' files: lm-eval's copy); lm-eval's names and
metrics are those that ``benchmarks/parity_answers.py`` compares with, its versions those of
release 0.4.13 (``metadata: version`` of lm_eval/tasks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from bitloss.registry import TASKS, load
from bitloss.results.tasks import ReferenceTask

__all__ = ["HubData", "Peer", "hub_corpus", "hub_task", "peer"]


@dataclass(frozen=True, slots=True)
class HubData:
    """A data set on the hub.

    Attributes:
        name: for people.
        repository: ``org/name``.
        config: of several; None where there is one.
        split: that is measured.
    """

    name: str
    repository: str
    config: str | None = None
    split: str = "test"


@dataclass(frozen=True, slots=True)
class Peer:
    """A task of lm-eval that a task of bitloss equals.

    Attributes:
        name: lm-eval's.
        version: lm-eval's; None for a task that is not lm-eval's.
        metrics: lm-eval's metric and filter by our metric; those that lm-eval has.
        group: subjects of this group alone are in it; None is all.
    """

    name: str
    version: float | None
    metrics: Mapping[str, str]
    group: str | None = None


_HUB = MappingProxyType(
    {
        "lambada": HubData("LAMBADA (OpenAI)", "EleutherAI/lambada_openai", "default"),
        "hellaswag": HubData("HellaSwag", "Rowan/hellaswag", None, "validation"),
        "mmlu": HubData("MMLU", "cais/mmlu", "all"),
        "arc_easy": HubData("ARC-Easy", "allenai/ai2_arc", "ARC-Easy"),
        "arc_challenge": HubData("ARC-Challenge", "allenai/ai2_arc", "ARC-Challenge"),
        "ceval": HubData("C-Eval", "ceval/ceval-exam", None, "val"),
        "ifeval": HubData("IFEval", "google/IFEval", None, "train"),
        "gsm8k": HubData("GSM8K", "openai/gsm8k", "main"),
        "humaneval": HubData("HumanEval", "openai/openai_humaneval"),
        "humaneval_plus": HubData("HumanEval+", "evalplus/humanevalplus"),
        "bbh": HubData("BIG-Bench Hard", "SaylorTwift/bbh"),
        "bbh_choice": HubData("BIG-Bench Hard, options", "SaylorTwift/bbh"),
        "logiqa": HubData("LogiQA", "hails/agieval-logiqa-en"),
        "winogrande": HubData("WinoGrande", "allenai/winogrande", "winogrande_xl", "validation"),
    }
)

_CORPORA = MappingProxyType(
    {
        "wikitext-2": HubData("WikiText-2", "Salesforce/wikitext", "wikitext-2-raw-v1"),
        "wikitext-2-valid": HubData(
            "WikiText-2", "Salesforce/wikitext", "wikitext-2-raw-v1", "validation"
        ),
        "wikitext-103": HubData("WikiText-103", "Salesforce/wikitext", "wikitext-103-raw-v1"),
    }
)

_ACC = MappingProxyType({"acc": "acc,none"})
_BOTH = MappingProxyType({"acc": "acc,none", "acc_norm": "acc_norm,none"})
_PEERS = MappingProxyType(
    {
        "lambada": Peer("lambada_openai", 1.0, _ACC),
        "hellaswag": Peer("hellaswag", 1.0, _BOTH),
        "mmlu": Peer("mmlu", 2, _ACC),
        "arc_easy": Peer("arc_easy", 1.0, _BOTH),
        "arc_challenge": Peer("arc_challenge", 1.0, _BOTH),
        "ceval": Peer("ceval-valid", 2.0, _BOTH),
        "ifeval": Peer(
            "ifeval",
            4.0,
            MappingProxyType(
                {
                    f"{of}_level_{how}_acc": f"{of}_level_{how}_acc,none"
                    for of in ("prompt", "inst")
                    for how in ("strict", "loose")
                }
            ),
        ),
        "gsm8k": Peer(
            "gsm8k",
            3.0,
            MappingProxyType(
                {"strict": "exact_match,strict-match", "flexible": "exact_match,flexible-extract"}
            ),
        ),
        "humaneval": Peer("humaneval", 1.0, MappingProxyType({"pass@1": "pass@1,create_test"})),
        "humaneval_plus": Peer(
            "humaneval_plus", 1.0, MappingProxyType({"pass@1": "pass@1,create_test"})
        ),
        "bbh": Peer(
            "bbh_cot_fewshot", 3.0, MappingProxyType({"exact_match": "exact_match,get-answer"})
        ),
        "bbh_choice": Peer(
            "leaderboard_bbh",
            1.0,
            MappingProxyType({"acc_norm": "acc_norm,none"}),
            group="leaderboard_bbh",
        ),
        "logiqa": Peer("agieval_logiqa_en", 1.0, _BOTH),
        "winogrande": Peer("winogrande", 1.0, _ACC),
    }
)


def hub_task(name: str, task: ReferenceTask) -> HubData | None:
    """Where a task's data is on the hub; None for tasks of the user's."""
    return _HUB.get(name) if _is_ours(name, task) else None


def hub_corpus(name: str, source: str) -> HubData | None:
    """Where a corpus is on the hub; None for texts of the user's or in another form.

    Args:
        name: of the corpus.
        source: where it was read from (`bitloss.results.ReferenceCorpus.source`).
    """
    return None if "the published text has" in source else _CORPORA.get(name)


def peer(name: str, task: ReferenceTask) -> Peer | None:
    """The task of lm-eval that it equals; None where there is none."""
    return _PEERS.get(name) if _is_ours(name, task) else None


def _is_ours(name: str, task: ReferenceTask) -> bool:
    """Whether it is bitloss's task of this name, and not a user's file that is called so."""
    if name not in TASKS:
        return False
    facts = load("task", TASKS, name).facts
    return set(task.scores) == set(facts.metrics) and task.license == facts.licence
