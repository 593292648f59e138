"""What README and docs show can be typed and followed: commands, links, pages of the site.

Oracles: the command line's own parser, and the file system.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from bitloss.cli.main import app, main
from tools.write_commands import commands, commands_page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
# Programs that may stand before `bitloss`, and what ends a command.
_BEFORE = re.compile(r"^(?:\$ )?((?:[A-Z_]+=\S+ )*)(bitloss(?: .*)?)$")
_FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"^    (?:\$ )?(bitloss .*)$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)\s]+)\)")
# Output that begins with the name: the version.
_OUTPUT = re.compile(r"bitloss \d")


def shown(text: str) -> Iterator[str]:
    """Every command line of bitloss in a page's blocks, its continuation lines joined."""
    for language, block in _FENCE.findall(text):
        if language not in ("", "console", "sh", "bash", "shell"):
            continue
        for line in block.replace("\\\n", " ").splitlines():
            found = _BEFORE.match(line.strip())
            if found and not _OUTPUT.match(found[2]):
                yield found[2]
    yield from _INDENTED.findall(_FENCE.sub("", text))


def cases() -> list[Any]:
    return [
        pytest.param(line, id=f"{page.relative_to(ROOT)}: {line}")
        for page in PAGES
        if page.name != "CHANGELOG.md"
        for line in dict.fromkeys(shown(page.read_text(encoding="utf-8")))
    ]


def parse(line: str) -> None:
    """Let the parser of the command line take the words, and run nothing."""
    words = shlex.split(line, comments=True)[1:]
    for end in ("|", ">", ">>", "&&", "&", ";"):
        if end in words:
            words = words[: words.index(end)]
    command: Any = typer.main.get_command(app)
    context, path = None, "bitloss"
    while hasattr(command, "commands"):
        if not words or words[0] in ("--help", "-h", "--version"):
            return
        context = command.make_context(path, words, parent=context)
        words = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, words)
        path = name or path
    if {"--help", "-h"} & set(words):
        return
    # Dots stand for the models.
    models = ["x" for each in command.params if each.required
              and each.param_type_name == "argument"]  # fmt: skip
    words = [each for word in words for each in (models if word == "..." else [word])]
    parsed = command.make_context(path, words, parent=context)
    assert all(parsed.params[p.name] is not None for p in parsed.command.params if p.required)


def test_there_are_commands_to_check() -> None:
    assert len(cases()) > 50


@pytest.mark.parametrize("line", cases())
def test_command_is_taken_by_the_parser(line: str) -> None:
    parse(line)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("bitloss compare ./llama gptq-4 --suit quick", "--suit"),
        ("bitloss compare ./llama gptq-4 --dtype fp31", "fp31"),
        ("bitloss check runs/x --undecided maybe", "maybe"),
        ("bitloss study recipe ./llama --lik gguf-q4_k_m", "--lik"),
        ("bitloss compar ./llama gptq-4", "compar"),
        ("bitloss quantize ./llama", "[Oo][Uu][Tt]"),
    ],
)
def test_wrong_command_is_refused(line: str, message: str) -> None:
    with pytest.raises(Exception, match=message):
        parse(line)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", _FENCE.sub("", page.read_text(encoding="utf-8")))
    targets = [each.partition("#")[0] for each in _LINK.findall(text) if "://" not in each]
    missing = [each for each in targets if each and not (page.parent / each).exists()]
    assert missing == []


def test_every_page_of_the_site_is_found() -> None:
    """A page is in the navigation, or linked from one that is."""
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    waiting = [DOCS / name for section in navigation for name in names_of(section)]
    assert [str(each) for each in waiting if not each.is_file()] == []
    found: set[Path] = set()
    while waiting:
        page = waiting.pop()
        if page in found or page.suffix != ".md" or not page.is_file():
            continue
        found.add(page)
        links = _LINK.findall(page.read_text(encoding="utf-8"))
        waiting += [(page.parent / each.partition("#")[0]).resolve() for each in links]
    assert sorted(set(DOCS.rglob("*.md")) - found) == []


def names_of(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    else:
        for each in part.values() if isinstance(part, dict) else part:
            yield from names_of(each)


def test_every_command_has_a_section() -> None:
    page = commands_page()
    assert (DOCS / "cli.md").read_text(encoding="utf-8") == page, "run `make options`"
    names = [words for words, _ in commands()]
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == names
    assert {"bitloss compare", "bitloss study", "bitloss study recipe"} <= set(names)
    assert "sweep" not in page


def test_python_page_has_every_public_name() -> None:
    import bitloss

    page = (DOCS / "python.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^::: [\w.]+\.(\w+)$", page, re.MULTILINE))
    assert named == {name for name in bitloss.__all__ if not name.startswith("_")}


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_commands_of_the_tutorial_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, on a few windows and items, but for the reader's own model."""
    monkeypatch.chdir(tmp_path)
    lines = list(shown((DOCS / "tutorial.md").read_text(encoding="utf-8")))
    codes = {}
    for line in lines:
        words = shlex.split(line)[1:]
        if words[0] == "doctor" or "./my-model" in words:
            continue
        codes[line] = main([*words, *(["--limit", "8"] if words[0] == "compare" else [])])
    capsys.readouterr()
    judged = {code for line, code in codes.items() if line.startswith("bitloss check")}
    assert judged <= {0, 1, 3}
    assert {code for line, code in codes.items() if not line.startswith("bitloss check")} == {0}
    assert len(codes) == 6
    assert (tmp_path / "runs" / "tutorial" / "report.html").is_file()
