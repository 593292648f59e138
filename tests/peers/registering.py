"""Plugs put into the registry for one test, as a line there would."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from bitloss import registry

__all__ = ["register"]


def register(monkeypatch: pytest.MonkeyPatch, table: str, **lines: str) -> None:
    """Add lines to a table of `bitloss.registry`; a name's dashes are written as underscores.

    A name with a dot is given as ``**{"llama.cpp": "path:ENGINE"}``.
    """
    named = {name.replace("_", "-"): path for name, path in lines.items()}
    before = getattr(registry, table)
    monkeypatch.setattr(registry, table, MappingProxyType({**before, **named}))
