"""Scores in the layout of lm-evaluation-harness's results file.

For tools that read such files: the keys are those of release 0.4.13 (``EvalResults`` in
lm_eval/result_schema.py). Tasks that equal one of the harness's have its name, metrics, filters
and version (`bitloss.tasks.base.HarnessTask`); others keep their own, with filter ``none``. What
bitloss does not know (the time, a git commit, token strings) is left out, as the harness's schema
allows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from bitloss.errors import DataError, UsageError
from bitloss.metrics.intervals import RESAMPLES
from bitloss.metrics.paired import share
from bitloss.reports.plug_facts import task_facts
from bitloss.results import Comparison, Estimate, ModelFacts, ReferenceCorpus
from bitloss.results.tasks import ReferenceTask, SubjectScore
from bitloss.tasks.base import HarnessTask, unfiltered

__all__ = ["to_lm_eval"]

_Z = 1.959964
_NO_ERROR = "N/A"  # as the harness writes a standard error that it has not computed


def to_lm_eval(comparison: Comparison, model_name: str | None = None) -> dict[str, Any]:
    """One model's scores as the harness would have written them.

    ``*_stderr`` is the standard error of the mean where items are right or wrong, computed as the
    harness does, else a quarter of the 95% interval's width (half of it over 1.96).

    Args:
        comparison: the run's result.
        model_name: of the reference or of a variant; None is the only variant.

    Raises:
        UnknownName: no such model.
        UsageError: there are several variants, and none is named.
        DataError: the model failed, or was asked nothing that the harness knows.
    """
    model = _model(comparison, model_name)
    layout = _Layout()
    for name, task in (getattr(model, "tasks", None) or {}).items():
        layout.add_task(name, task)
    for corpus in getattr(model, "corpora", {}).values():
        layout.add_corpus(corpus)
    if not layout.results:
        raise DataError(
            f"`{model.name}` has no scores that lm-eval has a place for",
            hint="run tasks (--tasks, --suite) or a corpus with --protocol lm-eval-wikitext",
        )
    return {**layout.document(), **_about(comparison, model)}


def _model(comparison: Comparison, name: str | None) -> ModelFacts:
    if name is None:
        if len(comparison.variants) > 1:
            names = ", ".join(v.name for v in (comparison.reference, *comparison.variants))
            raise UsageError(
                f"expected one model for a results file, got several: {names}", hint="choose one"
            )
        name = comparison.variants[0].name if comparison.variants else comparison.reference.name
    if name == comparison.reference.name:
        return comparison.reference
    variant = comparison[name]
    if variant.error is not None:
        raise DataError(f"variant `{name}` failed: {variant.error.message}")
    return variant


class _Layout:
    """The parts of the document that grow task by task."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, Any]] = {}
        self.groups: dict[str, dict[str, Any]] = {}
        self.subtasks: dict[str, list[str]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.versions: dict[str, Any] = {}
        self.shots: dict[str, int] = {}
        self.higher: dict[str, dict[str, bool]] = {}
        self.counts: dict[str, dict[str, int]] = {}

    def add_task(self, name: str, task: ReferenceTask) -> None:
        """A task, and the subjects that it is the mean of."""
        known = HarnessTask(name, None, unfiltered(*task.scores))
        members: Mapping[str, str] = {}
        facts = task_facts(name, task)
        if facts is not None and facts.harness is not None:
            known, members = facts.harness, facts.groups
        key = known.metrics.get(task.metric, "")
        if known.group is not None:  # the harness asks a part of what bitloss asks
            if part := task.groups.get(known.group):
                self._add(known.name, known, task, _subject(key, part, task), part.n_scored)
        else:
            metrics: dict[str, Any] = {}
            for ours, theirs in known.metrics.items():
                estimate = task.scores[ours]
                metrics[theirs] = estimate.value
                metrics[_error_key(theirs)] = _error(estimate, task.n_scored)
            self._add(known.name, known, task, metrics, task.n_scored, task.n_total)
        if known.name in self.results and task.subjects:
            self._add_subjects(known, task, key, members)

    def _add_subjects(
        self, known: HarnessTask, task: ReferenceTask, key: str, members: Mapping[str, str]
    ) -> None:
        below: dict[str, list[str]] = {}
        for subject, score in task.subjects.items():
            group = members.get(subject, "")
            if known.group is not None and group != known.group:
                continue
            child = f"{known.name}_{_word(subject)}"
            above = f"{known.name}_{_word(group)}" if group and not known.group else known.name
            below.setdefault(above, []).append(child)
            self._add(child, known, task, _subject(key, score, task), score.n_scored)
        for group, score in task.groups.items():
            above = f"{known.name}_{_word(group)}"
            if above in below:
                below.setdefault(known.name, []).append(above)
                self._add(above, known, task, _subject(key, score, task), score.n_scored)
        self.groups |= {name: self.results[name] for name in below}
        self.subtasks |= below

    def _add(
        self,
        name: str,
        known: HarnessTask,
        task: ReferenceTask,
        metrics: Mapping[str, Any],
        n: int,
        n_total: int | None = None,
    ) -> None:
        self.results[name] = {"name": name, "alias": name, "sample_len": n, **metrics}
        self.configs[name] = {
            "task": name,
            "output_type": "multiple_choice" if task.gold == "option" else "generate_until",
            "repeats": task.samples,
            "metadata": {"version": known.version, "source": task.source, "digest": task.digest},
        }
        self.versions[name] = known.version
        self.configs[name]["num_fewshot"] = self.shots[name] = task.shots
        plain = (key.partition(",")[0] for key in metrics)
        self.higher[name] = {metric: True for metric in plain if not metric.endswith("_stderr")}
        self.counts[name] = {"original": n if n_total is None else n_total, "effective": n}

    def add_corpus(self, corpus: ReferenceCorpus) -> None:
        """A text, where it was scored as the harness does."""
        if corpus.word_perplexity is None:
            return
        figures = {
            "word_perplexity": corpus.word_perplexity,
            "byte_perplexity": corpus.byte_perplexity,
            "bits_per_byte": corpus.bits_per_byte,
        }
        metrics: dict[str, Any] = {}
        for metric, value in figures.items():
            metrics |= {f"{metric},none": value, f"{metric}_stderr,none": _NO_ERROR}
        name, n = "wikitext", corpus.n_windows
        self.results[name] = {"name": name, "alias": name, "sample_len": n, **metrics}
        self.configs[name] = {"task": name, "output_type": "loglikelihood_rolling"}
        self.versions[name] = 2.0
        self.shots[name] = 0
        self.higher[name] = dict.fromkeys(figures, False)
        self.counts[name] = {"original": n, "effective": n}

    def document(self) -> dict[str, Any]:
        """What ``EvalAcc._to_eval_results`` of the harness assembles, in its order."""
        return {
            "results": self.results,
            **({"groups": self.groups} if self.groups else {}),
            "group_subtasks": self.subtasks,
            "configs": dict(sorted(self.configs.items())),
            "versions": dict(sorted(self.versions.items())),
            "n-shot": dict(sorted(self.shots.items())),
            "higher_is_better": dict(sorted(self.higher.items())),
            "n-samples": self.counts,
        }


def _subject(key: str, score: SubjectScore, task: ReferenceTask) -> dict[str, Any]:
    """The metrics of a part of a task, of which only the score is known."""
    error: float | str = _NO_ERROR
    if _binary(task.scores[task.metric], task.n_scored) and score.score is not None:
        error = _mean_error(score.score, score.n_scored)
    return {key: score.score, _error_key(key): error}


def _error_key(key: str) -> str:
    metric, _, rule = key.partition(",")
    return f"{metric}_stderr,{rule}"


def _error(estimate: Estimate, n: int) -> float | str:
    """The standard error, as the harness computes it where that is possible."""
    value, low, high = estimate.value, estimate.low, estimate.high
    if value is None or low is None or high is None:
        return _NO_ERROR
    return _mean_error(value, n) if _binary(estimate, n) else (high - low) / (2 * _Z)


def _mean_error(mean: float, n: int) -> float | str:
    """Of a mean of zeros and ones: the sample's standard deviation over the root of n."""
    return math.sqrt(mean * (1 - mean) / (n - 1)) if n > 1 else _NO_ERROR


def _binary(estimate: Estimate, n: int) -> bool:
    """Whether the items are right or wrong: their interval is then Wilson's."""
    if estimate.value is None or estimate.low is None or estimate.high is None or n == 0:
        return False
    right = estimate.value * n
    wilson = share(round(right), n)
    return (
        abs(right - round(right)) < 1e-6
        and math.isclose(wilson.low, estimate.low, abs_tol=1e-9)
        and math.isclose(wilson.high, estimate.high, abs_tol=1e-9)
    )


def _word(text: str) -> str:
    return re.sub(r"[^\w]+", "_", text).strip("_").lower()


def _about(comparison: Comparison, model: ModelFacts) -> dict[str, Any]:
    """What the harness's ``simple_evaluate`` adds."""
    environment = comparison.environment
    seed = environment.seeds.bootstrap
    return {
        "config": {
            "model": "bitloss",
            "model_args": {"pretrained": model.name},
            "model_num_parameters": model.parameters,
            "model_dtype": environment.dtype,
            "model_sha": model.digest,
            "batch_size": None,
            "batch_sizes": [],
            "device": environment.device,
            "use_cache": None,
            "limit": None,
            "bootstrap_iters": RESAMPLES,
            "gen_kwargs": None,
            "random_seed": seed,
            "numpy_seed": seed,
            "torch_seed": seed,
            "fewshot_seed": seed,
        },
        "bitloss_version": environment.versions.get("bitloss", ""),
        "transformers_version": environment.versions.get("transformers", ""),
        "task_hashes": {},
        "model_source": "bitloss",
        "model_name": model.name,
        "model_name_sanitized": re.sub(r"[\"<>:/|\\?*\[\]]+", "__", model.name),
        "system_instruction": None,
        "system_instruction_sha": None,
        "fewshot_as_multiturn": None,
        "chat_template": None,
        "chat_template_sha": None,
    }
