"""Example task files, one for each rule, for a user to begin with."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

from bitloss import registry
from bitloss.errors import UnknownName, UsageError
from bitloss.files import make_folder, write_text

__all__ = ["KINDS", "NEEDS_CHAT", "write_example"]

KINDS = (
    "choice", "exact_match", "regex", "contains", "python_tests", "gold_likelihood", "tool_call",
    "refusal",
)  # fmt: skip
"""The scoring rules, as `bitloss.tasks.custom.schema.RULES` (which needs pydantic) has them."""
NEEDS_CHAT = ("tool_call", "refusal")
"""Those that are put to a model through its chat template."""
_ELSEWHERE = "give another folder with --out"
_PLACEHOLDER = "my-task"


def write_example(name: str, kind: str, folder: Path) -> tuple[Path, Path]:
    """Write an example of a task file and its data.

    Args:
        name: of the task, and of both files; the ending of one of them is left out.
        kind: one of `KINDS`.
        folder: made where it is not there.

    Returns:
        ``folder/NAME.yaml`` and ``folder/NAME.jsonl``.

    Raises:
        UnknownName: no such kind.
        UsageError: no name for a task, or one that bitloss has; or a file is there already.
        StorageError: the files cannot be written.
    """
    if kind not in KINDS:
        raise UnknownName("kind of task", kind, KINDS)
    name = re.sub(r"\.(ya?ml|jsonl)$", "", name, flags=re.IGNORECASE)  # a file's name, for a task's
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise UsageError(
            f"expected a name of letters, digits, `_`, `-` and `.`, got `{name}`",
            hint="give the folder with --out",
        )
    if name in registry.TASKS:
        raise UsageError(f"bitloss has a task `{name}`", hint="choose another name")
    written = (folder / f"{name}.yaml", folder / f"{name}.jsonl")
    for path in written:
        if path.exists():
            raise UsageError(
                f"`{path}` is there already, and is not overwritten",
                hint="choose another name, or another folder with --out",
            )
    texts = [_example(kind, path.suffix).replace(_PLACEHOLDER, name) for path in written]
    make_folder(folder, elsewhere=_ELSEWHERE)
    for path, text in zip(written, texts, strict=True):
        write_text(path, text, elsewhere=_ELSEWHERE)
    return written


def _example(kind: str, suffix: str) -> str:
    return files("bitloss.tasks.custom").joinpath("example_files", kind + suffix).read_text("utf-8")
