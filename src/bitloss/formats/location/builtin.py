"""Models that come with bitloss, checked against the digests that were written beside them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bitloss.errors import CheckpointError
from bitloss.spec.json_text import parse_json

__all__ = ["builtin_model"]

_PACKAGE = Path(__file__).parents[2]
_DIGESTS = "digests.json"
_HINT = (
    "reinstall bitloss: pip install --force-reinstall --no-deps bitloss "
    "(in a checkout: git checkout -- src/bitloss/models)"
)


def builtin_model(name: str, *, package: Path = _PACKAGE) -> Path:
    """The directory of a built-in model (`bitloss.spec.model.BUILTIN_MODELS`).

    Args:
        name: of the model.
        package: where bitloss is installed.

    Raises:
        CheckpointError: a file is missing, or is not the one that was written.
    """
    folder = package / "models" / name
    for file, expected in _digests(folder, name).items():
        try:
            found = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        except OSError as error:
            raise CheckpointError(
                f"bundled model `{name}`: cannot read {file}: {error.strerror}",
                hint=_HINT,
            ) from error
        if found != expected:
            raise CheckpointError(
                f"bundled model `{name}` is damaged: expected {file} with sha256 "
                f"{expected[:12]}..., got {found[:12]}...",
                hint=_HINT,
            )
    return folder


def _digests(folder: Path, name: str) -> dict[str, str]:
    try:
        values = parse_json((folder / _DIGESTS).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"bundled model `{name}`: {_DIGESTS} is missing or damaged ({error})",
            hint=_HINT,
        ) from error
    return {str(file): str(digest) for file, digest in values.items()}
