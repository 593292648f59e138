"""Whose README it is: the figures of one model do not go into the card of another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bitloss.errors import BitlossError, UsageError
from bitloss.formats import open_checkpoint
from bitloss.results import VariantResult

__all__ = ["require_own_readme"]


def require_own_readme(path: Path, variants: Sequence[VariantResult]) -> None:
    """Refuse a README beside a model's files that none of the variants was made of.

    Reads the files once, to take their digest. A README without a model beside it may be anybody's.

    Args:
        path: of the README, or of its directory.
        variants: that the card is about.

    Raises:
        UsageError: the files are another model's.
    """
    folder = path if path.is_dir() else path.parent
    found = _digests(folder)
    if found and not found & {variant.digest for variant in variants}:
        names = ", ".join(variant.name for variant in variants)
        raise UsageError(
            f"{folder} has the files of another model than {names}, by their digests",
            hint="give the directory of the model that was measured, choose one with --variant, or "
            "--force to write into this one",
        )


def _digests(folder: Path) -> set[str]:
    """Of the models in a folder: one of safetensors, or any number of .gguf files."""
    found = set()
    for place in (folder, *sorted(folder.glob("*.gguf"))):
        try:
            found.add(open_checkpoint(place).info.digest)
        except BitlossError:
            continue  # no model, or one that nobody can have measured
    return found
