"""Tables of what was measured on running text, and of what the files cost."""

from __future__ import annotations

from collections.abc import Iterator

from markupsafe import Markup

from bitloss import wording as fmt
from bitloss.analysis.near_floor import is_near_floor
from bitloss.reports.details import Details
from bitloss.reports.page.answer import size
from bitloss.reports.page.cells import (
    Cell,
    Row,
    Table,
    code,
    divergences,
    figure,
    join,
    marked,
    ratio,
    row,
    share,
    table,
)
from bitloss.reports.scatter import pareto
from bitloss.results import Comparison, CorpusComparison, ModelFacts, VariantResult
from bitloss.tables.comparison import corpus_table

__all__ = ["corpus", "cost", "distribution", "loss_along_text"]

_CORPUS = {
    "variant": False, "bits/weight": True, "PPL": True, "relative PPL": True,
    "KLD, nats/token": True, "same top‑1": True, "overlap": True, "RMS Δp": True, "bits/byte": True,
    "Pareto front": False,
}  # fmt: skip
_SPREAD = {
    "variant": False, "median": True, "p90": True, "p99": True, "p99.9": True, "largest": True,
}  # fmt: skip
_COST = {
    "variant": False, "format": False, "bits": True, "bits/weight": True, "group size": True,
    "size": True, "saved": True, "of the reference": True, "made": False,
}  # fmt: skip


def corpus(comparison: Comparison, name: str) -> Table:
    """Every result on one corpus, the reference first."""
    reference = comparison.reference
    own, at = reference.corpora[name], join("reference", "corpora", name)
    front = pareto(comparison, name)
    rows = [
        row(
            f"{reference.name} (reference)",
            _bits(reference, "reference"),
            _perplexity(own.perplexity, at),
            "", "", "", "", "",
            figure(fmt.number(own.bits_per_byte, 4), join(at, "bits_per_byte")),
            "",
            kind="reference",
        )
    ]  # fmt: skip
    for variant, short, place, figures in _scored(comparison, name):
        below = join(place, "corpora", name)
        moved = figures.delta_p
        rows.append(
            row(
                short,
                _bits(variant, place),
                _perplexity(figures.perplexity, below),
                ratio(figures.relative_perplexity, join(below, "relative_perplexity")),
                divergences(
                    figures.kl_divergence,
                    join(below, "kl_divergence"),
                    near=is_near_floor(figures),
                ),
                share(figures.top1_agreement.value, join(below, "top1_agreement", "value")),
                share(figures.overlap.value, join(below, "overlap", "value")),
                figure(fmt.share(moved.rms), join(below, "delta_p", "rms"), "share"),
                figure(fmt.number(figures.bits_per_byte, 4), join(below, "bits_per_byte")),
                Cell("yes" if variant.name in front else "", "mark"),
            )
        )
    for text in _floors(comparison, name):
        rows.append(row(*text, *[""] * (len(_CORPUS) - len(text)), kind="floor"))
    shown = corpus_table(comparison, name)
    return table(shown.title, _CORPUS, rows, notes=shown.notes)


def _scored(
    comparison: Comparison, name: str
) -> Iterator[tuple[VariantResult, str, str, CorpusComparison]]:
    """Variants with figures on a corpus: their short names and paths too."""
    names = comparison.short_names
    for index, variant in enumerate(comparison.variants):
        if name in variant.corpora:
            at = join("variants", index)
            yield variant, names[variant.name], at, variant.corpora[name]


def _bits(model: ModelFacts, at: str) -> Markup:
    return figure(fmt.number(model.bits_per_weight, 2), join(at, "bits_per_weight"))


def _perplexity(value: float | None, at: str) -> Markup:
    return figure(fmt.perplexity(value), join(at, "perplexity"))


def _floors(comparison: Comparison, name: str) -> list[tuple[str | Markup, ...]]:
    """The distinct noise floors, each in the column of the divergences."""
    places = [(comparison.reference.corpora[name].noise_floor, join("reference", "corpora", name))]
    places += [
        (figures.noise_floor, join(at, "corpora", name))
        for _, _, at, figures in _scored(comparison, name)
    ]
    floors = {}
    for floor, at in places:
        if floor is not None and floor not in floors:
            path = join(at, "noise_floor", "kl_divergence")
            shown = figure(fmt.divergence(floor.kl_divergence), path)
            floors[floor] = (f"noise floor, {floor.dtype}", "", "", "", shown)
    return list(floors.values())


def distribution(comparison: Comparison, name: str) -> Table:
    """Percentiles of the divergence over a corpus's tokens."""
    rows, notes = [], []
    for _, short, place, figures in _scored(comparison, name):
        divergence, at = figures.kl_divergence, join(place, "corpora", name, "kl_divergence")
        values = {
            "p50": divergence.p50, "p90": divergence.p90, "p99": divergence.p99,
            "p999": divergence.p999, "max": divergence.max,
        }  # fmt: skip
        if near := is_near_floor(figures):
            notes = [fmt.near_floor_note(exact=True)]
        cells = [
            marked(figure(fmt.divergence(value), join(at, key)), near=near and bool(value))
            for key, value in values.items()
        ]
        rows.append(row(short, *cells))
    return table(f"KL divergence by token, {name}, nats", _SPREAD, rows, notes=notes)


def loss_along_text(comparison: Comparison, details: Details, name: str) -> Table | None:
    """The stretches of a text and what was lost on each; None without records."""
    names = comparison.short_names
    traces = details.loss_traces.get(name, {})
    if not traces:
        return None
    longest = max(traces.values(), key=lambda one: len(one.token))
    rows = []
    for index, token in enumerate(longest.token):
        cells: list[str | Markup] = [fmt.count(token)]
        for trace in traces.values():
            here = trace.nats[index] if index < len(trace.nats) else None
            cells.append(fmt.MISSING if here is None else f"{here:+.4f}")
        rows.append(row(*cells))
    columns = {"token": True, **{names.get(one, one): True for one in traces}}
    each = "windows" if longest.windows > 1 else "window"
    note = f"Means of {longest.windows} {each} each, from the run's records."
    title = f"Loss along the text, {name}, variant minus reference, nats per token"
    return table(title, columns, rows, notes=[note])


def cost(comparison: Comparison) -> Table:
    """What the files take, the reference first."""
    names = comparison.short_names
    reference = comparison.reference
    rows = [_cost(reference, f"{reference.name} (reference)", "reference", None)]
    rows += [
        _cost(variant, names[variant.name], join("variants", index), comparison)
        for index, variant in enumerate(comparison.variants)
    ]
    return table("Files", _COST, rows)


def _cost(model: ModelFacts, name: str, at: str, comparison: Comparison | None) -> Row:
    none = figure(fmt.MISSING, at)
    saved = part = none
    if comparison is not None and model.file_bytes is not None:
        before, path = comparison.reference.file_bytes, join(at, "file_bytes")
        saved = figure(_signed_size(before - model.file_bytes), path, "saved bytes")
        if before > 0:
            part = figure(fmt.share(model.file_bytes / before), path, "of reference")
    bits = fmt.MISSING if model.bits is None else f"{model.bits:g}"
    made: str | Markup = ""
    if isinstance(model, VariantResult):
        made = "found as it is" if model.recipe is None else _made(model)
    return row(
        name,
        code(model.format) if model.format else none,
        figure(bits, join(at, "bits")),
        _bits(model, at),
        figure(fmt.count(model.group_size), join(at, "group_size")),
        size(model.file_bytes, at),
        saved,
        part,
        made,
        kind="reference" if comparison is None else "",
    )


def _signed_size(n_bytes: int) -> str:
    return fmt.size(n_bytes) if n_bytes >= 0 else f"-{fmt.size(-n_bytes)}"


def _made(variant: VariantResult) -> str:
    method = str((variant.recipe or {}).get("method", "")) or "recipe"
    parts = [f"by bitloss, {method}"]
    if variant.calibration:
        parts.append(f"calibrated on {variant.calibration}")
    if variant.desc_act is not None:
        parts.append(f"desc_act {'on' if variant.desc_act else 'off'}")
    return ", ".join(parts)
