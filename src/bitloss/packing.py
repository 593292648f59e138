"""Packs from Python: a reference measured once, to be compared with variants elsewhere."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from bitloss.api import make_spec
from bitloss.errors import UsageError
from bitloss.spec.choices import PackOptions, StrPath
from bitloss.spec.model import names_pack, parse_model
from bitloss.spec.sizes import parse_size
from bitloss.spec.valid import require_known
from bitloss.types import Progress, SilentProgress

if TYPE_CHECKING:
    from bitloss.results.pack import PackDocument, StateType
    from bitloss.results.plan import PlanSummary
    from bitloss.runner.plan import Plan

__all__ = ["PackPlan", "pack", "plan_pack"]


@dataclass(frozen=True, slots=True)
class PackPlan:
    """What a pack will take.

    Attributes:
        summary: of scoring the reference.
        nbytes: of the pack, about.
        parts: the same by part, in words.
    """

    summary: PlanSummary
    nbytes: int
    parts: str


def pack(
    reference: StrPath,
    out: StrPath,
    *,
    engines: Sequence[str] | None = None,
    states: StateType = "fp32",
    max_size: str | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Unpack[PackOptions],
) -> PackDocument:
    """Make a pack of a reference: all it takes to compare variants with it without its weights.

    Args:
        reference: the unquantized model: a path or a hub name.
        out: the pack's directory.
        engines: engines that variants will be run with; the noise floor of each is measured. None
            is every engine that is installed.
        states: how hidden states are stored: ``fp32`` (as computed), or rounded to ``bf16`` or
            ``int8``. What rounding adds is measured and is part of the noise floor.
        max_size: refuse a pack that will be larger (``"2GB"``).
        force: replace another pack in `out`.
        progress: where to report; None is silent.
        options: what is measured; see `bitloss.spec.choices.PackOptions` and ``docs/options.md``.

    Returns:
        The pack's document; `PackDocument.digest` identifies the pack.

    Raises:
        UsageError: an option is wrong, `out` is not empty, or the pack is too large.
        BitlossError: the reference, a corpus or a task cannot be used.
    """
    ready = _prepared(reference, Path(out), engines, states, max_size, progress, options)
    from bitloss.runner.packs.making import make_pack

    return make_pack(
        ready, Path(out), states=states, force=force, progress=progress or SilentProgress()
    )


def plan_pack(
    reference: StrPath,
    out: StrPath,
    *,
    engines: Sequence[str] | None = None,
    states: StateType = "fp32",
    max_size: str | None = None,
    progress: Progress | None = None,
    **options: Unpack[PackOptions],
) -> PackPlan:
    """Estimate the time, memory and bytes of a pack; see `pack`. Nothing is scored."""
    ready = _prepared(reference, Path(out), engines, states, max_size, progress, options)
    from bitloss import runner
    from bitloss.runner.packs.making import unfinished_folder
    from bitloss.runner.packs.sizes import estimate_size

    size = estimate_size(ready, states)
    summary = runner.summarize(ready, unfinished_folder(Path(out)))
    return PackPlan(
        replace(summary, notes=(f"the pack: {size}", *summary.notes)), size.total, str(size)
    )


def _prepared(
    reference: StrPath,
    out: Path,
    engines: Sequence[str] | None,
    states: StateType,
    max_size: str | None,
    progress: Progress | None,
    options: PackOptions,
) -> Plan:
    require_known(options, PackOptions.__annotations__)
    if names_pack(os.fspath(reference)):
        raise UsageError(
            f"expected a model with weights, got the pack {reference}",
            hint="make the pack from the model that it was made of",
        )
    if states not in ("fp32", "bf16", "int8"):
        raise UsageError(
            f"states: expected fp32, bf16 or int8, got {states!r}", hint="use --states fp32"
        )
    # Before the libraries that models need are loaded: a misspelled name is reported at once.
    parse_model(os.fspath(reference))
    from bitloss import runner
    from bitloss.runner.packs.making import default_engines, require_free
    from bitloss.runner.packs.sizes import estimate_size, require_room

    limit = None if max_size is None else parse_size(max_size, "--max-size")
    require_free(out)
    names = tuple(dict.fromkeys(("dense", *engines))) if engines else default_engines()
    spec = make_spec(reference, engine=names, **options)
    ready = runner.prepare(spec, makes_pack=True, progress=progress or SilentProgress())
    require_room(estimate_size(ready, states), limit, ready)
    return ready
