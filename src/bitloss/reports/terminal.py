"""A result in the terminal: readable from 80 columns on, with and without colour."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bitloss import wording as fmt
from bitloss.results import Comparison, ReferenceCorpus, ReferenceResult, VariantResult
from bitloss.tables.comparison import all_tables, title
from bitloss.tables.overview import overview_tables
from bitloss.tables.text_table import Cell, TextTable
from bitloss.tables.verdicts import closing, verdict_tables
from bitloss.wording import IntervalText

__all__ = ["render_comparison", "render_overview", "render_perplexity", "render_table"]

_WIDEST_NAME = 20
_LEAST_NAME = 8
_GAP = 2  # columns between cells: one of padding on either side


def render_comparison(comparison: Comparison, console: Console) -> None:
    """Print tables of the corpora, tasks and verdicts, the answer, then the variants that failed.

    If columns do not fit the console's width, bounds go below their values; then columns go into a
    second block below the first. Every number is in ``comparison.json``.

    Args:
        comparison: the result.
        console: where to; its width decides the layout.
    """
    _render(comparison, all_tables(comparison), console)


def render_overview(comparison: Comparison, console: Console) -> None:
    """Print what was lost by capability, the verdicts, the answer and what failed.

    Args:
        comparison: the result.
        console: where to.
    """
    _render(comparison, (*overview_tables(comparison), *verdict_tables(comparison)), console)


def _render(comparison: Comparison, tables: Iterable[TextTable], console: Console) -> None:
    for table in tables:
        render_table(table, console)
    for index, paragraph in enumerate(closing(comparison)):
        if index < 2:
            console.print()
        _print(console, f"- {paragraph}" if index else paragraph, "" if index else "bold")
    for variant in comparison.variants:
        if variant.error is not None:
            _print_failure(variant, console)


def render_perplexity(model: ReferenceResult, console: Console) -> None:
    """Print one model's own results on each corpus.

    Args:
        model: as in the result of a run without variants.
        console: where to.
    """
    _print(console, f"{model.name}: {model.format}, {fmt.size(model.file_bytes)}", style="bold")
    for name, corpus in model.corpora.items():
        console.print()
        _print(console, title(name, corpus), style="bold")
        grid = Table.grid(padding=(0, _GAP))
        for label, text in _own_results(corpus):
            grid.add_row(Text(label), Text(text))
        console.print(grid)
        _print_notes(corpus.notes, console)


def _own_results(corpus: ReferenceCorpus) -> list[tuple[str, str]]:
    """By what they are, the results that a model has alone."""
    error = ""
    if corpus.standard_error is not None:
        error = f" (± {fmt.number(corpus.standard_error, 4)} as llama.cpp prints it)"
    results = [
        ("perplexity", f"{fmt.perplexity_interval(corpus.perplexity_estimate)}{error}"),
        ("bits per byte", fmt.number(corpus.bits_per_byte, 4)),
    ]
    if corpus.word_perplexity is not None:
        results.append(("word perplexity", fmt.perplexity(corpus.word_perplexity)))
    if corpus.byte_perplexity is not None:
        results.append(("byte perplexity", fmt.perplexity(corpus.byte_perplexity)))
    if corpus.entropy is not None:
        results.append(("mean entropy, nats", fmt.number(corpus.entropy.value, 4)))
    return results


def render_table(content: TextTable, console: Console) -> None:
    """Print one table in the same way.

    Args:
        content: the table.
        console: where to; its width decides the layout.
    """
    blocks, stacked = _layout(content, console.width)
    console.print()
    _print(console, content.title, style="bold")
    for keys in blocks:
        console.print()
        console.print(_block(content, keys, stacked, console.width))
    _print_notes(content.notes, console)


def _block(content: TextTable, keys: Sequence[str], stacked: bool, width: int) -> Table:
    """Some columns of a table, without rows that have nothing in them."""
    fits = _total(content, keys, stacked) <= width
    table = Table(box=None, pad_edge=False, header_style="bold")
    for key in keys:
        table.add_column(
            Text(_stack(content.columns[key]) if stacked else content.columns[key]),
            justify="left" if key in content.left else "right",
            overflow="fold",
            width=None if key == "model" and not fits else _width(content, key, stacked),
        )
    others = sum(_width(content, key, stacked) for key in keys if key != "model")
    room = max(_LEAST_NAME, width - others - _GAP * (len(keys) - 1))
    # Rows with nothing to say here, but for those that say what the next ones are about.
    needed = [key for key in keys if key == content.left[0] or key not in _naming(content)]
    needed = [key for key in needed if key != "model"]
    for index, row in enumerate(content.rows):
        if len(keys) < len(content.columns) and not any(row.get(key) for key in needed):
            continue
        cells = [_cell(content, row, key, stacked) for key in keys]
        if "model" in keys:
            widest = room if not fits else _width(content, "model", stacked)
            at = keys.index("model")
            cells[at] = _broken(cells[at], widest)
        table.add_row(*map(Text, cells), style="dim" if index in content.muted else None)
    return table


def _layout(content: TextTable, width: int) -> tuple[list[list[str]], bool]:
    """The columns in blocks that fit, one below the other, and whether limits go below values.

    The columns that matter least are the first to go into a further block.
    """
    keys = list(content.columns)
    for stacked in (False, True):
        if _total(content, keys, stacked) <= width:
            return [keys], stacked
    below: list[str] = []
    for group in content.dropped:
        keys = [key for key in keys if key not in group]
        below += group
        if _total(content, keys, True) <= width:
            break
    return [keys, *_blocks_below(content, [k for k in content.columns if k in below], width)], True


def _blocks_below(content: TextTable, keys: Sequence[str], width: int) -> list[list[str]]:
    """Further columns, each block with the names of its rows."""
    naming = _naming(content)
    blocks: list[list[str]] = []
    for key in keys:
        if blocks and _total(content, [*blocks[-1], key], True) <= width:
            blocks[-1].append(key)
        else:
            blocks.append([*naming, key])
    return blocks


def _naming(content: TextTable) -> list[str]:
    """The columns that say what a row is about: up to the model's name, and words beside it."""
    naming: list[str] = []
    dropped = {key for group in content.dropped for key in group}
    ahead = "model" in content.columns
    for key in content.columns:
        if key in dropped or not (ahead or key in content.left):
            break
        naming.append(key)
        ahead = ahead and key != "model"
    return naming


def _total(content: TextTable, keys: Sequence[str], stacked: bool) -> int:
    widths = [_width(content, key, stacked) for key in keys]
    return sum(widths) + _GAP * (len(keys) - 1)


def _width(content: TextTable, key: str, stacked: bool) -> int:
    heading = content.columns[key]
    texts = [_stack(heading) if stacked else heading]
    texts += [_cell(content, row, key, stacked) for row in content.rows]
    widest = max(cell_len(line) for text in texts for line in text.split("\n"))
    return min(widest, _WIDEST_NAME) if key == "model" and stacked else widest


def _cell(content: TextTable, row: Mapping[str, Cell], key: str, stacked: bool) -> str:
    """A cell's text, on two lines if it is to be narrow."""
    cell = row.get(key, "")
    if not stacked:
        return str(cell)
    if isinstance(cell, IntervalText):
        return "\n".join(part for part in (cell.value, cell.brackets) if part)
    return "\n".join(cell.split(" ", 1)) if key in content.wrapped else cell


def _broken(name: str, width: int) -> str:
    """A name on lines of at most so many cells, broken behind its signs and not within words."""
    lines = [""]
    for part in re.findall(r"[^/_.\- ]+[/_.\- ]?|[/_.\- ]", name):
        if lines[-1] and cell_len(lines[-1]) + cell_len(part.rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(line.rstrip() for line in lines)


def _stack(heading: str) -> str:
    """A heading on two lines, broken after its first word, else after a stroke."""
    for mark in (" ", "/"):
        if mark in heading:
            first, rest = heading.split(mark, 1)
            return f"{first}{mark.strip()}\n{rest}"
    return heading


def _print_notes(notes: Sequence[str], console: Console) -> None:
    if not notes:
        return
    console.print()
    for note in notes:
        _print(console, f"- {note}")


def _print_failure(variant: VariantResult, console: Console) -> None:
    assert variant.error is not None
    console.print()
    _print(console, f"{variant.name}: failed", style="bold")
    console.print(Text.assemble(("error:", "bold red"), f" {variant.error.message}"))
    if variant.error.hint:
        console.print(Text.assemble(("hint:", "bold"), f" {variant.error.hint}"))


def _print(console: Console, text: str, style: str = "") -> None:
    """Print text as it is: names may hold what rich takes for markup."""
    console.print(Text(text, style=style))
