"""The report as Markdown, with its charts as pictures beside it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss.files import make_folder, write_bytes, write_text
from bitloss.reports.file_names import file_name
from bitloss.reports.unfinished import unfinished
from bitloss.results import Comparison, VariantResult
from bitloss.tables.comparison import all_tables
from bitloss.tables.markdown import bullets, escaped, markdown_table

if TYPE_CHECKING:
    from bitloss.reports.details import Details

__all__ = ["fenced", "markdown", "write_markdown"]


def write_markdown(comparison: Comparison, details: Details | None, folder: Path) -> Path:
    """Write ``report.md`` and the pictures that it shows into a folder.

    Args:
        comparison: the result.
        details: of the same run, for the charts; None leaves the charts out.
        folder: created if need be; files of the same names are replaced.

    Returns:
        The path of ``report.md``; it is written last.

    Raises:
        MissingDependency: charts are wanted, and altair or vl-convert is not installed.
        StorageError: the folder cannot be written.
    """
    pictures: dict[str, tuple[str, bytes]] = {}
    if details is not None:
        from bitloss.reports.charts import charts, png

        for name, chart in charts(comparison, details).items():
            file = file_name(name, ".png", default="chart", taken=pictures)
            pictures[file] = (str(chart.description), png(chart))
    make_folder(folder)
    for file, (_, picture) in pictures.items():
        write_bytes(folder / file, picture)
    target = folder / "report.md"
    texts = {file: description for file, (description, _) in pictures.items()}
    write_text(target, markdown(comparison, texts))
    return target


def markdown(comparison: Comparison, pictures: dict[str, str] | None = None) -> str:
    """The report: the answer, every table, the charts, failures, how it was measured.

    Args:
        comparison: the result.
        pictures: by file name, what each shows.
    """
    parts = [f"# {escaped(comparison.reference.name)}: what quantization cost"]
    if missing := unfinished(comparison):
        parts.append("## Not in this run\n" + "\n".join(bullets(missing)))
    if comparison.answer is not None and comparison.answer.text:
        parts.append(escaped(comparison.answer.text))
    for table in all_tables(comparison):
        parts.append(f"## {escaped(table.title)}\n\n{markdown_table(table).rstrip()}")
    if pictures:
        shown = [f"![{escaped(text)}]({file})" for file, text in pictures.items()]
        parts.append("\n\n".join(["## Charts", *shown]))
    failed = [variant for variant in comparison.variants if variant.error is not None]
    if failed:
        parts.append("## Failed\n" + "\n".join(bullets([_failure(v) for v in failed])))
    parts.append("## How it was measured\n\n" + _method(comparison))
    return "\n\n".join(parts) + "\n"


def fenced(text: str) -> str:
    """A block of code that holds any text."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}\n{text}\n{fence}"


def _failure(variant: VariantResult) -> str:
    assert variant.error is not None
    hint = f" ({variant.error.hint})" if variant.error.hint else ""
    return f"{variant.name}: {variant.error.message}{hint}"


def _method(comparison: Comparison) -> str:
    environment = comparison.environment
    facts = {
        "engine": str(environment.engine),
        "arithmetic": environment.dtype,
        "device": environment.device,
        "processor": environment.cpu,
        "versions": ", ".join(f"{name} {text}" for name, text in environment.versions.items()),
    }
    facts |= {
        f"text of {name}": f"{corpus.source}, sha256 {corpus.digest[:12]}"
        for name, corpus in comparison.reference.corpora.items()
    }
    lines = [f"- {escaped(f'{name}: {value}')}" for name, value in facts.items() if value]
    lines.append("- in brackets: 95% confidence intervals, paired")
    text = "\n".join(lines)
    return f"{text}\n\n{fenced(f'$ {environment.command}')}" if environment.command else text
