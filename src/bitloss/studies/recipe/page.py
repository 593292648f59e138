"""The page of a study of recipes, from its `RecipeResult`."""

from __future__ import annotations

from markupsafe import Markup

from bitloss import wording
from bitloss.reports.page.cells import (
    Table,
    count,
    divergence,
    figure,
    join,
    limited,
    lost,
    ratio,
    row,
    table,
)
from bitloss.reports.page.method import environment_facts
from bitloss.studies.findings import Chart, ChartRow
from bitloss.studies.page.content import PageContent, Section, Sentence, Told, picture
from bitloss.studies.recipe.result import GroupResult, RecipeResult
from bitloss.studies.recipe.tables import HELD_OUT_NOTES, recipe_sentences, short_name
from bitloss.studies.sensitivity.tables import percent

__all__ = ["content"]

_MOST_ROWS = 24
_HOW = (
    "Each group of tensors is put into the unquantized model alone, in each type, and its "
    "divergence measured. The types with the smallest sum of losses within the size are chosen "
    "exactly, the file is made, and it is compared with the usual one on text that no sensitivity "
    "was measured on. Numbers in brackets are 95% confidence intervals; gains are paired on the "
    "same windows. What is called better or worse is corrected for all corpora and capabilities "
    "(Holm's method)."
)


def content(result: RecipeResult) -> PageContent:
    """What the page shows."""
    baseline = short_name(result.baseline.name)
    told = (_held_out(result, baseline), _choice(result, baseline), _additivity(result))
    drawn = (one for part in told for one in part.pictures)
    return PageContent(
        title="recipe",
        question=f"Which types of tensors lose least in {wording.size(result.size)}?",
        summary=f"{result.model} · {len(result.groups)} groups of tensors, "
        f"{len(result.uniform)} types · against {baseline}",
        answer=recipe_sentences(result)[:-1],
        effect=next(drawn, None),
        sections=(
            Section("found", "Findings", "What was found", told),
            Section("files", "Files", "The recipe as files", (_files(result),)),
        ),
        how=_HOW,
        scored=_scored(result),
        environment=environment_facts(result.environment),
        command=result.environment.command,
        version=result.environment.versions.get("bitloss", ""),
        document="recipe.json",
    )


# On held-out text -------------------------------------------------------------------------------


def _held_out(result: RecipeResult, baseline: str) -> Told:
    rows = []
    for name, one in result.held_out.items():
        at = join("held_out", name)
        rows.append(
            row(
                name,
                divergence(one.baseline, join(at, "baseline")),
                divergence(one.recipe, join(at, "recipe")),
                divergence(one.gain, join(at, "gain")),
                ratio(one.perplexity_ratio, join(at, "perplexity_ratio")),
                one.verdict,
            )
        )
    columns = {
        "corpus": False, f"KLD of {baseline}": True, "KLD of the recipe": True, "gain": True,
        "PPL ratio": True, "recipe is": False,
    }  # fmt: skip
    tables = [
        table(
            f"Recipe ({result.recipe.nbytes:,} bytes) against {baseline} "
            f"({result.baseline.nbytes:,} bytes), nats per token",
            columns,
            rows,
            notes=HELD_OUT_NOTES,
        )
    ]
    if result.capabilities:
        tables.append(_capabilities(result, baseline))
    drawn = picture(_beside(result, baseline)) if result.held_out else None
    return Told("on held-out text", (), tuple(tables), () if drawn is None else (drawn,))


def _capabilities(result: RecipeResult, baseline: str) -> Table:
    return table(
        f"Points lost beyond {baseline}",
        {"capability": False, "further loss": True, "recipe is": False},
        [
            row(name, lost(one.loss, join("capabilities", name, "loss")), one.verdict)
            for name, one in result.capabilities.items()
        ],
        notes=("paired, on the same items; below 0 the recipe scores higher",),
    )


def _beside(result: RecipeResult, baseline: str) -> Chart:
    return Chart(
        title="KL divergence on held-out text, at the same size",
        caption="Bars are 95% intervals; the gain in the table is paired and narrower.",
        across="nats per token",
        up="",
        unit="nats",
        rows=tuple(
            ChartRow(name=f"{name}, {label}", value=value, series=label)
            for name, one in result.held_out.items()
            for label, value in ((baseline, one.baseline), ("recipe", one.recipe))
        ),
        around=0.0,
    )


# What was chosen --------------------------------------------------------------------------------


def _choice(result: RecipeResult, baseline: str) -> Told:
    """Every group's losses, and the ones whose type costs most."""
    types = [one.type for one in result.uniform]
    columns = {"group": False, "weights": True, **dict.fromkeys(types, True),
               "chosen": False, baseline: False}  # fmt: skip
    rows = [
        row(
            group.group,
            count(group.weights, join("groups", index, "weights")),
            *_losses(group, index, types),
            group.chosen,
            group.baseline,
        )
        for index, group in enumerate(result.groups)
    ]
    drawn = picture(_chosen_losses(result))
    return Told(
        "what was chosen",
        (),
        (
            table(
                f"KLD (nats/token) of each group alone, {result.n_tokens:,} tokens of "
                f"{result.measured_on}",
                columns,
                rows,
                notes=("no number: the type is stored as the one to its left", *result.notes),
            ),
        ),
        () if drawn is None else (drawn,),
    )


def _losses(group: GroupResult, index: int, types: list[str]) -> list[Markup]:
    places = {option.type: place for place, option in enumerate(group.options)}
    found = []
    for kind in types:
        if kind not in places:
            found.append(figure(wording.MISSING, ""))
            continue
        at = join("groups", index, "options", places[kind], "loss", "value")
        found.append(figure(wording.divergence(group.options[places[kind]].loss.value), at))
    return found


def _chosen_losses(result: RecipeResult) -> Chart:
    chosen = [
        ChartRow(name=f"{group.group}, {option.type}", value=option.loss, series=option.type)
        for group in result.groups
        for option in group.options
        if option.type == group.chosen
    ]
    chosen.sort(key=lambda one: -(one.value.value or 0.0))
    more = "" if len(chosen) <= _MOST_ROWS else f" The {_MOST_ROWS} largest of {len(chosen)}."
    return Chart(
        title="What each group still costs in its chosen type",
        caption=f"Each group alone in the unquantized model. Bars are 95% intervals.{more}",
        across="nats per token",
        up="",
        unit="nats",
        rows=tuple(chosen[:_MOST_ROWS]),
        around=0.0,
    )


def _additivity(result: RecipeResult) -> Told:
    rows = [
        row(
            one.type,
            count(one.nbytes, join("uniform", index, "nbytes")),
            divergence(one.loss, join("uniform", index, "loss")),
            limited(
                percent(one.sum_of_parts), join("uniform", index, "sum_of_parts"), unit="share"
            ),
        )
        for index, one in enumerate(result.uniform)
    ]
    return Told(
        "whether losses add up",
        (Sentence("The choice takes the losses of groups as if they added up to 100%."),),
        (
            table(
                "All groups in one type",
                {"type": False, "bytes": True, "KLD (nats/token)": True,
                 "sum of the groups alone": True},
                rows,
            ),
        ),
    )  # fmt: skip


def _files(result: RecipeResult) -> Told:
    return Told(
        "beside recipe.json",
        (
            Sentence(f"The file that was made and measured: {result.recipe.name}."),
            Sentence(f"The recipe in the words of other tools: {', '.join(result.exports)}."),
        ),
    )


def _scored(result: RecipeResult) -> Table:
    return table(
        "What was scored",
        {"model": False, "sensitivities measured on": False, "tokens": True, "windows": True},
        [
            row(
                result.model,
                result.measured_on,
                count(result.n_tokens, "n_tokens"),
                count(result.n_windows, "n_windows"),
            )
        ],
    )
