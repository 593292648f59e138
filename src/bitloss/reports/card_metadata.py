"""What a card says to machines: the hub's ``model-index``.

Written with `huggingface_hub` in the form of https://huggingface.co/docs/hub/model-cards. Nothing
is ``verified``: only the hub sets that.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bitloss._version import __version__
from bitloss.datasets.tables import HubTable
from bitloss.errors import DataError
from bitloss.reports.card import CardContent, short_model
from bitloss.reports.plug_facts import corpus_facts, task_facts
from bitloss.results import Estimate, VariantResult
from bitloss.results.tasks import VariantTask

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

__all__ = ["MEASURED_WITH", "metadata"]

MEASURED_WITH = "measured_with"
"""The key under a data set's ``args`` by which results of bitloss are known again."""

_METRIC_TYPES = {"acc": "accuracy"}


def metadata(content: CardContent) -> dict[str, Any]:
    """``base_model``, ``base_model_relation`` (if the reference is on the hub), ``model-index``.

    Raises:
        DataError: `huggingface_hub` does not take it.
    """
    from huggingface_hub import ModelCardData

    base: dict[str, Any] = {}
    if content.base_model is not None:
        base = {"base_model": content.base_model, "base_model_relation": "quantized"}
    results = [result for variant in content.variants for result in _results(content, variant)]
    try:
        data = ModelCardData(**base, model_name=content.model_name, eval_results=results)
        return dict(data.to_dict())  # type: ignore[no-untyped-call]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the hub's library refuses the card's metadata: {error}") from error


def _results(content: CardContent, variant: VariantResult) -> list[EvalResult]:
    versions = content.comparison.environment.versions
    measured = {MEASURED_WITH: f"bitloss {versions.get('bitloss', __version__)}"}
    suffix = f", {short_model(variant.name)}" if len(content.variants) > 1 else ""
    results = []
    for name, corpus in variant.corpora.items():
        facts = corpus_facts(name, corpus.source)
        data = _named(facts.title, facts.hub) if facts else _unpublished(name)
        args = {
            **measured,
            "protocol": corpus.protocol.name,
            **corpus.protocol.parameters,
            "tokens": corpus.n_scored,
        }
        metrics = {
            "perplexity": corpus.perplexity_estimate,
            "relative_perplexity": corpus.relative_perplexity,
            "kl_divergence": corpus.kl_divergence.estimate,
            "top1_agreement": corpus.top1_agreement,
            "overlap": corpus.overlap,
        }
        results += [
            _result("text-generation", data, args, metric, estimate, suffix)
            for metric, estimate in metrics.items()
        ]
    for name, task in (variant.tasks or {}).items():
        results += _task_results(name, task, measured, suffix)
    return [result for result in results if result is not None]


def _task_results(
    name: str, task: VariantTask, measured: dict[str, Any], suffix: str
) -> list[EvalResult | None]:
    facts = task_facts(name, task)
    data = _named(facts.title or name, facts.hub) if facts and facts.hub else _unpublished(name)
    args = {**measured, "items": task.n_scored, "num_few_shot": task.shots}
    kind = "multiple-choice" if task.gold == "option" else "text-generation"
    metrics = dict(task.scores)
    if task.kl_divergence is not None:
        metrics["gold_kl_divergence"] = task.kl_divergence
    return [
        _result(kind, data, args, metric, estimate, suffix) for metric, estimate in metrics.items()
    ]


def _named(title: str, table: HubTable) -> dict[str, Any]:
    """A data set as the hub has it, in the words of its ``EvalResult``."""
    return {
        "dataset_name": title,
        "dataset_type": table.repository,
        "dataset_config": table.config,
        "dataset_split": table.split,
    }


def _unpublished(name: str) -> dict[str, Any]:
    return {"dataset_name": name, "dataset_type": _slug(name)}


def _result(
    kind: str,
    data: Mapping[str, Any],
    args: dict[str, Any],
    metric: str,
    estimate: Estimate,
    suffix: str,
) -> EvalResult | None:
    from huggingface_hub import EvalResult

    if estimate.value is None or not math.isfinite(estimate.value):
        return None
    limits = {
        f"{end}_95": _rounded(limit)
        for end, limit in (("low", estimate.low), ("high", estimate.high))
        if limit is not None and math.isfinite(limit)
    }
    return EvalResult(
        task_type=kind,
        **data,
        dataset_args=args,
        metric_type=_METRIC_TYPES.get(metric, metric),
        metric_name=f"{metric.replace('_', ' ')}{suffix}",
        metric_value=_rounded(estimate.value),
        metric_args=limits or None,
    )


def _rounded(value: float) -> float:
    """Six digits: more than any interval leaves, and a card stays readable."""
    return float(f"{value:.6g}")


def _slug(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-.").lower() or "unnamed"
