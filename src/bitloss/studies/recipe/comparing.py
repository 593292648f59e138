"""Recipe and baseline on text and tasks that no sensitivity was measured on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bitloss import api
from bitloss.errors import DataError
from bitloss.metrics.multiple import SIGNIFICANT, adjust, beyond
from bitloss.results import Comparison, Estimate
from bitloss.studies.base import FactorLevel
from bitloss.studies.paired import MeasuredLevel, RunRecords, measure_step
from bitloss.studies.recipe.result import FurtherLoss, HeldOut, Verdict
from bitloss.studies.result import Step
from bitloss.types import Progress

__all__ = ["Compared", "compare_held_out", "verdict"]

_COLUMNS = ("relative_perplexity", "kl_divergence", "loss")


class Compared:
    """A finished comparison of the two.

    Args:
        comparison: of the run.
        folder: of the run.
        recipe: name of the variant.
        baseline: name of the other one.
    """

    def __init__(self, comparison: Comparison, folder: Path, recipe: str, baseline: str) -> None:
        self.comparison = comparison
        records = RunRecords(folder)
        before, after = (
            MeasuredLevel(FactorLevel(name, name), records) for name in (baseline, recipe)
        )
        untold = {name for one in comparison.variants for name in one.not_measurable}
        seed = comparison.environment.seeds.bootstrap
        self._step = measure_step(before, after, _COLUMNS, seed=seed, leave_out=untold)
        variants = {one.name: one for one in comparison.variants}
        self._recipe, self._baseline = variants[recipe], variants[baseline]

        self._p_values = _family(self._step)

    @property
    def held_out(self) -> dict[str, HeldOut]:
        """By corpus."""
        found = {}
        for name, step in self._step.corpora.items():
            gain = step["kl_divergence"].negated()
            found[name] = HeldOut(
                baseline=self._baseline.corpora[name].kl_divergence.estimate,
                recipe=self._recipe.corpora[name].kl_divergence.estimate,
                gain=gain,
                perplexity_ratio=step["relative_perplexity"],
                verdict=verdict(gain, self._p_values.get(("corpus", name))),
            )
        return found

    @property
    def capabilities(self) -> dict[str, FurtherLoss]:
        """By capability, the recipe's loss beyond the baseline's."""
        found = {}
        for name, step in self._step.capabilities.items():
            loss = step["loss"]
            shown = verdict(loss.negated(), self._p_values.get(("capability", name)))
            found[name] = FurtherLoss(loss=loss, verdict=shown)
        return found


def _family(step: Step) -> dict[tuple[str, str], float]:
    """P-values of all that is said of the two, adjusted together by Holm's method."""
    gains = {("corpus", name): own["kl_divergence"] for name, own in step.corpora.items()}
    gains |= {("capability", name): own["loss"] for name, own in step.capabilities.items()}
    tests = {key: beyond(one, 0.0) for key, one in gains.items() if not one.is_nothing}
    return adjust({key: test for key, test in tests.items() if test is not None})


def verdict(gain: Estimate, p_value: float | None) -> Verdict:
    """What a gain's interval shows, if it is shown among all that is said."""
    if p_value is None or p_value >= SIGNIFICANT or not gain.excludes_zero:
        return "not shown"
    return "better" if (gain.value or 0.0) > 0 else "worse"


def compare_held_out(
    model: str,
    recipe: str,
    baseline: str,
    folder: Path,
    options: Mapping[str, Any],
    command: Sequence[str],
    progress: Progress,
) -> Compared:
    """Score both beside the reference.

    Args:
        model: the reference.
        recipe: the recipe's file.
        baseline: a recipe's name or a file.
        folder: the run directory.
        options: keywords of `bitloss.api.make_spec`.
        command: the words of the command line, recorded.
        progress: where to report.

    Raises:
        BitlossError: a corpus or task cannot be used, or one of the two not be scored.
    """
    spec = api.make_spec(model, [baseline, recipe], **options)
    comparison = api.run(spec, folder, command=command, force=True, progress=progress)
    for variant in comparison.variants:
        if variant.error is not None:
            raise DataError(f"{variant.name}: {variant.error.message}", hint=variant.error.hint)
    return Compared(comparison, folder, recipe, baseline)
