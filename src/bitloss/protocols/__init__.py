"""Perplexity protocols: exact ways to cut a corpus into scored windows."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from bitloss import registry
from bitloss.errors import UsageError
from bitloss.protocols.base import PerplexityProtocol, parameters_of

__all__ = ["PerplexityProtocol", "make_protocol", "parameters_of"]


def make_protocol(name: str, parameters: Mapping[str, Any]) -> PerplexityProtocol:
    """The protocol of that name, with `parameters` in place of its defaults.

    Raises:
        UnknownName: no such protocol.
        UsageError: a parameter that the protocol does not have, or a value that cannot be.
    """
    plug = registry.load("protocol", registry.PROTOCOLS, name)
    valid = [field.name for field in dataclasses.fields(plug)]
    unknown = sorted(set(parameters) - set(valid))
    if unknown:
        raise UsageError(
            f"protocol `{name}` has no parameter {', '.join(f'`{key}`' for key in unknown)}",
            hint=f"use one of: {', '.join(valid)}",
        )
    protocol: PerplexityProtocol = plug(**parameters)
    return protocol
