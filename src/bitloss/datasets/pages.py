r"""WikiText's two shapes: the hub's rows and lm-eval's pages.

Rows follow the hub's loader (huggingface/datasets, datasets/wikitext/wikitext.py): one row a line
with its newline, and ``""`` for a line of white space only. Pages follow the loader of
EleutherAI/wikitext_document_level (in lm-evaluation-harness,
lm_eval/tasks/wikitext/wikitext_workaround): a page begins at a heading of level one,
``= Title =``, and the lines keep their white space.
"""

from __future__ import annotations

__all__ = ["join_rows", "split_pages", "split_rows"]


def split_rows(text: str) -> tuple[str, ...]:
    """The rows that the hub's loader yields of a WikiText file."""
    # Only "\n" ends a line: str.splitlines would also split at U+2028, "\x0b" and others.
    lines = text.split("\n")
    ended = [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])
    return tuple(line if line.strip() else "" for line in ended)


def join_rows(rows: list[str]) -> str:
    r"""The file that the hub's rows were read from: WikiText's blank lines are ``" \n"``."""
    return "".join(row or " \n" for row in rows)


def split_pages(text: str) -> tuple[str, ...]:
    """The pages of a WikiText file; what stands before the first heading is dropped if blank."""
    pages: list[str] = []
    lines: list[str] = []
    for line in text.split("\n"):
        if _is_page_heading(line):
            page = "\n".join(lines)
            if page.strip():
                pages.append(page)
            lines = []
        lines.append(line)
    pages.append("\n".join(lines))
    return tuple(pages)


def _is_page_heading(line: str) -> bool:
    # Deeper headings read "= = Title = =": their equals signs are drawn together first.
    heading = line.replace("= = =", "===").replace("= =", "==").strip()
    return heading.startswith("= ") and heading.endswith(" =")
