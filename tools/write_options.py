"""Write what follows from the declared options and the commands, in code and in the docs.

    make options

All files are checked in; a test holds them to the declarations.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from bitloss.environment import VARIABLES
from bitloss.spec.options import COMPARE, PACK, PERPLEXITY, QUANTIZE, Declared
from bitloss.spec.run import options_of
from tools.write_commands import commands_page

__all__ = ["FILES", "options_page", "typed_keywords"]

ROOT = Path(__file__).resolve().parents[1]

# `evaluate_perplexity` takes one text, as `corpus`.
_CLASSES = {
    "CompareOptions": ("bitloss.compare", COMPARE, ()),
    "PerplexityOptions": ("bitloss.evaluate_perplexity", PERPLEXITY, ("corpora",)),
    "PackOptions": ("bitloss.pack", PACK, ()),
    "QuantizeOptions": ("bitloss.quantize", QUANTIZE, ()),
}

_KEYWORDS = '''\
"""A run's options as keywords in Python. Written by ``make options``; do not edit.

Names, types and help come from `bitloss.spec.run.RunSpec`, as do the defaults of what is not given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

from bitloss.spec.calibration import Calibration

__all__ = ["CompareOptions", "PackOptions", "PerplexityOptions", "QuantizeOptions", "StrPath"]

StrPath = str | PathLike[str]
'''

_PAGE = """\
# Options

<!-- Written by `make options` from the declarations in src/bitloss/; do not edit. -->

What a run measures, and how, is chosen by the options below, on the command line or in Python.
`bitloss compare --help` lists them with the options that only concern output.

| option | in Python | default | commands | meaning |
|---|---|---|---|---|
{options}

- In Python, `compare` stands for `bitloss.compare`, `perplexity` for `bitloss.evaluate_perplexity`,
  `quantize` for `bitloss.quantize` and `pack` for `bitloss.pack`.
- The Python keyword `calibration` takes a name, a path, or all three values at once:
  `bitloss.Calibration("code", samples=64, length=1024)`. `bitloss.evaluate_perplexity` takes one
  text, as `corpus`.
- A run's default directory, `runs/<model>-<fingerprint>`, depends on the models and on every
  option but `--replicates`: the same choices resume in the same directory, more replicates are
  added to those that are there, and other choices start in another.

## Environment variables

An option takes precedence over a variable. A variable that is set to nothing counts as not set.

| variable | meaning |
|---|---|
{variables}

bitloss reads no other variables. Libraries read their own: `HF_HOME`, `HF_ENDPOINT`, `HF_TOKEN` and
`HF_HUB_OFFLINE` (huggingface_hub), `HTTPS_PROXY`, `NO_COLOR`, `OMP_NUM_THREADS` and
`CUDA_VISIBLE_DEVICES`.
"""


def typed_keywords() -> str:
    """The text of ``src/bitloss/spec/choices.py``."""
    return "".join([_KEYWORDS, *(_keyword_class(name) for name in _CLASSES)])


def options_page() -> str:
    """The text of ``docs/options.md``."""
    return _PAGE.format(
        options="\n".join(map(_option_row, options_of())),
        variables="\n".join(f"| `{each.name}` | {each.meaning} |" for each in VARIABLES),
    )


def _keyword_class(name: str) -> str:
    function, command, without = _CLASSES[name]
    options = [each for each in options_of(command, deep=False) if each.keyword not in without]
    lines = ["", "", f"class {name}(TypedDict, total=False):"]
    lines += [f'    """Keywords of `{function}`.', "", "    Attributes:"]
    for each in options:
        lines += _wrap(f"{each.keyword}: {_lower(each.option.help)}")
    lines += ['    """', ""]
    lines += [f"    {each.keyword}: {_type(each)}" for each in options]
    return "\n".join(lines) + "\n"


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _wrap(text: str) -> list[str]:
    return textwrap.wrap(text, 100, initial_indent=" " * 8, subsequent_indent=" " * 12)


def _type(each: Declared) -> str:
    if each.option.keyword:
        return each.option.keyword
    if get_origin(each.type) is Literal:
        return "Literal[" + ", ".join(f'"{value}"' for value in get_args(each.type)) + "]"
    return each.type.__name__ if isinstance(each.type, type) else str(each.type)


def _option_row(each: Declared) -> str:
    keyword = f"`{each.keyword}`" if len(each.path) == 1 else f"`{'.'.join(each.path)}`"
    cells = [
        f"`{each.flag}`", keyword, _default(each), ", ".join(each.option.commands),
        each.option.line + _values(each),
    ]  # fmt: skip
    return "| " + " | ".join(cells) + " |"


def _default(each: Declared) -> str:
    if each.option.default:
        return each.option.default
    if each.default is None:
        return "none"
    return "off" if each.default is False else f"`{each.default}`"


def _values(each: Declared) -> str:
    """What a value can be, where that is not plain from the meaning."""
    choices: tuple[Any, ...] = get_args(each.type) if get_origin(each.type) is Literal else ()
    parts = []
    if choices:
        parts.append("One of " + ", ".join(f"`{value}`" for value in choices) + ".")
    if each.option.minimum is not None:
        parts.append(f"At least {each.option.minimum}.")
    if each.option.above is not None:
        parts.append(f"More than {each.option.above}.")
    return "".join(f" {part}" for part in parts)


FILES = {
    ROOT / "src" / "bitloss" / "spec" / "choices.py": typed_keywords,
    ROOT / "docs" / "options.md": options_page,
    ROOT / "docs" / "cli.md": commands_page,
}


if __name__ == "__main__":
    for path, text in FILES.items():
        path.write_text(text(), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
