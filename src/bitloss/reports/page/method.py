"""How it was measured: models, data, arithmetic, versions, expectations."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.reports.page.cells import (
    Cell,
    Row,
    Table,
    code,
    count,
    digest,
    expected_range,
    figure,
    join,
    row,
    table,
)
from bitloss.results import Comparison, Environment, ModelFacts, NoiseFloor

__all__ = [
    "corpora",
    "environment",
    "environment_facts",
    "expected",
    "models",
    "scoring_differences",
    "tasks",
]

_STOPPED = {
    "decided": "its verdict was settled",
    "precision": "the interval was narrow enough",
    "not needed": "the recommendation does not depend on it",
    "end": "no text was left, and it was not decided",
}


def models(comparison: Comparison) -> Table:
    """The files, and what they hold."""
    columns = {
        "model": False, "architecture": False, "parameters": True, "format": False,
        "recipe": False, "sha256": False,
    }  # fmt: skip
    rows = [_model(comparison.reference, "reference")]
    rows += [
        _model(variant, join("variants", index), variant.recipe)
        for index, variant in enumerate(comparison.variants)
    ]
    return table("Models", columns, rows, kind="words")


def _model(model: ModelFacts, at: str, recipe: Mapping[str, Any] | None = None) -> Row:
    made = ", ".join(
        f"{key} {value}" for key, value in _fields(recipe or {}) if _is_set(key, value)
    )
    return row(
        model.name,
        model.architecture or fmt.MISSING,
        count(model.parameters, join(at, "parameters")),
        code(model.format or fmt.MISSING),
        made or fmt.MISSING,
        digest(model.digest, join(at, "digest")),
    )


def _fields(recipe: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """A recipe's fields in one row; the name says nothing besides."""
    for key, value in recipe.items():
        if isinstance(value, Mapping):
            yield from value.items()
        elif key != "name":
            yield key, value


def _is_set(key: str, value: object) -> bool:
    """Whether a recipe's field was used: fields that a method does not use are empty, 0 or off."""
    return bool(value) or key == "seed"


def corpora(comparison: Comparison) -> Table | None:
    """The texts, and how they were scored."""
    columns = {
        "corpus": False, "protocol": False, "tokens": True, "windows": True, "arithmetic": False,
        "noise floor": True, "source": False, "sha256": False,
    }  # fmt: skip
    rows = []
    for name, corpus in comparison.reference.corpora.items():
        at = join("reference", "corpora", name)
        rows.append(
            row(
                name,
                str(corpus.protocol),
                _of(corpus.n_scored, corpus.n_total, at, "n_scored", "n_total"),
                count(corpus.n_windows, join(at, "n_windows")),
                corpus.dtype,
                _floor(corpus.noise_floor, at),
                corpus.source,
                digest(corpus.digest, join(at, "digest")),
            )
        )
    return table("Text", columns, rows, kind="words") if rows else None


def tasks(comparison: Comparison) -> Table | None:
    """The tasks, and how they were evaluated."""
    columns = {
        "task": False, "capability": False, "metric": False, "shots": True, "split": False,
        "items": True,
        "samples": True, "gold": False, "chance": True, "noise floor": True, "license": False,
        "source": False, "sha256": False,
    }  # fmt: skip
    rows = []
    for name, task in (comparison.reference.tasks or {}).items():
        at = join("reference", "tasks", name)
        rows.append(
            row(
                name,
                task.capability,
                code(task.metric),
                count(task.shots, join(at, "shots")),
                task.split or fmt.MISSING,
                _of(task.n_scored, task.n_total, at, "n_scored", "n_total"),
                count(task.samples, join(at, "samples")),
                task.gold,
                figure(fmt.share(task.chance), join(at, "chance"), "share"),
                _floor(task.noise_floor, at),
                task.license,
                task.source,
                digest(task.digest, join(at, "digest")),
            )
        )
    return table("Tasks", columns, rows, kind="words") if rows else None


def _of(scored: int, total: int, at: str, first: str, second: str) -> Markup:
    return Markup("{} of {}").format(count(scored, join(at, first)), count(total, join(at, second)))


def _floor(floor: NoiseFloor | None, at: str) -> Markup:
    if floor is None:
        return figure(fmt.MISSING, at)
    return figure(fmt.divergence(floor.kl_divergence), join(at, "noise_floor", "kl_divergence"))


def scoring_differences(comparison: Comparison) -> Table | None:
    """Variants that were not scored on all of the text, or scored again; None without any."""
    names = comparison.short_names
    columns = {"variant": False, "corpus": False, "tokens": True, "why": False}
    rows = []
    for index, variant in enumerate(comparison.variants):
        for name, corpus in variant.corpora.items():
            reference, why = comparison.reference.corpora[name], []
            if corpus.stopped is not None:
                why.append(f"stopped: {_STOPPED[corpus.stopped]}")
            if corpus.rescored is not None:
                again = corpus.rescored
                why.append(
                    f"all but perplexity scored again in {again.dtype} on "
                    f"{fmt.count(again.n_windows)} windows ({fmt.count(again.n_scored)} tokens)"
                )
            if corpus.dtype != reference.dtype:
                why.append(f"scored in {corpus.dtype}")
            if why or corpus.n_scored != reference.n_scored:
                at = join("variants", index, "corpora", name)
                tokens = _of(corpus.n_scored, corpus.n_total, at, "n_scored", "n_total")
                rows.append(row(names[variant.name], name, tokens, "; ".join(why)))
    if not rows:
        return None
    return table("Scored differently from the reference", columns, rows, kind="words")


def expected(comparison: Comparison) -> Table | None:
    """The rows of the table of expectations that variants were compared with."""
    columns = {
        "format": False, "bits": True, "expected relative PPL": True, "acceptable?": False,
        "source": False,
    }  # fmt: skip
    rows: dict[tuple[str, float], Row] = {}
    for index, variant in enumerate(comparison.variants):
        expectation = variant.verdict.expected if variant.verdict is not None else None
        if expectation is None or (expectation.format, expectation.bits) in rows:
            continue
        at = join("variants", index, "verdict", "expected")
        rows[expectation.format, expectation.bits] = row(
            expectation.format,
            figure(f"{expectation.bits:g}", join(at, "bits")),
            expected_range(expectation.low, expectation.high, at),
            Cell(expectation.level),
            expectation.source,
        )
    return table("What was expected", columns, list(rows.values()), kind="words") if rows else None


def environment(comparison: Comparison) -> dict[str, str]:
    """What the results depend on besides models and text, by what it is."""
    facts = environment_facts(comparison.environment)
    source = _expectations(comparison)
    return {**facts, "expectations": source} if source else facts


def environment_facts(values: Environment) -> dict[str, str]:
    """The same of a run's environment alone."""
    facts = {
        "engine": str(values.engine),
        "requested arithmetic": values.dtype,
        "device": values.device,
        "card": values.card or "",
        "processor": values.cpu,
        "threads": "" if values.threads is None else str(values.threads),
        "tokens in one forward": fmt.count(values.batch_tokens) if values.batch_tokens else "",
        "seeds": ", ".join(f"{name} {seed}" for name, seed in values.seeds if seed is not None),
        "stopped early": "as soon as verdicts were settled" if values.until else "",
        "requested precision": "" if values.precision is None else f"±{values.precision:g}",
        "versions": ", ".join(f"{name} {text}" for name, text in values.versions.items()),
    }
    return {name: text for name, text in facts.items() if text}


def _expectations(comparison: Comparison) -> str:
    if comparison.answer is None:
        return ""
    source, sha = comparison.answer.expectations
    return f"{source}, sha256 {sha}" if sha else source
