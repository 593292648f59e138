"""Bounds of what crosses the pipes, and what is said of what is beyond them."""

from __future__ import annotations

__all__ = ["MAX_BYTES", "MAX_DEPTH", "Malformed", "Unsupported"]

MAX_BYTES = 16 << 20
MAX_DEPTH = 100


class Unsupported(TypeError):  # noqa: N818
    """A value that is not plain data, or is too large or too deep; names it."""


class Malformed(ValueError):  # noqa: N818
    """Bytes that no encoder wrote."""
