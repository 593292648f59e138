"""Which files of a hub repository make up the model that was asked for.

Nothing is downloaded here: the functions take the repository's listing and choose from it, so a
repository that does not fit is refused before its gigabytes arrive.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bitloss.contents.kinds import PACK_FILE
from bitloss.errors import HubError, UnsupportedModel

__all__ = ["choose_files", "choose_gguf", "choose_pack", "gguf_types"]

_SPLIT = re.compile(r"^(?P<stem>.+)-(?P<index>\d{5})-of-(?P<count>\d{5})$", re.IGNORECASE)
_TAG = re.compile(r"[-.]([A-Z0-9_]+)$", re.IGNORECASE)
# Files that accompany a model in GGUF repositories and are not one.
_COMPANIONS = ("mmproj", "imatrix", "mtp-", "eagle3-", "dflash-", "dspark-")
_STANDARD_WEIGHTS = re.compile(r"^model(-\d{5}-of-\d{5})?\.safetensors$")
_TOKENIZER_SUFFIXES = (".json", ".model", ".txt", ".jinja", ".tiktoken")
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


@dataclass(frozen=True, slots=True)
class _Gguf:
    path: str
    stem: str
    tag: str
    index: int
    count: int


def choose_files(
    repo: str, listing: Sequence[str], *, weights: bool = True, with_code: bool = False
) -> tuple[str, ...]:
    """The files of a safetensors model: weights, configuration, tokenizer.

    Only the repository's root is looked at. Where the usual names (``model.safetensors``,
    ``model-00001-of-00002.safetensors``) are there, other copies of the weights beside them
    (``consolidated.safetensors``, ``model.fp16.safetensors``) are left out.

    Args:
        repo: ``org/name``, for messages.
        listing: paths of all files of the repository.
        weights: False asks for configuration and tokenizer alone.
        with_code: whether the model's own Python files come along.

    Raises:
        UnsupportedModel: the repository has only GGUF files, only pickled weights or none.
    """
    root = [path for path in listing if "/" not in path]
    tensors = [path for path in root if path.endswith(".safetensors")]
    if weights and not tensors:
        raise _no_safetensors(repo, listing)
    tensors = [path for path in tensors if _STANDARD_WEIGHTS.match(path)] or tensors
    suffixes = (*_TOKENIZER_SUFFIXES, ".py") if with_code else _TOKENIZER_SUFFIXES
    return (*tensors * weights, *(path for path in root if path.endswith(suffixes)))


def choose_pack(repo: str, listing: Sequence[str], *, whole: bool = True) -> tuple[str, ...]:
    """The files of a pack; those that hubs add (``.gitattributes``, a card) are left.

    Args:
        repo: ``org/name``, for messages.
        listing: paths of all files of the repository.
        whole: False asks for the document alone.

    Raises:
        UnsupportedModel: the repository has no pack in its root.
    """
    if PACK_FILE not in listing:
        raise UnsupportedModel(
            f"`{repo}` has the name of a pack: expected {PACK_FILE} in it, found {len(listing)} "
            "other files",
            hint="check the repository's name; `bitloss pack` makes a pack",
        )
    if not whole:
        return (PACK_FILE,)
    return tuple(path for path in listing if path[0] != "." and path != "README.md")


def choose_gguf(repo: str, listing: Sequence[str], wanted: str) -> tuple[str, ...]:
    """The GGUF file of the wanted type, or all parts of a split one, the first part first.

    Follows llama.cpp's ``-hf org/name:TYPE`` (common/download.cpp, ``find_best_model``): TYPE is
    sought anywhere in the path, whatever its case, with ``.`` or ``-`` after it, and companion
    files (vision projectors, importance matrices, draft models) are no candidates. Where
    llama.cpp takes the first of several matches, a file whose type is exactly TYPE is preferred
    here and a choice that remains open is an error: a measurement says what it measured.

    Args:
        repo: ``org/name``, for messages.
        listing: paths of all files of the repository.
        wanted: ``Q4_K_M`` and the like, or a longer part of the file's name.

    Raises:
        HubError: no file matches, several do, or parts of a split file are missing.
    """
    models = _gguf_models(listing)
    pattern = re.compile(re.escape(wanted) + "[.-]", re.IGNORECASE)
    matching = [file for file in models if file.index == 1 and pattern.search(file.path)]
    exact = [file for file in matching if file.tag == wanted.upper()]
    found = exact or matching
    if not found:
        raise HubError(
            f"`{repo}` has no GGUF file of type `{wanted}`",
            hint=f"choose one of: {', '.join(gguf_types(listing)) or 'none'}",
        )
    if len(found) > 1:
        raise HubError(
            f"`{repo}:{wanted}` fits several files: {', '.join(file.path for file in found)}",
            hint="write more of the name after the colon, up to its `.gguf`",
        )
    first = found[0]
    parts = sorted(
        (file for file in models if (file.stem, file.count) == (first.stem, first.count)),
        key=lambda file: file.index,
    )
    if [file.index for file in parts] != list(range(1, first.count + 1)):
        raise HubError(
            f"`{repo}`: {first.path} is split into {first.count} files, found {len(parts)}",
            hint="choose another type, or report it to the owner of the repository",
        )
    return tuple(file.path for file in parts)


def gguf_types(listing: Sequence[str]) -> tuple[str, ...]:
    """The types of the repository's GGUF models, as they are written after the colon."""
    return tuple(sorted({file.tag or file.path for file in _gguf_models(listing)}))


def _gguf_models(listing: Sequence[str]) -> list[_Gguf]:
    files = []
    for path in listing:
        name = path.rpartition("/")[2]
        if not name.endswith(".gguf") or any(companion in name for companion in _COMPANIONS):
            continue
        stem, index, count = path.removesuffix(".gguf"), 1, 1
        if split := _SPLIT.match(stem):
            stem, index, count = split["stem"], int(split["index"]), int(split["count"])
        tag = _TAG.search(stem)
        files.append(_Gguf(path, stem, tag[1].upper() if tag else "", index, count))
    return files


def _no_safetensors(repo: str, listing: Sequence[str]) -> UnsupportedModel:
    if PACK_FILE in listing:
        return UnsupportedModel(
            f"`{repo}` holds a pack, and its name does not end in `.pack`",
            hint=f"download it (hf download {repo} --local-dir ref.pack), and give the folder as "
            "the reference of `bitloss compare`",
        )
    if types := gguf_types(listing):
        return UnsupportedModel(
            f"`{repo}` holds GGUF files; which one is meant?",
            hint=f"write one of {', '.join(f'{repo}:{kind}' for kind in types)}",
        )
    if any(path.endswith(_PICKLES) for path in listing):
        return UnsupportedModel(
            f"`{repo}` has only pickled weights, which run code when they are read",
            hint="look for a revision or a copy of the model with .safetensors files",
        )
    return UnsupportedModel(
        f"`{repo}` has no model weights: expected .safetensors or .gguf files, "
        f"found {len(listing)} others",
        hint="check the repository's name",
    )
