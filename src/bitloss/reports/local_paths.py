"""Names of files without the folders of one machine, for what is published."""

from __future__ import annotations

import json
import re

from bitloss.results import Comparison

__all__ = ["without_folders", "without_local_paths"]

_LOCAL = re.compile(r"(/|\.{1,2}/|~|file:|[A-Za-z]:\\)")
_FOLDERS = re.compile(r"[/\\]")


def without_folders(word: str) -> str:
    """A word of a command, or a name, without the folders it was typed with.

    A relative path without a dot before it (``models/llama``) cannot be told from a name on a hub,
    names no machine, and stays.
    """
    option, equals, value = word.rpartition("=")
    bare = value.strip("'\"")
    if not _LOCAL.match(bare):
        return word
    return f"{option}{equals}{_FOLDERS.split(bare.rstrip('/'))[-1]}"


def without_local_paths(comparison: Comparison) -> tuple[Comparison, dict[str, str]]:
    """The result with models and texts named by their files alone, in sentences too.

    Args:
        comparison: a run's.

    Returns:
        The result; and the new names by the old ones, where they are others. Two that would have
        one name keep theirs.
    """
    models = [comparison.reference.name, *(variant.name for variant in comparison.variants)]
    names = list(dict.fromkeys((*models, *comparison.reference.corpora)))
    short = {name: without_folders(name) for name in names}
    found = {
        name: new for name, new in short.items()
        if new not in ("", name) and list(short.values()).count(new) == 1
    }  # fmt: skip
    text = comparison.to_json()
    for name in sorted(found, key=len, reverse=True):
        text = text.replace(json.dumps(name)[1:-1], json.dumps(found[name])[1:-1])
    return Comparison.from_json(text), found
