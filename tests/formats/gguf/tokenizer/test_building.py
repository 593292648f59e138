"""Oracle: llama.cpp's own tokenizer on files that the library `gguf` wrote; ids by hand."""

from __future__ import annotations

import importlib.util
import random
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats.gguf.tokenizer.building import build_tokenizer
from bitloss.formats.gguf.tokenizer.pre_tokenizers import PRE_TOKENIZERS, REFUSED
from bitloss.formats.gguf.tokenizer.vocabulary import read_vocabulary
from bitloss.formats.tokenizers.probe import PROBE
from peers import llama_cpp
from peers.vocabulary_file import BYTE, CONTROL, greedy_merges, write_bpe, write_sentencepiece

needs_llama_cpp = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)
BYTES = [name for name, rules in PRE_TOKENIZERS.items() if rules.bytes]
CHARACTERS = [name for name, rules in PRE_TOKENIZERS.items() if not rules.bytes]
SPECIAL = ("a<|im_end|>b", " <think> x<think>", "<|im_start|>user\nHi<|im_end|>\n", "", "<unk>")
TEXTS = (*PROBE, *SPECIAL)

# Where llama.cpp's patterns differ from the regular expression of the model's own tokenizer.json,
# which its source quotes: combining marks are no letters, capitals beyond ASCII have no case, some
# patterns know no case at all, and digits are grouped where letters follow, in one piece with the
# blanks before them.
MARKS = "e\u0301a\u0308 combining"
CAPITALS = "\u00c9COLE \u00dcBER \u041c\u043e\u0441\u043a\u0432\u0430 \u0410\u0411\u0412"
CAMEL = (
    "HelloWorld helloWORLD iPhone eBay McDonald XMLHttpRequest O'Neil rock'n'roll 'tis D'Artagnan"
)
DIGITS = "a1b22c333d4444e x1 1x 12ab34 \u0663\u0664\u0665 \u00bd \u00b2 \u2167"
BLANKS = "x  12   345\t6  7"
DIFFERENT = {
    "tekken": {MARKS, CAPITALS},
    "youtu": {CAMEL},
    "kimi-k2": {CAMEL, MARKS},
    "tiny_aya": {CAMEL, DIGITS, BLANKS},
    "cohere2moe": {CAMEL, DIGITS, BLANKS},
} | {name: {MARKS, CAPITALS} for name in ("gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2")}


def encode(file: Path, text: str, *, special: bool = False, parse: bool = True) -> list[int]:
    backend = build_tokenizer(file, read_vocabulary(file)).backend
    backend.encode_special_tokens = not parse
    ids: list[int] = backend.encode(text, add_special_tokens=special).ids
    return ids


@pytest.fixture(scope="module")
def merged() -> tuple[list[str], list[str]]:
    return greedy_merges(PROBE)


def bpe_files(folder: Path, merged: tuple[list[str], list[str]], names: list[str]) -> list[Path]:
    count = len(merged[0])
    return [
        write_bpe(
            folder / f"{number}.gguf", *merged, name, control=["<|im_start|>", "<|im_end|>"],
            user=["<think>"], bos_token_id=count, eos_token_id=count + 1,
        )
        for number, name in enumerate(names)
    ]  # fmt: skip


@needs_llama_cpp
@pytest.mark.parametrize("parse", [True, False])
def test_every_pre_tokenizer_is_llama_cpps(
    parse: bool, merged: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    files = bpe_files(tmp_path, merged, BYTES)
    expected = llama_cpp.token_ids(files, list(TEXTS), special=True, parse_special=parse)
    for name, file, theirs in zip(BYTES, files, expected, strict=True):
        backend = build_tokenizer(file, read_vocabulary(file)).backend
        backend.encode_special_tokens = not parse
        ours = [backend.encode(text).ids for text in TEXTS]
        different = {
            text for text, mine, ids in zip(TEXTS, ours, theirs, strict=True) if mine != ids
        }
        assert different == DIFFERENT.get(name, set()), name


def test_the_probe_tells_every_two_pre_tokenizers_apart(
    merged: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    """By hand: an error in one pattern must not go unseen."""
    kinds = {rules.patterns: name for name, rules in PRE_TOKENIZERS.items() if rules.bytes}
    files = bpe_files(tmp_path, merged, list(kinds.values()))
    found = {}
    for name, file in zip(kinds.values(), files, strict=True):
        backend = build_tokenizer(file, read_vocabulary(file)).backend
        found[name] = [backend.encode(text, add_special_tokens=False).ids for text in PROBE]
    alike = {(one, two) for one, two in combinations(found, 2) if found[one] == found[two]}
    # These two describe the same in different words.
    assert alike == {("grok-2", "llada-moe")}


@needs_llama_cpp
@pytest.mark.parametrize("name", CHARACTERS)
def test_bpe_on_characters_is_llama_cpps(name: str, tmp_path: Path) -> None:
    letters = sorted({c for text in PROBE for c in text.replace(" ", "\u2581") if ord(c) < 0x3000})
    tokens = [f"<0x{byte:02X}>" for byte in range(256)] + letters
    merges = ["\u2581 t", "t h", "h e", "th e", "\u2581 the", "\n \n", "i n", "\u2581 \u2581"]
    tokens += [merge.replace(" ", "") for merge in merges]
    file = write_bpe(
        tmp_path / "v.gguf", tokens, merges, name, control=["<|im_start|>", "<|im_end|>"],
        user=["<think>"], bos_token_id=len(tokens), eos_token_id=len(tokens) + 1,
        add_bos_token=False,
    )  # fmt: skip
    texts = ["the then\n\nin  the", *TEXTS]
    (expected,) = llama_cpp.token_ids([file], texts, special=True, parse_special=True)
    assert [encode(file, text, special=True) for text in texts] == expected


def pieces(*merged: str) -> list[tuple[str, float, int]]:
    """A SentencePiece vocabulary: bytes, the letters of the merged pieces, the pieces by rank."""
    letters = sorted({letter for piece in merged for letter in piece})
    listed: list[tuple[str, float, int]] = [
        ("<unk>", 0.0, 2), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL),
    ]  # fmt: skip
    listed += [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
    listed += [(piece, -float(rank), 1) for rank, piece in enumerate(merged)]
    return listed + [(letter, -1000.0 - n, 1) for n, letter in enumerate(letters)]


def random_vocabulary(seed: int) -> list[tuple[str, float, int]]:
    generator = random.Random(seed)
    found = ["\u2581", "a", "b", "-"]
    while len(found) < 60:
        token = generator.choice(found[:40]) + generator.choice(found[:40])
        if token not in found and len(token) < 9:
            found.append(token)
    return pieces(*found[4:])


@needs_llama_cpp
@pytest.mark.parametrize("prefix", [None, True, False])
@pytest.mark.parametrize("seed", range(3))
def test_sentencepiece_is_llama_cpps(seed: int, prefix: bool | None, tmp_path: Path) -> None:
    flags: dict[str, Any] = {} if prefix is None else {"add_space_prefix": prefix}
    file = write_sentencepiece(tmp_path / "v.gguf", random_vocabulary(seed), **flags)
    generator = random.Random(seed)
    texts = ["".join(generator.choices(" ab-", k=k)) for k in range(1, 60) for _ in range(3)]
    texts += ["a" * k for k in range(1, 30)] + [" " * k for k in range(1, 30)]
    texts += ["a<s>b", "<s> a", "</s>", *PROBE]
    for parse in (True, False):
        (expected,) = llama_cpp.token_ids([file], texts, special=True, parse_special=parse)
        backend = build_tokenizer(file, read_vocabulary(file)).backend
        backend.encode_special_tokens = not parse
        assert [backend.encode(text).ids for text in texts] == expected


def test_digits_stand_alone_for_smollm(tmp_path: Path) -> None:
    r"""By hand: SmolLM2's ``\n\n1.`` is 1116 33 30, not 198 198 33 30 as under GPT-2's splitting.

    GPT-2 leaves the last newline to the number; here the number is split off before.
    """
    alphabet = greedy_merges([])[0]
    newlines = "\u010a\u010a"  # GPT-2's spelling of the byte 0x0A, twice
    tokens = [*alphabet, newlines]
    for pre, expected in (("smollm", [newlines, "1", "."]), ("gpt-2", [*newlines, "1", "."])):
        file = write_bpe(tmp_path / f"{pre}.gguf", tokens, ["\u010a \u010a"], pre)
        assert encode(file, "\n\n1.") == [tokens.index(token) for token in expected]


def test_bytes_blanks_and_prefix_of_sentencepiece(tmp_path: Path) -> None:
    """By hand: scores order merges, a blank comes first, what is no token becomes bytes."""
    listed = pieces("ab", "bc", "\u2581ab")
    tokens = [token for token, *_ in listed]
    file = write_sentencepiece(tmp_path / "v.gguf", listed)
    spelled = ["<s>", "\u2581ab", "c", "<0xC3>", "<0xA9>"]
    assert encode(file, "abc\u00e9", special=True) == [tokens.index(token) for token in spelled]
    bare = write_sentencepiece(tmp_path / "b.gguf", listed, add_space_prefix=False)
    assert encode(bare, "abc") == [tokens.index("ab"), tokens.index("c")]


@pytest.mark.parametrize(
    ("pre", "flags", "added"),
    [
        ("smollm", {}, ("", "")),
        ("llama-bpe", {}, ("<|im_start|>", "")),
        ("llama-bpe", {"add_bos_token": False}, ("", "")),
        ("smollm", {"add_bos_token": True, "add_eos_token": True}, ("<|im_start|>", "<|im_end|>")),
    ],
)
def test_bos_and_eos_are_added_as_the_file_says(
    pre: str, flags: dict[str, bool], added: tuple[str, str], tmp_path: Path
) -> None:
    """By hand from `llama_vocab::impl::load`."""
    tokens = greedy_merges([])[0]
    count = len(tokens)
    file = write_bpe(
        tmp_path / "v.gguf", tokens, ["\u0120 t"], pre,
        control=["<|im_start|>", "<|im_end|>", "\u0120t"],
        bos_token_id=count, eos_token_id=count + 1, **flags,
    )  # fmt: skip
    ids = {"<|im_start|>": [count], "<|im_end|>": [count + 1], "": []}
    expected = [*ids[added[0]], tokens.index("a"), *ids[added[1]]]
    assert encode(file, "a", special=True) == expected


@pytest.mark.parametrize(
    ("pre", "message"),
    [
        ("nobody", r"pre-tokenizer `nobody` \(`tokenizer.ggml.pre`\) is not supported"),
        *((name, f"pre-tokenizer `{name}`") for name in REFUSED),
        (None, "does not name its pre-tokenizer"),
    ],
)
def test_other_pre_tokenizers_are_refused_by_name(
    pre: str | None, message: str, tmp_path: Path
) -> None:
    file = write_bpe(tmp_path / "v.gguf", [*greedy_merges([])[0], "th"], ["t h"], pre)
    with pytest.raises(UnsupportedModel, match=message) as caught:
        encode(file, "a")
    assert "--tokenizer" in caught.value.hint


@pytest.mark.parametrize("model", ["t5", "bert", "rwkv", "plamo2", "hybriddna", "new"])
def test_other_kinds_are_refused_by_name(model: str, tmp_path: Path) -> None:
    file = write_bpe(tmp_path / "v.gguf", ["a"], ["a a"], "gpt-2", model=model)
    with pytest.raises(UnsupportedModel, match=f"kind `{model}`"):
        encode(file, "a")


def test_what_cannot_be_known_is_refused(tmp_path: Path) -> None:
    tokens = greedy_merges([])[0]
    broken = write_bpe(tmp_path / "m.gguf", tokens, ["t h"], "gpt-2")
    with pytest.raises(CheckpointError, match="the merge 't h' is of tokens"):
        encode(broken, "a")
    tied = [(token, 0.0 if kind == 1 else score, kind) for token, score, kind in pieces("ab", "ba")]
    with pytest.raises(UnsupportedModel, match="'ab' and 'ba' have the same score 0"):
        encode(write_sentencepiece(tmp_path / "t.gguf", tied), "a")
    bare = [piece for piece in pieces("ab") if piece[0] != "<0x41>"]
    with pytest.raises(UnsupportedModel, match="lacks 1 of 256 byte tokens"):
        encode(write_sentencepiece(tmp_path / "b.gguf", bare), "a")
    nameless = write_bpe(tmp_path / "n.gguf", [*tokens, "th"], ["t h"], "llama-bpe")
    with pytest.raises(CheckpointError, match="names no such token"):
        encode(nameless, "a")
