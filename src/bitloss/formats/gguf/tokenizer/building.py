"""The tokenizer of a GGUF file, built as llama.cpp reads it.

Source: ggml-org/llama.cpp, src/llama-vocab.cpp as in llama-cpp-python 0.3.36. Byte-level BPE
(``tokenizer.ggml.model`` is ``gpt2``), BPE on characters (``gemma4``) and SentencePiece's BPE
(``llama``) are built; everything else is refused by its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.tokenizer.pre_tokenizers import PRE_TOKENIZERS, REFUSED, PreTokenizer
from bitloss.formats.gguf.tokenizer.vocabulary import Vocabulary

__all__ = ["GgufTokenizer", "build_tokenizer"]

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BLANK = "\u2581"
_GEMMA4_LIKE = "granite-embed-multi-311m"
_AGAIN = "download or copy the file again: it is damaged or incomplete"
_ELSEWHERE = "name the unquantized model with --tokenizer, whose tokenizer is then used"

# What llama.cpp calls the other kinds of tokenizer.
_OTHER_MODELS = {
    "t5": "Unigram (T5)", "bert": "WordPiece (BERT)", "rwkv": "RWKV", "plamo2": "PLaMo-2",
    "hybriddna": "BPE with DNA", "whitespace": "BPE of words",
}  # fmt: skip

# Tokens that llama.cpp takes for control tokens by their text, whatever type the file gives them:
# ends of generation, then what fills in the middle.
_CONTROL_WORDS = """
    <|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn>
    <|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos>
    <turn|> <|tool_response> <\uff5cend\u2581of\u2581sentence\uff5c> [e~[
    <|fim_prefix|> <fim-prefix> <fim_prefix> <\uff5cfim\u2581begin\uff5c> <PRE> \u2581<PRE>
    <|code_prefix|> <|prefix|> <|fim_suffix|> <fim-suffix> <fim_suffix> <\uff5cfim\u2581hole\uff5c>
    <SUF> \u2581<SUF> <|code_suffix|> <|suffix|> <|fim_middle|> <fim-middle> <fim_middle>
    <\uff5cfim\u2581end\uff5c> <MID> \u2581<MID> <|code_middle|> <|middle|> <|fim_pad|> <fim-pad>
    <fim_pad> <PAD> [PAD] <|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>
    <|file_sep|>
"""
_CONTROL_TEXTS = frozenset(_CONTROL_WORDS.split())
# gpt-oss: always shown, so never control tokens.
_USER_TEXTS = frozenset(("<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"))


@dataclass(frozen=True, slots=True)
class GgufTokenizer:
    """A built tokenizer.

    Attributes:
        backend: the `tokenizers.Tokenizer`; its post-processor adds BOS and EOS.
        bos: the beginning-of-sequence token, None where there is none.
        eos: the end-of-sequence token, None where there is none.
        unk: what stands for unknown text, None where there is none.
        pad: padding, None where there is none.
    """

    backend: Any
    bos: str | None
    eos: str | None
    unk: str | None
    pad: str | None


def build_tokenizer(path: Path, vocabulary: Vocabulary) -> GgufTokenizer:
    """Build the tokenizer.

    Args:
        path: of the file, for messages.
        vocabulary: what it says.

    Raises:
        UnsupportedModel: a kind of tokenizer, or a pre-tokenizer, that is not built.
        CheckpointError: the parts contradict each other.
    """
    from tokenizers import AddedToken

    tokens = [token or f"[EMPTY_{index}]" for index, token in enumerate(vocabulary.tokens)]
    types = _types(tokens, vocabulary.types)
    if vocabulary.model == "llama":
        backend, adds_bos = _sentencepiece(path, vocabulary, tokens, types), True
        defaults: tuple[int | None, ...] = (1, 2, 0)
    else:
        rules = _rules(path, vocabulary)
        backend, adds_bos = _bpe(path, vocabulary, tokens, rules), rules.adds_bos
        defaults = (None, None, None)
    stripped = _strips_right(vocabulary.name)
    # All at once: one by one, thousands of them take minutes.
    backend.add_tokens(
        [
            AddedToken(
                token, special=kind != _USER_DEFINED, normalized=False,
                rstrip=stripped and token not in ("<unk>", "<s>", "<|endoftext|>"),
            )
            for token, kind in zip(tokens, types, strict=True)
            if kind in (_UNKNOWN, _CONTROL, _USER_DEFINED)
        ]
    )  # fmt: skip
    ids = (vocabulary.bos_id, vocabulary.eos_id, vocabulary.unk_id)
    bos, eos, unk = (
        _token(tokens, default if index is None else index)
        for index, default in zip(ids, defaults, strict=True)
    )
    # llama.cpp overrides files of Gemma 4 that say they add none.
    forced = "gemma4" in (vocabulary.model, vocabulary.pre) or vocabulary.pre == _GEMMA4_LIKE
    if vocabulary.adds_bos is not None and not forced:
        adds_bos = vocabulary.adds_bos
    _add_template(
        path, backend, bos=bos if adds_bos else "", eos=eos if vocabulary.adds_eos else ""
    )
    return GgufTokenizer(backend, bos, eos, unk, _token(tokens, vocabulary.pad_id))


def _rules(path: Path, vocabulary: Vocabulary) -> PreTokenizer:
    """The pre-tokenizer that the file names."""
    if vocabulary.model in _OTHER_MODELS:
        raise UnsupportedModel(
            f"{path}: the file's tokenizer is of kind `{vocabulary.model}` "
            f"({_OTHER_MODELS[vocabulary.model]}); expected `gpt2`, `llama` or `gemma4`",
            hint=_ELSEWHERE,
        )
    if vocabulary.model not in ("gpt2", "gemma4"):
        raise UnsupportedModel(
            f"{path}: the file's tokenizer is of the unknown kind `{vocabulary.model}`; "
            "expected `gpt2`, `llama` or `gemma4`",
            hint=_ELSEWHERE,
        )
    name = "gemma4" if vocabulary.model == "gemma4" else vocabulary.pre
    if not name:
        raise UnsupportedModel(
            f"{path}: the file does not name its pre-tokenizer (`tokenizer.ggml.pre`), so its "
            "token ids cannot be known",
            hint="convert the model again with a current llama.cpp, or " + _ELSEWHERE,
        )
    rules = PRE_TOKENIZERS.get(name)
    if rules is None:
        reason = f" ({REFUSED[name]})" if name in REFUSED else ""
        raise UnsupportedModel(
            f"{path}: pre-tokenizer `{name}` (`tokenizer.ggml.pre`) is not supported{reason}",
            hint=_ELSEWHERE,
        )
    return rules


def _bpe(path: Path, vocabulary: Vocabulary, tokens: list[str], rules: PreTokenizer) -> Any:
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers

    ids = {token: index for index, token in enumerate(tokens)}
    if not vocabulary.merges:
        raise CheckpointError(f"{path}: expected `tokenizer.ggml.merges`, got none", hint=_AGAIN)
    # A merge that stands twice counts where it stands first; the blank is between the two parts.
    merges = []
    for merge in dict.fromkeys(vocabulary.merges):
        at = merge.find(" ", 1)
        left, right = (merge[:at], merge[at + 1 :]) if at > 0 else ("", "")
        if left not in ids or right not in ids or left + right not in ids:
            raise CheckpointError(
                f"{path}: the merge {merge!r} is of tokens that the vocabulary lacks", hint=_AGAIN
            )
        merges.append((left, right))
    backend = Tokenizer(
        models.BPE(ids, merges, ignore_merges=rules.ignore_merges, byte_fallback=not rules.bytes)
    )
    split = [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in rules.patterns]
    if rules.bytes:
        last = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([*split, last])
        backend.decoder = decoders.ByteLevel()
    else:
        backend.normalizer = normalizers.Replace(" ", _BLANK)
        backend.pre_tokenizer = pre_tokenizers.Sequence(split)
        backend.decoder = _characters_decoder(strip=False)
    return backend


def _sentencepiece(path: Path, vocabulary: Vocabulary, tokens: list[str], types: list[int]) -> Any:
    """SentencePiece's BPE: of all pairs that make a token, the one of the highest score first."""
    from tokenizers import Tokenizer, models, normalizers

    if not vocabulary.scores:
        raise CheckpointError(f"{path}: expected `tokenizer.ggml.scores`, got none", hint=_AGAIN)
    ids = {token: index for index, token in enumerate(tokens)}
    missing = [byte for byte in range(256) if f"<0x{byte:02X}>" not in ids]
    if missing:
        raise UnsupportedModel(
            f"{path}: the SentencePiece vocabulary lacks {len(missing)} of 256 byte tokens, the "
            f"first is <0x{missing[0]:02X}>",
            hint=_ELSEWHERE,
        )
    merges = _merges_by_score(path, tokens, types, vocabulary.scores, ids)
    backend = Tokenizer(models.BPE(ids, merges, byte_fallback=True))
    prefix = vocabulary.space_prefix is not False
    steps = [normalizers.Prepend(_BLANK)] if prefix else []
    backend.normalizer = normalizers.Sequence([*steps, normalizers.Replace(" ", _BLANK)])
    backend.decoder = _characters_decoder(strip=prefix)
    return backend


def _merges_by_score(
    path: Path,
    tokens: list[str],
    types: list[int],
    scores: tuple[float, ...],
    ids: dict[str, int],
) -> list[tuple[str, str]]:
    merges: list[tuple[str, str]] = []
    last: int | None = None
    for index in sorted(range(len(tokens)), key=lambda index: -scores[index]):
        token = tokens[index]
        # Tokens of the user's are cut out of the text before, and never built.
        if types[index] == _USER_DEFINED or ids[token] != index:
            continue
        pairs = _pairs(token, ids)
        if not pairs:
            continue
        merges += pairs
        if types[index] == _NORMAL:
            if last is not None and scores[last] == scores[index]:
                raise UnsupportedModel(
                    f"{path}: tokens {tokens[last]!r} and {token!r} have the same score "
                    f"{scores[index]:g}, so the order of merges cannot be known",
                    hint="convert the model again from its tokenizer.model, or " + _ELSEWHERE,
                )
            last = index
    return merges


def _pairs(token: str, ids: dict[str, int]) -> list[tuple[str, str]]:
    """Ways to build a token of two others, the longest on the left first.

    Of pairs that make the same token llama.cpp takes the leftmost in the text. Only in periodic
    texts such pairs overlap; those are built from the left, so the longer part is on the left.
    """
    return [
        (token[:at], token[at:])
        for at in range(len(token) - 1, 0, -1)
        if token[:at] in ids and token[at:] in ids
    ]


def _characters_decoder(*, strip: bool) -> Any:
    from tokenizers import decoders

    steps = [decoders.Replace(_BLANK, " "), decoders.ByteFallback(), decoders.Fuse()]
    return decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if strip else [])])


def _types(tokens: list[str], types: tuple[int, ...]) -> list[int]:
    """The tokens' types as llama.cpp corrects them."""
    found = [
        _USER_DEFINED if token in _USER_TEXTS else _CONTROL if token in _CONTROL_TEXTS else kind
        for token, kind in zip(tokens, types, strict=True)
    ]
    ids = {token: index for index, token in enumerate(tokens)}
    # Harmony and Solar: where calls have ends of their own, <|end|> ends a part only.
    harmony = {"<|return|>", "<|call|>", "<|end|>"}, {"<|calls|>", "<|flush|>", "<|end|>"}, {
        "<|call|>", "<|flush|>", "<|end|>",
    }  # fmt: skip
    if any(texts <= ids.keys() for texts in harmony):
        found[ids["<|end|>"]] = _USER_DEFINED
    if "</s>" in ids and ("<|tool_response>" in ids or "<|plamo:eos|>" in ids):
        found[ids["</s>"]] = _NORMAL
    return found


def _strips_right(name: str) -> bool:
    """Whether blanks after special tokens are dropped; GGUF does not store it."""
    return any(model in name.lower() for model in ("phi-3", "phi3"))


def _token(tokens: list[str], index: int | None) -> str | None:
    return tokens[index] if index is not None and 0 <= index < len(tokens) else None


def _add_template(path: Path, backend: Any, *, bos: str | None, eos: str | None) -> None:
    """Add BOS before and EOS behind every text; an empty string adds nothing."""
    from tokenizers import processors

    for name, token in (("bos", bos), ("eos", eos)):
        if token is None:
            raise CheckpointError(
                f"{path}: the file adds {name.upper()} to texts and names no such token "
                f"(`tokenizer.ggml.{name}_token_id`)",
                hint=_AGAIN,
            )
    special = {token: backend.token_to_id(token) for token in (bos, eos) if token}
    single = [token for token in (bos, "$A", eos) if token]
    backend.post_processor = processors.TemplateProcessing(
        single=single, pair=[*single, "$B:1"], special_tokens=list(special.items())
    )
