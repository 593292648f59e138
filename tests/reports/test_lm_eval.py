"""The layout of lm-eval's results file.

Oracle: the keys of release 0.4.13, read from lm_eval/result_schema.py (``EvalResults``,
``_TaskMetrics``, ``_SampleCount``, ``_EvalConfig``) and loggers/evaluation_tracker.py; standard
errors by the formula of lm_eval/api/metrics.py (``mean_stderr``).
"""

from __future__ import annotations

import json
import math
import statistics
from typing import Any

import pytest

from bitloss.errors import DataError, UnknownName, UsageError
from bitloss.metrics.paired import share
from bitloss.registry import TASKS, load
from bitloss.reports.lm_eval import to_lm_eval
from bitloss.reports.plug_facts import task_facts
from bitloss.results import Comparison, Estimate
from bitloss.results.tasks import ReferenceTask, SubjectScore
from example_store import write_run

TOP = {
    "results", "groups", "group_subtasks", "configs", "versions", "n-shot", "higher_is_better",
    "n-samples", "samples", "config", "git_hash", "date", "pretty_env_info", "transformers_version",
    "lm_eval_version", "upper_git_hash", "tokenizer_pad_token", "tokenizer_eos_token",
    "tokenizer_bos_token", "eot_token_id", "max_length", "model_source", "model_name",
    "model_name_sanitized", "system_instruction", "system_instruction_sha", "fewshot_as_multiturn",
    "chat_template", "chat_template_sha", "task_hashes", "total_evaluation_time_seconds",
}  # fmt: skip
CONFIG = {
    "model", "model_args", "model_num_parameters", "model_dtype", "model_revision", "model_sha",
    "batch_size", "batch_sizes", "device", "use_cache", "limit", "bootstrap_iters", "gen_kwargs",
    "random_seed", "numpy_seed", "torch_seed", "fewshot_seed",
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    return write_run(tmp_path_factory.mktemp("lm-eval") / "run")


def reference_task(name: str, **changes: Any) -> ReferenceTask:
    """A task of bitloss's own with three of four items right."""
    facts = load("task", TASKS, name).facts
    found = share(3, 4)
    score = Estimate(value=found.value, low=found.low, high=found.high)
    return ReferenceTask(
        **{
            "capability": facts.capability, "metric": facts.metrics[0], "score": score,
            "scores": dict.fromkeys(facts.metrics, score), "n_scored": 4, "n_items": 4,
            "n_total": facts.n_items, "gold": "answer", "dtype": "fp32", "digest": "d",
            "identity": "i", "license": facts.license, "source": "s", "shots": 5, **changes,
        }
    )  # fmt: skip


def with_reference(run: Comparison, **tasks: ReferenceTask) -> dict[str, Any]:
    reference = run.reference.model_copy(update={"tasks": tasks})
    return to_lm_eval(run.model_copy(update={"reference": reference}), "org/model")


def test_keys_are_those_of_the_harness(run: Comparison) -> None:
    found = to_lm_eval(run, "gptq-4")
    json.dumps(found, allow_nan=False)
    assert found.keys() - TOP == {"bitloss_version"}
    assert found["config"].keys() <= CONFIG
    assert found["model_name"] == "gptq-4"
    assert found["results"] == {
        "sums": {
            "name": "sums",
            "alias": "sums",
            "sample_len": 6,
            "acc,none": pytest.approx(4 / 6),
            "acc_stderr,none": pytest.approx(statistics.stdev([1, 1, 1, 1, 0, 0]) / math.sqrt(6)),
        }
    }
    assert found["n-samples"] == {"sums": {"original": 9, "effective": 6}}
    assert found["n-shot"] == {"sums": 2}
    assert found["higher_is_better"] == {"sums": {"acc": True}}
    assert found["versions"] == {"sums": None}
    assert found["configs"]["sums"]["task"] == "sums"


def test_known_tasks_have_the_harness_names_and_filters(run: Comparison) -> None:
    found = with_reference(run, gsm8k=reference_task("gsm8k"), lambada=reference_task("lambada"))
    assert found["results"]["gsm8k"]["exact_match,strict-match"] == 0.75
    assert found["results"]["gsm8k"]["exact_match_stderr,flexible-extract"] == pytest.approx(0.25)
    assert found["results"]["lambada_openai"]["acc,none"] == 0.75
    assert found["versions"] == {"gsm8k": 3.0, "lambada_openai": 1.0}


def test_subjects_are_subtasks(run: Comparison) -> None:
    subjects = {
        "anatomy": SubjectScore(score=1.0, n_scored=2),
        "virology": SubjectScore(score=0.5, n_scored=2),
    }
    groups = {
        "stem": SubjectScore(score=1.0, n_scored=2), "other": SubjectScore(score=0.5, n_scored=2)
    }  # fmt: skip
    found = with_reference(run, mmlu=reference_task("mmlu", subjects=subjects, groups=groups))
    assert found["group_subtasks"] == {
        "mmlu_stem": ["mmlu_anatomy"],
        "mmlu_other": ["mmlu_virology"],
        "mmlu": ["mmlu_stem", "mmlu_other"],
    }
    assert found["groups"].keys() == {"mmlu", "mmlu_stem", "mmlu_other"}
    assert found["results"]["mmlu_virology"]["acc,none"] == 0.5
    assert found["results"]["mmlu_virology"]["acc_stderr,none"] == pytest.approx(0.5)


def test_part_that_the_harness_asks(run: Comparison) -> None:
    groups = {"leaderboard_bbh": SubjectScore(score=0.5, n_scored=2)}
    task = reference_task("bbh_choice", groups=groups)
    found = with_reference(run, bbh_choice=task)["results"]
    assert found["leaderboard_bbh"]["acc_norm,none"] == 0.5
    assert "acc,none" not in found["leaderboard_bbh"]


def test_error_from_the_interval_where_items_are_not_right_or_wrong(run: Comparison) -> None:
    odd = Estimate(value=0.7, low=0.5, high=0.892)
    task = reference_task("ifeval")
    task = task.model_copy(update={"scores": {**task.scores, "inst_level_strict_acc": odd}})
    found = with_reference(run, ifeval=task)["results"]["ifeval"]
    assert found["inst_level_strict_acc_stderr,none"] == pytest.approx(0.1, abs=1e-3)


def test_text_scored_as_the_harness_does(run: Comparison) -> None:
    corpus = run.reference.corpora["wikitext-2"].model_copy(
        update={"word_perplexity": 20.0, "byte_perplexity": 1.7}
    )
    reference = run.reference.model_copy(update={"corpora": {"w": corpus}, "tasks": None})
    found = to_lm_eval(run.model_copy(update={"reference": reference}), "org/model")
    assert found["results"]["wikitext"]["word_perplexity,none"] == 20.0
    assert found["higher_is_better"]["wikitext"]["word_perplexity"] is False


def test_every_published_task_names_the_harness_task_and_the_data_set() -> None:
    for name in (name for name in TASKS if not name.startswith("pocket")):
        task = reference_task(name)
        facts = task_facts(name, task)
        assert facts is not None
        assert facts.hub is not None
        assert facts.title
        assert facts.harness is not None
        assert facts.harness.version is not None
        assert set(facts.harness.metrics) <= set(task.scores)
        assert task.metric in facts.harness.metrics
        assert facts.harness.group in {None, *facts.groups.values()}


def test_what_cannot_be_exported(run: Comparison, comparison: Comparison) -> None:
    with pytest.raises(UsageError, match="org/model, gptq-4, q8"):
        to_lm_eval(run)
    with pytest.raises(UnknownName):
        to_lm_eval(run, "gptq-5")
    with pytest.raises(DataError, match="failed"):
        to_lm_eval(comparison, "awq-4")
    with pytest.raises(DataError, match="no scores"):
        to_lm_eval(comparison, "gptq-4")
