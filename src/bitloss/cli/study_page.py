"""The page that every study writes beside its results."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitloss.cli.console import print_status
from bitloss.errors import BitlossError

if TYPE_CHECKING:
    from bitloss.studies.document import StudyDocument

__all__ = ["write_study_page"]


def write_study_page(result: StudyDocument, path: Path) -> None:
    """Write a study's page beside its results, which a failure here leaves intact."""
    from bitloss.studies.page import write_page

    try:
        write_page(result, path)
    except BitlossError as error:
        print_status(f"no page: {error.message}" + (f"; {error.hint}" if error.hint else ""))
    else:
        print_status(f"page: {path}")
