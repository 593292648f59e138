"""The report as one page of HTML that needs no network, no JavaScript and no other file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitloss.errors import MissingDependency

if TYPE_CHECKING:
    from bitloss.reports.details import Details
    from bitloss.results import Comparison

__all__ = ["page", "write_page"]


def page(comparison: Comparison, details: Details) -> str:
    """The page's text.

    Args:
        comparison: the result.
        details: of the same run; `Details()` where only the result is at hand.

    Raises:
        MissingDependency: jinja2, altair or vl-convert is not installed.
    """
    try:
        from bitloss.reports.page.compose import compose
    except ModuleNotFoundError as error:
        if error.name not in {"jinja2", "markupsafe"}:
            raise
        raise MissingDependency("jinja2", "the HTML report", extra="report") from error
    return compose(comparison, details)


def write_page(comparison: Comparison, details: Details, path: Path) -> Path:
    """Write the page; it is there whole or not at all.

    Args:
        comparison: the result.
        details: of the same run.
        path: of the file; replaced if it exists.

    Returns:
        The path.

    Raises:
        MissingDependency: see `page`.
        StorageError: the file cannot be written.
    """
    from bitloss.files import write_text

    write_text(path, page(comparison, details))
    return path
