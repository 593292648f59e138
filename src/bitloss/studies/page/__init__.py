"""A study as one page of HTML, in the report's manner: the answer, the effect, tables, method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitloss import registry
from bitloss.errors import MissingDependency

if TYPE_CHECKING:
    from bitloss.studies.document import StudyDocument

__all__ = ["page", "write_page"]


def page(result: StudyDocument) -> str:
    """The page's text, from the document alone.

    Args:
        result: the answer of a study; `bitloss.registry.PAGES` has what is shown of its kind.

    Raises:
        MissingDependency: jinja2, altair or vl-convert is not installed.
    """
    try:
        from bitloss.studies.page.compose import compose
    except ModuleNotFoundError as error:
        if error.name not in {"jinja2", "markupsafe"}:
            raise
        raise MissingDependency("jinja2", "the page of a study", extra="report") from error
    return compose(registry.load("page", registry.PAGES, result.short)(result))


def write_page(result: StudyDocument, path: Path) -> Path:
    """Write the page; it is there whole or not at all.

    Args:
        result: the study's answer.
        path: of the file; replaced if it exists.

    Returns:
        The path.

    Raises:
        MissingDependency: see `page`.
        StorageError: the file cannot be written.
    """
    from bitloss.files import write_text

    write_text(path, page(result))
    return path
