"""The Python program in what a chat model wrote: in a fence or not, with prose around it.

Chosen, in this order: the last closed block between fences that defines the entry point; the last
block that was cut off at the limit and does; a definition outside the fences, without the prose
before and after it; else a function's body, which goes on from where the question's text ends.

What the question defines before the entry point (its imports and helpers) stands before a program
that defines the entry point itself: chat models leave out what they were given.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Block", "find_blocks", "read_program"]

_FENCE = re.compile(r"(?P<indent>[ \t]*)(?P<mark>`{3,}|~{3,})(?P<info>.*)")
_PYTHON = frozenset({"", "python", "python3", "py", "py3", "pycon", "python2"})
_WORD = re.compile(r"[\w+#-]*")
_FUTURE = re.compile(r"^from[ \t]+__future__[ \t]+import[ \t].*\n?", re.MULTILINE)
_NAMES = r"[\w.]+(?:[ \t]+as[ \t]+\w+)?(?:[ \t]*,[ \t]*[\w.]+(?:[ \t]+as[ \t]+\w+)?)*"
# A line at the margin that is code: nobody begins a sentence like this.
_STATEMENT = re.compile(
    rf"from[ \t]+[\w.]+[ \t]+import\b[ \t]*[\w(*]|import[ \t]+{_NAMES}[ \t]*(?:[#;].*)?$"
    r"|(?:async[ \t]+)?def[ \t]+\w+[ \t]*[(\[]|class[ \t]+\w+[ \t]*[(:\[]|@\w"
    r"|\w+(?:[ \t]*,[ \t]*\w+)*[ \t]*(?::[^=]+)?(?:[-+*/%&|^]|//|\*\*|<<|>>)?=[^=]"
    r"|(?:if|elif|for|while|with|async|match)\b.*:[ \t]*(?:#.*)?$|(?:else|try|finally)[ \t]*:"
    r"|except\b.*:[ \t]*(?:#.*)?$|(?:assert|del|global|nonlocal|raise|yield)[ \t]+[\w(\[{'\"]"
    r"|return(?:[ \t]+[\w(\[{'\"~+-].*)?$|(?:pass|break|continue)[ \t]*(?:#.*)?$"
    r"|[\w.]+\(.*\)[ \t]*(?:#.*)?$"
    r"|(?:if|for|while|with)\b.*:[ \t]*(?:return|raise|pass|break|continue|yield)\b"
    r"|(?:if|for|while|with)\b.*:[ \t]*[\w.\[\]]+[ \t]*(?:\(.*\)$|[-+*/]?=[^=])"
)
_CLOSES = (")", "]", "}", '"""', "'''")
_QUOTES = re.compile(r'"""|\'\'\'')
_STEP = 4


@dataclass(frozen=True, slots=True)
class Block:
    """What stands between two fences, without their indentation.

    Attributes:
        text: its lines.
        language: first word after the opening fence, in lower case.
        closed: whether there is a closing fence.
    """

    text: str
    language: str
    closed: bool

    @property
    def python(self) -> bool:
        """Whether it is said to be Python, or nothing is said."""
        return self.language in _PYTHON


def read_program(text: str, entry_point: str, begins: str) -> str:
    """The program in an answer, whole.

    Args:
        text: what the model wrote, without its thinking.
        entry_point: the function or class that the tests call.
        begins: the question's text, which ends where a body begins; ``""`` where there is none.
    """
    text = text.removeprefix("\ufeff").replace("\r\n", "\n")
    blocks, outside = find_blocks(text)
    defines = _definition(entry_point)
    candidates = [textwrap.dedent(block.text) for block in blocks if block.closed]
    candidates = [c for c in candidates if defines.search(c)] or [
        c for block in blocks if defines.search(c := textwrap.dedent(block.text))
    ]
    if candidates:
        return _complete(candidates[-1], defines, begins)
    loose = textwrap.dedent(outside)
    if defines.search(loose):
        return _complete(_without_prose(loose, defines), defines, begins)
    body = next((block.text for block in blocks if block.python), None)
    if body is None:
        body = blocks[0].text if blocks else _body_in_prose(text)
    if not begins.endswith("\n") and not text.startswith(body):
        begins = f"{begins}\n"  # the text does not go on in the question's last line
    return begins + (_indented(body) if _ends_in_function(begins) else body)


def find_blocks(text: str) -> tuple[list[Block], str]:
    """All blocks between fences of three or more backticks or tildes, and what is outside them.

    As CommonMark 0.31 has it (section 4.5), with two liberties that models take: a fence with a
    language ends the block before it, and a closing fence may stand behind the last line of code.
    """
    blocks: list[Block] = []
    outside: list[str] = []
    opening: re.Match[str] | None = None
    lines: list[str] = []

    def end(*, closed: bool) -> None:
        assert opening is not None
        word = _WORD.match(opening["info"].strip().lower())
        language = word[0] if word else ""
        blocks.append(Block(_without_indent(lines, opening["indent"]), language, closed))

    for line in text.split("\n"):
        fence = _FENCE.fullmatch(line)
        if opening is None:
            if fence is not None and "`" not in fence["info"]:
                opening, lines = fence, []
            else:
                outside.append(line)
        elif fence is not None and _may_end(fence, opening):
            info = fence["info"].strip()
            end(closed=not info)
            opening, lines = (fence if info else None), []
        elif _ends_behind_code(line, opening):
            lines.append(line.rstrip().removesuffix(opening["mark"]))
            end(closed=True)
            opening, lines = None, []
        else:
            lines.append(line)
    if opening is not None:
        end(closed=False)
    return blocks, "\n".join(outside)


def _may_end(fence: re.Match[str], opening: re.Match[str]) -> bool:
    mark, other = opening["mark"], fence["mark"]
    near = len(fence["indent"]) <= len(opening["indent"]) + _STEP - 1
    return near and other[0] == mark[0] and len(other) >= len(mark) and "`" not in fence["info"]


def _ends_behind_code(line: str, opening: re.Match[str]) -> bool:
    stripped = line.strip()
    mark = opening["mark"]
    return stripped.endswith(mark) and stripped.count(mark) == 1 and stripped[0] != mark[0]


def _without_indent(lines: Sequence[str], indent: str) -> str:
    """The lines without as much white space as stands before their fence."""
    room = len(indent)
    cut = [line[min(room, len(line) - len(line.lstrip())) :] for line in lines]
    return "\n".join(cut) + "\n"


def _definition(name: str) -> re.Pattern[str]:
    escaped = re.escape(name)
    return re.compile(
        rf"^(?:(?:async[ \t]+)?def|class)[ \t]+{escaped}\b|^{escaped}[ \t]*(?::[^=\n]+)?=[^=]",
        re.MULTILINE,
    )


def _complete(program: str, defines: re.Pattern[str], begins: str) -> str:
    """A program behind what the question has before the entry point's own definition."""
    own = defines.search(begins)
    given = begins[: own.start()] if own is not None else ""
    if not given.strip():
        return program
    future = "".join(f"{line.rstrip()}\n" for line in _FUTURE.findall(program))
    return f"{future}{given.rstrip()}\n\n\n{_FUTURE.sub('', program)}"


def _without_prose(text: str, defines: re.Pattern[str]) -> str:
    """The code around a definition that stands among prose at the margin."""
    lines = text.split("\n")
    found = defines.search(text)
    at = text.count("\n", 0, found.start()) if found is not None else 0
    # From the first line of code from which on there is no prose up to the definition: what
    # stands in a string at the margin may read like prose.
    begins = (i for i in range(at) if _is_code(lines[i]) and _end_of_code(lines, i) > at)
    first = next((i for i in begins if lines[i].strip()), at)
    return "\n".join(lines[first : _end_of_code(lines, at)]) + "\n"


def _is_code(line: str) -> bool:
    return line[:1].isspace() or line.startswith(("#", *_CLOSES)) or bool(_STATEMENT.match(line))


def _end_of_code(lines: Sequence[str], start: int) -> int:
    """Index of the first line of prose from a line of code on; strings may hold anything."""
    quote = ""
    for index in range(start, len(lines)):
        line = lines[index]
        if not quote and line.strip() and index > start and not _is_code(line):
            return index
        for mark in _QUOTES.findall(line):
            quote = mark if not quote else "" if mark == quote else quote
    return len(lines)


def _ends_in_function(begins: str) -> bool:
    """Whether what follows the question's text is a function's body."""
    lines = [line for line in begins.split("\n") if line.strip()]
    return bool(lines) and (lines[-1][0].isspace() or lines[-1].rstrip().endswith(":"))


def _body_in_prose(text: str) -> str:
    """A body without a fence: the text up to prose, or from its first indented line on."""
    lines = text.split("\n")
    begin = next((index for index, line in enumerate(lines) if line.strip()), 0)
    if _is_code(lines[begin]):  # with the line breaks before it: it goes on from the question
        return "\n".join(lines[: _end_of_code(lines, begin)])
    after = range(begin, len(lines))
    first = next((i for i in after if lines[i].strip() and lines[i][0].isspace()), begin)
    return "\n".join(lines[first : _end_of_code(lines, first)])


def _indented(body: str) -> str:
    """A function's body, moved to the right where the model left its indentation out."""
    lines = body.split("\n")
    filled = [line for line in lines if line.strip()]
    if not filled or filled[0][0].isspace():
        return body
    rest = [len(line) - len(line.lstrip()) for line in filled[1:]]
    # Of the first line alone, which a chat model's answer begins with, or of all of them.
    block = filled[0].rstrip().endswith(":")
    alone = bool(rest) and min(rest) > 0 and (not block or rest[0] > _STEP)
    if not alone:
        return textwrap.indent(body, " " * _STEP)
    at = lines.index(filled[0])
    width = rest[0] - _STEP if block and min(rest) == rest[0] else min(rest)
    return "\n".join([*lines[:at], " " * width + filled[0], *lines[at + 1 :]])
