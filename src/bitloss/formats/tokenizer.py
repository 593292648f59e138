"""Tokenizers through transformers, and whether two of them mean the same by their ids."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.errors import (
    CheckpointError,
    Incomparable,
    MissingDependency,
    UnsupportedModel,
    UsageError,
)
from bitloss.formats.gguf.files import find_file
from bitloss.formats.gguf.vocabulary import Vocabulary, read_vocabulary
from bitloss.spec.fingerprint import canonical_json, sha256_text
from bitloss.types import IntArray

__all__ = ["HFTokenizer", "compare_vocabularies", "eos_ids", "has_tokenizer", "load_tokenizer"]

# Any one of these rows is enough for transformers to build a tokenizer.
_FILES = (
    ("tokenizer.json",), ("tokenizer.model",), ("spiece.model",), ("vocab.json", "merges.txt"),
    ("tiktoken.model",), ("tekken.json",),
)  # fmt: skip

# Rows that exist so that a size comes out round; no text ever becomes one of them.
_PLACEHOLDER = re.compile(
    r"^[<\[](\||)?_*(pad|unused|dummy|reserved|extra|fim_pad|placeholder)[\w .:-]*(\||)?[>\]]$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class HFTokenizer:
    """Satisfies `bitloss.types.TextTokenizer` with a tokenizer of transformers.

    Attributes:
        load: makes the transformers object; called once, when it is first needed.
        listed: for GGUF, the vocabulary as the file has it: transformers' conversion may add to it.
    """

    load: Callable[[], Any]
    listed: Vocabulary | None = None

    @cached_property
    def hf(self) -> Any:
        """The transformers object."""
        return self.load()

    @property
    def bos_id(self) -> int | None:
        """Id of the beginning-of-sequence token, if there is one."""
        return None if self.hf.bos_token_id is None else int(self.hf.bos_token_id)

    @property
    def eos_id(self) -> int | None:
        """Id of the end-of-sequence token, if there is one."""
        return None if self.hf.eos_token_id is None else int(self.hf.eos_token_id)

    @cached_property
    def adds_bos(self) -> bool:
        """Whether encoding with special tokens puts BOS in front."""
        ids = self.encode("a", special=True)
        return self.bos_id is not None and len(ids) > 1 and int(ids[0]) == self.bos_id

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return len(self.hf) if self.listed is None else len(self.listed.tokens)

    @cached_property
    def digest(self) -> str:
        """Sha256 (hex) over everything that decides the ids of a text."""
        backend = getattr(self.hf, "backend_tokenizer", None)
        rules = json.loads(backend.to_str()) if backend is not None else type(self.hf).__name__
        if isinstance(rules, dict):  # set by calls, not by the files
            rules = {key: rules[key] for key in rules if key not in ("truncation", "padding")}
        special = [self.bos_id, self.eos_id, self.adds_bos]
        return sha256_text(canonical_json([rules, self.vocabulary(), special]))

    def vocabulary(self) -> dict[str, int]:
        """Ids by token string, as the tokenizer's files spell it."""
        if self.listed is not None:
            return {token: number for number, token in enumerate(self.listed.tokens)}
        return {token: int(number) for token, number in self.hf.get_vocab().items()}

    def encode(self, text: str, *, special: bool) -> IntArray:
        """Token ids of `text`, shape ``[n]``; `special` lets the tokenizer add BOS and EOS."""
        # verbose: the length warning is about the model's context, which windows respect.
        encoding = self.hf(
            text, add_special_tokens=special, verbose=False, return_attention_mask=False,
            return_token_type_ids=False,
        )  # fmt: skip
        return np.asarray(encoding["input_ids"], dtype=np.int32)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of generated ids, without special tokens; ids that nobody has are left out."""
        text: str = self.hf.decode(list(ids), skip_special_tokens=True)
        return text

    @property
    def bos_text(self) -> str:
        """The beginning-of-sequence token as text; empty where there is none."""
        return str(self.hf.bos_token or "")

    def chat(self, user: str, *, system: str = "") -> str:
        """One user message in the model's chat template, up to where the answer begins.

        The text has the template's special tokens in it, so it is encoded without adding any.

        Args:
            user: the message.
            system: what stands before it as the system's message, if anything; with a template
                that takes none it is put in front of the user's message.

        Raises:
            UsageError: the tokenizer has no template, or the template refuses the message.
        """
        if not self.hf.chat_template:
            raise UsageError(
                f"the tokenizer of {self.hf.name_or_path} has no chat template",
                hint="drop --chat, or use a chat-tuned model",
            )
        from jinja2 import TemplateError

        message = {"role": "user", "content": user}
        tries = [[message]]
        if system:
            tries = [
                [{"role": "system", "content": system.strip()}, message],
                [{"role": "user", "content": system + user}],
            ]
        refused: Exception | None = None
        for messages in tries:
            try:
                text: str = self.hf.apply_chat_template(
                    messages, tokenize=False, add_generation_prompt=True
                )
            except TemplateError as error:
                refused = error
            else:
                return text
        raise UsageError(
            f"the chat template of {self.hf.name_or_path} refuses a message: {refused}",
            hint="drop --chat, or correct tokenizer_config.json or chat_template.jinja",
        ) from refused


def eos_ids(tokenizer: HFTokenizer, path: Path) -> frozenset[int]:
    """Tokens that end a generation: the tokenizer's, and those of the model's own settings.

    These are what transformers' `generate` stops at: ``generation_config.json`` (a chat model's
    end of turn often stands only there), or ``config.json`` where that is absent.

    Args:
        tokenizer: the model's.
        path: its directory; a file, or a directory without settings, adds nothing.

    Raises:
        CheckpointError: the settings are not JSON, or not ids.
    """
    found = set() if tokenizer.eos_id is None else {tokenizer.eos_id}
    file = path / "generation_config.json"
    if not file.is_file():
        file = path / "config.json"
    value = _json(file).get("eos_token_id")
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(number, int) for number in values):
        raise CheckpointError(
            f"{file}: `eos_token_id` is {value!r}; expected a token id or a list of them",
            hint="correct it, or download the file again",
        )
    return frozenset(found.union(values))


def has_tokenizer(path: Path) -> bool:
    """Whether a model's path brings a tokenizer: a ``.gguf`` file always does."""
    return _has_files(path) or find_file(path) is not None


def _has_files(path: Path) -> bool:
    return any(all((path / name).is_file() for name in names) for names in _FILES)


def load_tokenizer(path: Path, *, trust_remote_code: bool = False) -> HFTokenizer:
    """Load the tokenizer of a model directory or a ``.gguf`` file.

    Args:
        path: of the directory or file.
        trust_remote_code: let Python code from the directory run.

    Raises:
        CheckpointError: the path has no tokenizer, or a damaged one.
        UnsupportedModel: the tokenizer is Python code of the model's own, or of a kind that
            transformers does not read.
        MissingDependency: a package that this kind of tokenizer needs is not installed.
    """
    if not has_tokenizer(path):
        raise CheckpointError(
            f"{path}: no tokenizer: expected tokenizer.json, tokenizer.model or vocab.json "
            "with merges.txt",
            hint="copy the tokenizer's files from the unquantized model",
        )
    if not trust_remote_code and path.is_dir():
        _require_native(path)
    gguf = find_file(path) if not _has_files(path) else None
    if gguf is not None:
        # Its vocabulary can be compared even where transformers cannot build a tokenizer.
        return HFTokenizer(partial(_from_gguf, gguf), read_vocabulary(gguf))
    tokenizer = HFTokenizer(
        partial(_from_pretrained, path, path, trust_remote_code=trust_remote_code)
    )
    tokenizer.hf  # noqa: B018 - a fault of the files shows here, not in the middle of a run
    return tokenizer


def _from_gguf(path: Path) -> Any:
    # transformers prefers a tokenizer.json that lies beside the file, of whatever model.
    with tempfile.TemporaryDirectory(prefix="bitloss-") as folder:
        (Path(folder) / path.name).symlink_to(path.resolve())
        return _from_pretrained(path, Path(folder), gguf_file=path.name)


def _from_pretrained(path: Path, folder: Path, **options: Any) -> Any:
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, **options)
    except ImportError as error:
        package, extra = ("gguf", "gguf") if path.is_file() else ("sentencepiece", "all")
        raise MissingDependency(package, f"the tokenizer of {path}", extra=extra) from error
    except (NotImplementedError, KeyError) as error:
        raise UnsupportedModel(
            f"{path}: transformers cannot build this tokenizer: {error!r}",
            hint="compare the file with its unquantized model as the reference: that one's "
            "tokenizer is used",
        ) from error
    except (OSError, ValueError, TypeError, AttributeError) as error:
        if "trust_remote_code" in str(error):
            raise _own_code(path, "tokenizer") from error
        raise CheckpointError(
            f"{path}: the tokenizer cannot be loaded: {error}"[:500],
            hint="download the tokenizer's files again, or name another model's tokenizer",
        ) from error


def compare_vocabularies(reference: HFTokenizer, variant: HFTokenizer) -> str:
    """Hold two vocabularies against each other, id by id.

    Returns:
        An empty string where they are identical, else a note on padding: rows at the end that
        only one of them has and that no text becomes.

    Raises:
        Incomparable: an id stands for different tokens; names the first.
    """
    ours, theirs = _by_id(reference), _by_id(variant)
    padding = {"reference": 0, "variant": 0}
    for number in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(number), theirs.get(number)
        if mine == other or _spelled_alike(mine, other):
            continue
        if mine is None and _is_padding(number, other, variant):
            padding["variant"] += 1
        elif other is None and _is_padding(number, mine, reference):
            padding["reference"] += 1
        else:
            raise Incomparable(
                f"different vocabularies: id {number} is {_shown(mine)} in the reference and "
                f"{_shown(other)} in the variant",
                hint="compare a quantized copy of the reference, tokenizer included",
            )
    parts = [f"{count} rows in the {side} only" for side, count in padding.items() if count]
    return f"padded vocabulary: {' and '.join(parts)}" if parts else ""


def _by_id(tokenizer: HFTokenizer) -> dict[int, str]:
    if tokenizer.listed is not None:  # where a token may stand twice
        return dict(enumerate(tokenizer.listed.tokens))
    return {number: token for token, number in tokenizer.vocabulary().items()}


def _is_padding(number: int, token: str | None, owner: HFTokenizer) -> bool:
    """Whether a token that the other side lacks is never met in text."""
    if token is None:
        return True
    if _PLACEHOLDER.match(token):
        return True
    if owner.listed is not None:
        return number in owner.listed.unused
    return bool(number == owner.hf.pad_token_id)


def _spelled_alike(one: str | None, other: str | None) -> bool:
    # llama.cpp's converter writes the blanks of user-defined tokens as blanks.
    if one is None or other is None:
        return False
    return one.replace("\u2581", " ") == other.replace("\u2581", " ")


def _shown(token: str | None) -> str:
    return "nothing" if token is None else repr(token)


def _require_native(path: Path) -> None:
    """Refuse a model that exists only as Python code in its directory.

    Models that transformers has learned since keep their ``auto_map``; its own class is used.
    """
    from transformers import CONFIG_MAPPING

    config = _json(path / "config.json")
    if config.get("auto_map") and config.get("model_type") not in CONFIG_MAPPING:
        raise _own_code(path, f"model type `{config.get('model_type')}`")


def _own_code(path: Path, what: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{path}: the {what} is Python code of the model's own (`auto_map`)",
        hint="read the code, then allow it with --trust-remote-code",
    )


def _json(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(
            f"{file}: not valid JSON: {error}", hint="download or copy it again"
        ) from error
    return value if isinstance(value, dict) else {}
