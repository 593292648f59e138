"""Versions of what an engine's numbers depend on."""

from __future__ import annotations

from functools import cache
from importlib.metadata import PackageNotFoundError, version

__all__ = ["package_version"]


@cache
def package_version(package: str) -> str:
    """An installed distribution's version, "" without one. Looked up once: the search reads every
    folder of the path, and identities are needed often; what is imported does not change.
    """
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
