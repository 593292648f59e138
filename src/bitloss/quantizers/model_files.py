"""The small files of a model directory, which a variant that is made of it has too."""

from __future__ import annotations

import hashlib
from pathlib import Path

from bitloss.errors import CheckpointError

__all__ = ["COPIED_UNCHANGED", "digest_settings"]

COPIED_UNCHANGED = (
    "tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
    "merges.txt", "spiece.model", "generation_config.json", "chat_template*",
)  # fmt: skip
"""Patterns of files that say the same of a variant as of its reference."""


def digest_settings(model: Path) -> dict[str, str]:
    """Sha256 (hex) of everything beside the weights that a variant is made of, by file name.

    Calibration runs by the config, and a variant has its reference's config, tokenizer, chat
    template and generation settings: with other ones it is another variant.

    Raises:
        CheckpointError: a file cannot be read.
    """
    patterns = ("config.json", "*.py", *COPIED_UNCHANGED)
    found = {path for pattern in patterns for path in model.glob(pattern) if path.is_file()}
    try:
        return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(found)}
    except OSError as error:
        raise CheckpointError(
            f"{model}: a file cannot be read: {error}", hint="check its permissions"
        ) from error
