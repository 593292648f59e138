"""What a pack has of its model: head, config, tokenizer, license; and how it is opened again."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bitloss.engines.dense.precision import as_precision
from bitloss.engines.dense.scoring.head import load_head, read_head
from bitloss.engines.values import Candidate, Model
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.files import write_bytes, write_text
from bitloss.formats.base import ModelIdentity, implied_keys
from bitloss.formats.gguf.files import find_file, open_files
from bitloss.formats.gguf.header import metadata_alone
from bitloss.formats.tokenizers.loading import HFTokenizer, load_tokenizer
from bitloss.results.pack import PackedHead
from bitloss.runner.packs.opened import Pack
from bitloss.types import ModelInfo

if TYPE_CHECKING:
    import torch

__all__ = [
    "CONFIG",
    "HEAD",
    "TOKENIZER",
    "find_license",
    "open_model",
    "open_tokenizer",
    "write_model",
]

HEAD = "head.safetensors"
CONFIG = "model.json"
TOKENIZER = "tokenizer"
_GGUF = "tokenizer.gguf"
# What a hub's tokenizers consist of (`bitloss.formats.location.hub_files`), and their terms.
_SUFFIXES = (".json", ".model", ".txt", ".jinja", ".tiktoken")
_TERMS = re.compile(r"(LICEN[SC]E|NOTICE|USE_POLICY)", re.IGNORECASE)
_LARGEST = 64 << 20
_FRONT = re.compile(r"\A---\n(.*?)\n---", re.DOTALL)
_NAMED = re.compile(r"^(license_name|license):[ \t]*['\"]?([^\s'\"#]+)", re.MULTILINE)


@dataclass(frozen=True)
class HeadAlone:
    """A checkpoint with the reference's head, and nothing else; satisfies `Checkpoint`.

    Attributes:
        info: facts about the files that the pack was made of.
        config: of the model.
        implied: see `bitloss.formats.base.implied_keys`.
        load: reads the head's tensors.
    """

    info: ModelInfo
    config: dict[str, Any]
    implied: frozenset[str] | None
    load: Any = field(repr=False)
    _tensors: dict[str, torch.Tensor] = field(default_factory=dict, repr=False)

    def names(self) -> tuple[str, ...]:
        """See `Checkpoint.names`."""
        return tuple(self._read())

    def shape(self, name: str) -> tuple[int, ...]:
        """See `Checkpoint.shape`."""
        return tuple(self._read()[name].shape)

    def read(self, name: str, dtype: torch.dtype | None = None) -> torch.Tensor:
        """See `Checkpoint.read`."""
        del dtype  # what was quantized was decoded when the pack was made
        return self._read()[name]

    def _read(self) -> dict[str, torch.Tensor]:
        if not self._tensors:
            self._tensors.update(self.load())
        return self._tensors


def write_model(folder: Path, candidate: Candidate) -> PackedHead:
    """Write head, config and tokenizer of a reference, and check that the head is the model's.

    Raises:
        CheckpointError: the model's files are incomplete.
        StorageError: the folder cannot be written.
        UnsupportedModel: its head cannot be read without the rest of the model.
    """
    from safetensors.torch import save_file

    from bitloss.files import replacing

    model = candidate.model
    assert model.weights is not None, "a pack is made of weights"
    precision = as_precision(candidate.arithmetic)
    stored = read_head(model.weights, precision=precision)
    tensors = {stored.name: stored.weight.contiguous()}
    if stored.bias is not None:
        tensors[stored.bias_name] = stored.bias.contiguous()
    from safetensors import SafetensorError

    with replacing(folder / HEAD, also=(SafetensorError,)) as temporary:
        save_file(tensors, temporary)
    write_text(folder / CONFIG, json.dumps(dict(model.identity.config), indent=1) + "\n")
    alone = HeadAlone(
        model.identity.info, dict(model.identity.config), implied_keys(model.weights),
        lambda: tensors,
    )  # fmt: skip
    opened = load_head(alone, precision=precision, device="cpu")
    if not opened.is_equivalent(load_head(model.weights, precision=precision, device="cpu")):
        raise UnsupportedModel(
            f"{model.name}: its head cannot be kept apart from its other weights",
            hint="compare with the model itself, or report this architecture",
        )
    _write_tokenizer(folder, candidate)
    return PackedHead(
        weight=stored.name,
        bias=stored.bias_name,
        scale=stored.finish.scale,
        soft_cap=stored.finish.soft_cap,
    )


def open_model(pack: Pack, name: str) -> Model:
    """The reference as engines get it: with a head, and hidden states that were computed before.

    Args:
        pack: the pack.
        name: as the user wrote it.

    Raises:
        CheckpointError: its config is damaged.
    """
    from dataclasses import replace

    reference = pack.document.reference
    info = replace(reference.info, name=name)
    try:
        config = json.loads((pack.root / CONFIG).read_bytes())
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{pack.root / CONFIG}: damaged ({error})",
            hint="download or copy the pack again, complete",
        ) from error
    implied = None if reference.implied is None else frozenset(reference.implied)
    head = HeadAlone(info, config, implied, partial(pack.load, HEAD))
    return Model(
        name,
        ModelIdentity(info, config),
        head,
        pack.root,
        recorded=json.loads(reference.identity),
    )


def open_tokenizer(pack: Pack) -> HFTokenizer:
    """The run's tokenizer; raises as `load_tokenizer` does."""
    folder = pack.root / TOKENIZER
    return load_tokenizer(folder / _GGUF if (folder / _GGUF).is_file() else folder)


def find_license(path: Path) -> str:
    """What a model's card or file says of its license; empty if it says nothing."""
    file = find_file(path)
    if file is not None:
        metadata = open_files(file).metadata
        return str(metadata.get("general.license.name") or metadata.get("general.license") or "")
    card = path / "README.md"
    try:
        front = _FRONT.match(card.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""
    named = dict(_NAMED.findall(front[1])) if front else {}
    return named.get("license_name") or named.get("license") or ""


def _write_tokenizer(folder: Path, candidate: Candidate) -> None:
    path = candidate.model.path
    assert path is not None, "a reference that is read has files"
    target = folder / TOKENIZER
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    file = find_file(path)
    if file is not None and not (path.is_dir() and any(_tokenizer_files(path))):
        write_bytes(target / _GGUF, metadata_alone(file))
        return
    for one in _tokenizer_files(path):
        write_bytes(target / one.name, one.read_bytes())


def _tokenizer_files(path: Path) -> Iterator[Path]:
    """Small files that tokenizers are read from, and the terms that go with them."""
    for file in sorted(path.iterdir()):
        wanted = file.suffix in _SUFFIXES and not file.name.endswith(".index.json")
        wanted = wanted or _TERMS.match(file.name) is not None
        if wanted and file.is_file() and file.stat().st_size <= _LARGEST:
            yield file
