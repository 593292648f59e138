"""Where a server is, and which of its models is meant."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from bitloss.errors import UsageError

__all__ = ["Address", "parse_address"]

_EXAMPLE = "write it as `server=http://127.0.0.1:8000`"


@dataclass(frozen=True, slots=True)
class Address:
    """A server, as `parse_address` reads it.

    Attributes:
        root: URL without the ``/v1`` of the OpenAI interface and without a slash at its end.
        model: the id of a model that it serves; empty where the variant's name says which.
    """

    root: str
    model: str = ""


def parse_address(text: str) -> Address:
    """Read ``URL`` or ``URL#MODEL``.

    Raises:
        UsageError: no http or https URL, or one with a password, which would be written down.
    """
    url, _, model = text.partition("#")
    try:
        parts = urlsplit(url)
        port_is_valid = parts.port != 0
    except ValueError:
        parts, port_is_valid = urlsplit(""), False
    if "@" in url:
        raise UsageError(
            "server: expected a URL without a user name or password, got one with",
            hint="remove it, and set BITLOSS_API_KEY to the key",
        )
    if parts.scheme not in ("http", "https") or not parts.hostname or not port_is_valid:
        raise UsageError(f"server: expected an http or https URL, got `{url}`", hint=_EXAMPLE)
    if parts.query:
        raise UsageError(f"server: expected a URL without `?`, got `{url}`", hint=_EXAMPLE)
    root = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
    return Address(root.removesuffix("/v1"), model)
