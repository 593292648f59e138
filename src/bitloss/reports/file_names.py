"""File names from names that users chose."""

from __future__ import annotations

import re
from collections.abc import Container

__all__ = ["file_name"]


def file_name(name: str, ending: str, *, default: str, taken: Container[str]) -> str:
    """A plain file name: ``divergence-by-size-wikitext-2.png``, with a number if it is taken.

    Args:
        name: any text.
        ending: of the file, with its dot.
        default: used if nothing of the name is fit for a file.
        taken: file names that are in use.
    """
    stem = re.sub(r"[^\w.-]+", "-", name, flags=re.ASCII).strip("-.") or default
    file, n = f"{stem}{ending}", 2
    while file in taken:
        file, n = f"{stem}-{n}{ending}", n + 1
    return file
