"""`sensitivity`: which parts of a model carry the loss of its variants.

OUT/sensitivity/<model>/sensitivity.json     the answer
OUT/sensitivity/<model>/records/             what was scored; rerun to resume
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from bitloss.engines.dense.precision import as_precision
from bitloss.engines.dense.swaps.scorer import SwapScorer
from bitloss.errors import UsageError
from bitloss.results.document import refuse_newer_schema
from bitloss.runner.store import RunStore
from bitloss.spec.choices import CompareOptions, StrPath
from bitloss.studies.run import run_folders
from bitloss.studies.sensitivity.result import SENSITIVITY, SensitivityResult
from bitloss.studies.sensitivity.setup import prepare_parts
from bitloss.studies.sensitivity.study import PartStudy
from bitloss.studies.sensitivity.subjects import REFERENCE, open_subjects
from bitloss.types import Progress, SilentProgress

__all__ = ["DEFAULT_PARTS", "sensitivity", "target_of"]

DEFAULT_PARTS = ("kinds", "layers")


def sensitivity(
    model: StrPath,
    variants: Sequence[StrPath],
    *,
    parts: Sequence[str] = DEFAULT_PARTS,
    restore: bool = True,
    reuse: bool = True,
    out: StrPath = "studies",
    command: Sequence[str] = (),
    progress: Progress | None = None,
    **options: Unpack[CompareOptions],
) -> SensitivityResult:
    """Exchange a variant's parts one by one and rank them by the loss that they carry.

    Args:
        model: the unquantized reference: a path or a hub name.
        variants: models or recipes.
        parts: divisions (`bitloss.engines.dense.swaps.parts.DIVISIONS`) or names of single parts,
            which are then measured beside their division's other parts taken together.
        restore: whether each part is also put back into the variant.
        reuse: whether a swap begins at the first layer that it changes; for measurements.
        out: where the results go. Rerun to resume.
        command: the words of the command line, recorded.
        progress: where to report; None is silent.
        options: see `bitloss.spec.choices.CompareOptions`; those that score a text, of one corpus.
            By default
            ``until="decided"``: a part is scored no further once it is known whether it is the
            worst and whether it is cheap; ``"all"`` scores the whole text.

    Returns:
        Parts with intervals. A variant that fails has its error there.

    Raises:
        UsageError: no variants, or options and parts that mean nothing.
        BitlossError: the reference or the text cannot be used.
    """
    progress = progress or SilentProgress()
    names = [str(one) for one in variants]
    if not names:
        raise UsageError(
            "expected at least one variant, got none", hint="name a recipe, such as gguf-q4_k_m"
        )
    target = target_of(model, Path(out))
    folder = target.parent
    refuse_newer_schema(target, SENSITIVITY)
    looks = options.pop("until", "decided") == "decided"
    corpus = _one_corpus(options.pop("corpora", None))
    ready = prepare_parts(str(model), names, corpus, options, progress)
    scorer = SwapScorer(
        ready.reference.model,
        precision=as_precision(ready.spec.dtype),
        device=ready.spec.main_device,
        reuse=reuse,
    )
    scorer.load(REFERENCE, ready.weights)
    subjects, failed = open_subjects(
        ready, names, parts, scorer, restore=restore, progress=progress
    )
    store = RunStore(folder)
    with store.locked():
        study = PartStudy(ready, scorer, subjects, looks, restore)
        found = study.run(store, progress)
        result = study.result(found, names, failed, shlex.join(command))
        result.write(target)
    return result


def _one_corpus(corpora: StrPath | Sequence[StrPath] | None) -> str:
    """The text, by default WikiText-2.

    Raises:
        UsageError: there are several.
    """
    if corpora is None:
        return "wikitext-2"
    given = [corpora] if isinstance(corpora, str | os.PathLike) else corpora
    names = [os.fspath(name) for name in given]
    if len(names) != 1:
        raise UsageError(
            f"expected one corpus, got {', '.join(names) or 'none'}",
            hint="name one: every part is scored on the same text",
        )
    return names[0]


def target_of(model: StrPath, out: Path) -> Path:
    """Where the answer for a model goes."""
    return run_folders([model], out / "sensitivity")[str(model)] / "sensitivity.json"
