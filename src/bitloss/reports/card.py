"""A section for a model card: what quantization cost this model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bitloss import wording as fmt
from bitloss._version import __version__
from bitloss.analysis.reasons import why
from bitloss.errors import BitlossError, DataError, UsageError
from bitloss.reports.local_paths import without_folders, without_local_paths
from bitloss.reports.markdown import fenced
from bitloss.results import Comparison, VariantResult, Verdict
from bitloss.spec.model import parse_model
from bitloss.tables.comparison import corpus_table
from bitloss.tables.find import find_variants
from bitloss.tables.markdown import escaped, markdown_table
from bitloss.tables.replicates import replicate_notes
from bitloss.tables.tasks import task_tables

__all__ = ["CardContent", "card_content", "section", "short_model"]


@dataclass(frozen=True, slots=True)
class CardContent:
    """What a card is about.

    Attributes:
        comparison: the run's result.
        variants: those that the card is for; each has results.
        base_model: the reference's name on the hub; None where it has none.
        model_name: the model's name in the metadata.
    """

    comparison: Comparison
    variants: tuple[VariantResult, ...]
    base_model: str | None
    model_name: str


def card_content(
    comparison: Comparison,
    names: Sequence[str] = (),
    *,
    base_model: str | None = None,
    model_name: str | None = None,
) -> CardContent:
    """Choose what a card is about.

    Args:
        comparison: the run's result.
        names: of the variants; none is all that did not fail.
        base_model: the reference on the hub (``org/name``); None is its name, if that is one.
        model_name: None is the variant's name without folders; with several, the reference's.

    Raises:
        UnknownName: no such variant.
        UsageError: `base_model` cannot be a model on the hub.
        DataError: a variant that was named has no results, or none has any.
    """
    named = {variant.name for variant in find_variants(comparison, names)}
    comparison, short = without_local_paths(comparison)
    chosen = tuple(v for v in comparison.variants if v.name in {short.get(n, n) for n in named})
    for variant in chosen if names else ():
        if variant.error is not None:
            raise DataError(
                f"variant `{variant.name}` failed and has no results: {variant.error.message}",
                hint="choose others with --variant",
            )
    chosen = tuple(v for v in chosen if v.error is None and (v.corpora or v.tasks))
    if not chosen:
        raise DataError(
            "the run has no variant with results", hint="give a run of `bitloss compare`"
        )
    if base_model is not None and not _is_repository(base_model):
        raise UsageError(
            f"expected a model on the hub, got `{base_model}`",
            hint="use --base-model org/name",
        )
    return CardContent(
        comparison,
        chosen,
        base_model=base_model or _repository(comparison.reference.name),
        model_name=model_name or _model_name(comparison, chosen),
    )


def _repository(reference: str) -> str | None:
    """The hub's name of the reference; None for a path."""
    try:
        repository = parse_model(reference).repo
    except BitlossError:  # a path that is not here any more
        return None
    return repository if repository is not None and _is_repository(repository) else None


def _is_repository(name: str) -> bool:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils._validators import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return "/" in name


def short_model(name: str) -> str:
    """A model's name without folders, organization, revision and ending."""
    return name.partition("@")[0].rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf") or name


def _model_name(comparison: Comparison, variants: Sequence[VariantResult]) -> str:
    reference = short_model(comparison.reference.name)
    if len(variants) > 1:
        return reference
    (variant,) = variants
    if variant.recipe is not None:
        return f"{reference}-{short_model(variant.name)}"
    return short_model(variant.name)


# The section -----------------------------------------------------------------------------------


def section(content: CardContent) -> str:
    """The Markdown, from a heading of the second level on; one final newline.

    What it was compared with, a table for each corpus and for tasks, the verdict, which
    capability suffers most, how it was measured, the command.
    """
    shown = _renamed(content)
    reference = shown.reference
    parts = [
        "## What quantization cost",
        f"Compared with {_linked(content)} ({escaped(reference.format)}, "
        f"{fmt.size(reference.file_bytes)}) on the same tokens and questions. "
        "In brackets: 95% confidence intervals.",
    ]
    corpora = (corpus_table(shown, name) for name in reference.corpora)
    for table in (*corpora, *task_tables(shown)):
        parts.append(f"### {escaped(table.title)}\n\n{markdown_table(table).rstrip()}")
    verdicts = [text for variant in shown.variants if (text := _verdict(variant))]
    if verdicts:
        parts.append("### Verdict\n\n" + "\n".join(f"- {text}" for text in verdicts))
    parts.append("### How it was measured\n\n" + _method(content.comparison))
    if notes := replicate_notes(shown):
        parts.append("\n".join(f"- {escaped(note)}" for note in notes))
    return "\n\n".join(parts) + "\n"


def _linked(content: CardContent) -> str:
    if content.base_model is None:
        return escaped(short_model(content.comparison.reference.name))
    return f"[{content.base_model}](https://huggingface.co/{content.base_model})"


def _renamed(content: CardContent) -> Comparison:
    """The chosen variants alone, under names that mean something to others."""
    names = content.comparison.short_names
    if len(content.variants) == 1:
        names = {content.variants[0].name: content.model_name}
    reference = content.base_model or short_model(content.comparison.reference.name)
    return content.comparison.model_copy(
        update={
            "reference": content.comparison.reference.model_copy(update={"name": reference}),
            "variants": tuple(_under(names[variant.name], variant) for variant in content.variants),
        }
    )


def _under(name: str, variant: VariantResult) -> VariantResult:
    """The variant under another name, which its sentences have too."""
    ranked = variant.loss_ranking
    if ranked is not None:
        ranked = ranked.model_copy(update={"text": ranked.text.replace(variant.name, name)})
    return variant.model_copy(update={"name": name, "loss_ranking": ranked})


def _verdict(variant: VariantResult) -> str:
    """The verdict on a variant, for a list; empty if there is none."""
    verdict = variant.verdict
    clauses = [] if verdict is None else _clauses(verdict)
    sentences = [f"{'; '.join(clauses)}."] if clauses else []
    if variant.loss_ranking is not None and variant.loss_ranking.text:
        sentences.append(escaped(variant.loss_ranking.text))
    return f"{escaped(variant.name)}: {' '.join(sentences)}" if sentences else ""


def _clauses(verdict: Verdict) -> list[str]:
    clauses = []
    if verdict.level is not None:
        clauses.append(f"acceptable: **{verdict.level}**, {escaped(why(verdict))}")
        if verdict.expected is not None and verdict.standing is not None:
            high = verdict.expected.high
            end = "or more" if high is None else f"to {high:g}"
            clauses.append(
                f"{verdict.standing}: {escaped(verdict.expected.format)} usually has a relative "
                f"perplexity of {verdict.expected.low:g} {end}"
            )
    clauses += [
        f"{escaped(name)} loses more than {100 * one.margin:g} points"
        for name, one in verdict.capabilities.items()
        if one.outcome == "lost"
    ]
    return clauses


def _method(comparison: Comparison) -> str:
    environment = comparison.environment
    versions = environment.versions
    lines = [
        f"By bitloss {versions.get('bitloss', __version__)} with engine "
        f"{escaped(environment.engine.name)}, arithmetic {escaped(environment.dtype)}, on "
        f"{escaped(environment.device)}; torch {escaped(versions.get('torch', '-'))}, transformers "
        f"{escaped(versions.get('transformers', '-'))}. Intervals are paired: a block bootstrap "
        "over windows of text, closed forms for correct and wrong answers."
    ]
    if environment.command:
        words = " ".join(without_folders(word) for word in environment.command.split())
        lines.append(fenced(f"$ {words}"))
    return "\n\n".join(lines)
