"""Tokenizers of model directories and GGUF files.

``tokenizer.json`` is the truth where it exists: `tokenizers` reads it as it is. transformers 5
rebuilds some tokenizers from their class and drops the file's own pre-tokenizer (GPT2Tokenizer,
LlamaTokenizer: huggingface/transformers issues 45812 and 45920), so only what the file does not
have is taken from there: BOS and EOS, rules for adding them, the chat template.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from bitloss.contents.encodings import decode_utf8
from bitloss.contents.kinds import JSON
from bitloss.errors import CheckpointError, MissingDependency, UnsupportedModel
from bitloss.formats.gguf.files import find_file
from bitloss.formats.gguf.tokenizer.building import build_tokenizer
from bitloss.formats.gguf.tokenizer.vocabulary import Vocabulary, read_vocabulary
from bitloss.formats.tokenizers.huggingface import HFTokenizer, eos_ids, read_json
from bitloss.formats.tokenizers.matching import (
    compare_tokenizers,
    compare_vocabularies,
    require_rows,
)

__all__ = [
    "HFTokenizer",
    "compare_tokenizers",
    "compare_vocabularies",
    "eos_ids",
    "has_tokenizer",
    "load_tokenizer",
    "require_rows",
]

# Any one of these rows is enough for transformers to build a tokenizer.
_JSON_FILES = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "config.json",
)  # fmt: skip
_FILES = (
    ("tokenizer.json",), ("tokenizer.model",), ("spiece.model",), ("vocab.json", "merges.txt"),
    ("tiktoken.model",), ("tekken.json",),
)  # fmt: skip


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
            cannot be built. For a GGUF file this shows when it is first used.
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
        # Its vocabulary can be compared even where its tokenizer cannot be built.
        vocabulary = read_vocabulary(gguf)
        return HFTokenizer(partial(_from_gguf, gguf, vocabulary), vocabulary)
    tokenizer = HFTokenizer(
        partial(_from_directory, path, trust_remote_code=trust_remote_code),
        unknown_splitting=_unknown_splitting(path),
    )
    tokenizer.hf  # noqa: B018 - a fault of the files shows here, not in the middle of a run
    return tokenizer


def _from_gguf(path: Path, vocabulary: Vocabulary) -> Any:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    wrap: Any = PreTrainedTokenizerFast
    built = build_tokenizer(path, vocabulary)
    named = {"bos": built.bos, "eos": built.eos, "unk": built.unk, "pad": built.pad}
    wrapper = wrap(
        tokenizer_object=Tokenizer(models.BPE()),
        chat_template=vocabulary.chat_template or None,
        clean_up_tokenization_spaces=False,
        **{f"{name}_token": token for name, token in named.items() if token is not None},
    )
    wrapper.name_or_path = str(path)
    # Not as an argument: transformers would copy it, and add tokens to the copy.
    wrapper._tokenizer = built.backend
    return wrapper


def _from_directory(path: Path, *, trust_remote_code: bool) -> Any:
    file = path / "tokenizer.json"
    wrapper = _from_pretrained(path, trust_remote_code=trust_remote_code)
    native = type(wrapper).__module__.startswith("transformers.")
    return _as_the_file_says(path, wrapper) if file.is_file() and native else wrapper


def _as_the_file_says(path: Path, wrapper: Any) -> Any:
    """The same tokenizer with the ids of ``tokenizer.json``, whatever its class made of it."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    if not isinstance(wrapper, PreTrainedTokenizerFast):
        wrapper = _from_pretrained(path, fast=True)
    theirs = wrapper.backend_tokenizer
    try:
        own = Tokenizer.from_file(str(path / "tokenizer.json"))
    except Exception as error:  # the library raises nothing more exact
        raise _damaged(path, error) from error
    own.no_truncation()
    own.no_padding()
    # Those that the other files add; a class has tokens of its own, which the model may not know.
    listed = _listed_tokens(path)
    added = sorted(theirs.get_added_tokens_decoder().items())
    own.add_tokens([token for _, token in added if token.content in listed])
    before, own.post_processor = own.post_processor, theirs.post_processor
    encoding = own.encode("a")
    added = [
        n for n, special in zip(encoding.ids, encoding.special_tokens_mask, strict=True) if special
    ]
    if any(own.id_to_token(number) != theirs.id_to_token(number) for number in added):
        own.post_processor = before
    for name in wrapper.SPECIAL_TOKENS_ATTRIBUTES:
        token = getattr(wrapper, name)
        if token is not None and own.token_to_id(str(token)) is None:
            setattr(wrapper, name, None)
    wrapper._tokenizer = own
    return wrapper


def _listed_tokens(path: Path) -> set[str]:
    """Every text that the files beside ``tokenizer.json`` call a token."""
    found = set(read_json(path / "added_tokens.json"))
    for file in ("tokenizer_config.json", "special_tokens_map.json"):
        values: list[Any] = [
            value for key, value in read_json(path / file).items() if "token" in key
        ]
        while values:
            value = values.pop()
            if isinstance(value, str):
                found.add(value)
            elif isinstance(value, list):
                values += value
            elif isinstance(value, dict):
                values += [value["content"]] if "content" in value else value.values()
    return found


def _unknown_splitting(path: Path) -> str:
    """Why a directory without ``tokenizer.json`` does not say how its text is split."""
    if (path / "tokenizer.json").is_file() or not (path / "merges.txt").is_file():
        return ""
    name = read_json(path / "tokenizer_config.json").get("tokenizer_class")
    general = (None, "GPT2Tokenizer", "GPT2TokenizerFast", "PreTrainedTokenizerFast")
    kind = read_json(path / "config.json").get("model_type")
    if name not in general or kind == "gpt2":
        return ""
    return (
        "there is no tokenizer.json, so how text is split before it is encoded is not known: "
        f"it is split as transformers' {name or 'default'} does"
    )


def _from_pretrained(path: Path, *, fast: bool = False, trust_remote_code: bool = False) -> Any:
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    try:
        if fast:
            return PreTrainedTokenizerFast.from_pretrained(str(path), local_files_only=True)
        return AutoTokenizer.from_pretrained(
            str(path), local_files_only=True, trust_remote_code=trust_remote_code
        )
    except ImportError as error:
        raise MissingDependency("sentencepiece", f"the tokenizer of {path}", extra="all") from error
    except (NotImplementedError, KeyError) as error:
        raise UnsupportedModel(
            f"{path}: transformers cannot build this tokenizer: {error!r}",
            hint="compare the file with its unquantized model as the reference: that one's "
            "tokenizer is used",
        ) from error
    # Of every kind: those of transformers' config classes, and Exception itself of `tokenizers`.
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise _own_code(path, "tokenizer") from error
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> CheckpointError:
    """What is wrong with a tokenizer; a file of another kind, as a pointer, is named as such."""
    for name in _JSON_FILES:
        if (path / name).is_file():
            try:
                decode_utf8((path / name).read_bytes(), path / name, CheckpointError, door=JSON)
            except CheckpointError as wrong:
                return wrong
    return CheckpointError(
        f"{path}: the tokenizer cannot be loaded: {str(error) or type(error).__name__}"[:500],
        hint="download the tokenizer's files again, or name another model's tokenizer",
    )


def _require_native(path: Path) -> None:
    """Refuse a model that exists only as Python code in its directory.

    Models that transformers has learned since keep their ``auto_map``; its own class is used.
    """
    from transformers import CONFIG_MAPPING

    config = read_json(path / "config.json")
    if config.get("auto_map") and config.get("model_type") not in CONFIG_MAPPING:
        raise _own_code(path, f"model type `{config.get('model_type')}`")


def _own_code(path: Path, what: str) -> UnsupportedModel:
    return UnsupportedModel(
        f"{path}: the {what} is Python code of the model's own (`auto_map`)",
        hint="read the code, then allow it with --trust-remote-code",
    )
