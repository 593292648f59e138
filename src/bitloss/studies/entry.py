"""`bitloss.study`: any study by its name."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Unpack, overload

from bitloss import registry
from bitloss.errors import UsageError
from bitloss.spec.choices import CompareOptions, StrPath
from bitloss.studies import run
from bitloss.studies.document import StudyDocument
from bitloss.types import Progress

if TYPE_CHECKING:
    from bitloss.studies.recipe import RecipeResult
    from bitloss.studies.result import StudyResult
    from bitloss.studies.sensitivity import SensitivityResult

__all__ = ["study"]


# The name decides, and a name that no type knows is that of a study of levels.
@overload
def study(
    name: Literal["sensitivity"],
    models: StrPath | Sequence[StrPath],
    *,
    variants: Sequence[StrPath],
    out: StrPath = ...,
    **options: Any,
) -> SensitivityResult: ...


@overload
def study(  # type: ignore[overload-overlap]
    name: Literal["recipe"],
    models: StrPath | Sequence[StrPath],
    *,
    out: StrPath = ...,
    **options: Any,
) -> RecipeResult: ...


@overload
def study(
    name: StrPath,
    models: StrPath | Sequence[StrPath],
    *,
    vary: Sequence[str] | None = ...,
    out: StrPath = ...,
    command: Sequence[str] = ...,
    progress: Progress | None = ...,
    **options: Unpack[CompareOptions],
) -> StudyResult: ...


def study(
    name: StrPath, models: StrPath | Sequence[StrPath], *, out: StrPath = "studies", **options: Any
) -> StudyDocument:
    """Run a study.

    Args:
        name: a study (`bitloss list studies`), or a study file (`bitloss.studies.grid`).
        models: one or several unquantized models: paths or hub names. Their last path components
            must differ.
        out: where results and run directories go. Rerun to resume.
        options: for most studies `vary`, the levels of the factor (None is the study's own), and
            the keywords of `bitloss.spec.choices.CompareOptions` without `until` and `precision`;
            see `bitloss.studies.run.study`. ``sensitivity`` and ``recipe`` take one model, and the
            keywords of `bitloss.studies.sensitivity.sensitivity` (`variants`, `parts`, ...) and
            `bitloss.studies.recipe.recipe_study` (`size`, `like`, `measure_on`, ...).

    Returns:
        A `StudyResult`, `SensitivityResult` or `RecipeResult`; ``print`` shows it as tables.

    Raises:
        UnknownName: no such study, or no such level of its factor.
        UsageError: models or levels given twice, or impossible values.
        BitlossError: a model, a corpus or a task cannot be used.
    """
    several = [models] if isinstance(models, str | os.PathLike) else list(models)
    text = os.fspath(name)
    if text not in registry.OWN_STUDIES:
        return run.study(name, several, out=out, **options)
    if len(several) != 1:
        raise UsageError(
            f"expected one model for the study `{text}`, got {len(several)}",
            hint="study each model by itself",
        )
    _require_own(text, options)
    own = registry.load("study", registry.OWN_STUDIES, text)
    found: StudyDocument = own(several[0], out=out, **options)
    return found


def _require_own(name: str, options: Mapping[str, Any]) -> None:
    """Refuse `vary`, which other studies take."""
    if "vary" in options:
        raise UsageError(
            f"expected options of the study `{name}`, got `vary`",
            hint=f"drop `vary`; see help(bitloss.studies.{name})",
        )
    if name == "sensitivity" and "variants" not in options:
        raise UsageError(
            "expected variants to take apart, got none", hint='add variants=["gguf-q4_k_m"]'
        )
