"""A study's page put together from what it shows."""

from __future__ import annotations

from bitloss.reports.page.shell import render
from bitloss.studies.page.content import PageContent

__all__ = ["compose"]


def compose(content: PageContent) -> str:
    """The page's text."""
    return render("study.html.j2", {"page": content}, package="bitloss.studies.page")
