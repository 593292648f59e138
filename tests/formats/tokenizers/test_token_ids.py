"""Oracles: `tokenizers` on the same files; post-processors and splittings followed by hand."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import Incomparable, UnsupportedModel
from bitloss.formats.tokenizers.loading import HFTokenizer, compare_tokenizers, load_tokenizer
from bitloss.formats.tokenizers.probe import PROBE
from peers.vocabulary_file import write_bpe


def byte_level(path: Path, name: str = "PreTrainedTokenizerFast", **parts: Any) -> Path:
    """A byte-level BPE that splits digits off; `parts` replace those of its tokenizer.json."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    path.mkdir(parents=True)
    newline, blank = "\u010a", "\u0120"
    tokens = [*sorted(pre_tokenizers.ByteLevel.alphabet()), newline * 2, "1" * 2, blank + "a"]
    merges = [(newline, newline), ("1", "1"), (blank, "a")]
    tokenizer = Tokenizer(models.BPE({token: n for n, token in enumerate(tokens)}, merges))
    tokenizer.add_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ("<s>", "</s>")]
    )
    level = pre_tokenizers.ByteLevel(add_prefix_space=False)
    digits = pre_tokenizers.Digits(individual_digits=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([digits, level])
    tokenizer.decoder = decoders.ByteLevel()
    state = {**json.loads(tokenizer.to_str()), **parts}
    (path / "tokenizer.json").write_text(json.dumps(state))
    config = {"tokenizer_class": name, "bos_token": "<s>", "eos_token": "</s>"}
    (path / "tokenizer_config.json").write_text(json.dumps(config))
    return path


def template(*names: str) -> dict[str, Any]:
    """A post-processor; ``$`` is the text."""
    ids = {"<s>": 259, "</s>": 260}
    parts = [
        {"Sequence": {"id": "A", "type_id": 0}}
        if name == "$"
        else {"SpecialToken": {"id": name, "type_id": 0}}
        for name in names
    ]
    special = {n: {"id": n, "ids": [ids[n]], "tokens": [n]} for n in names if n != "$"}
    pair = [*parts, {"Sequence": {"id": "B", "type_id": 1}}]
    kind = "TemplateProcessing"
    return {"type": kind, "single": parts, "pair": pair, "special_tokens": special}


@pytest.mark.parametrize("name", ["GPT2Tokenizer", "LlamaTokenizer", "Qwen2Tokenizer"])
def test_tokenizer_json_decides_whatever_the_class(name: str, tmp_path: Path) -> None:
    """Oracle: `tokenizers` on the same file; transformers' class splits no digits off."""
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    path = byte_level(tmp_path / "model", name)
    raw = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer = load_tokenizer(path)
    for text in (*PROBE, "11", "\n\n1."):
        assert tokenizer.encode(text, special=False).tolist() == raw.encode(text).ids
    plain = load_tokenizer(byte_level(tmp_path / "plain"))
    assert tokenizer.digest == plain.digest
    assert (tokenizer.bos_id, tokenizer.eos_id) == (259, 260)
    assert tokenizer.decode([*raw.encode("na\u00efve 11").ids, 260]) == "na\u00efve 11"
    if name == "GPT2Tokenizer":  # else this test shows nothing
        theirs: Any = AutoTokenizer.from_pretrained(path)
        assert theirs("\n\n1.")["input_ids"] != raw.encode("\n\n1.").ids


def test_special_tokens_as_text(tmp_path: Path) -> None:
    """By hand: letters of ``</s>`` instead of the token; BOS is added all the same."""
    tokenizer = load_tokenizer(byte_level(tmp_path / "m", post_processor=template("<s>", "$")))
    ids = tokenizer.vocabulary()
    assert tokenizer.encode("a</s>", special=True).tolist() == [259, ids["a"], 260]
    spelled = [259, *(ids[letter] for letter in "a</s>")]
    assert tokenizer.encode("a</s>", special=True, parse_special=False).tolist() == spelled
    assert tokenizer.encode("a</s>", special=True).tolist() == [259, ids["a"], 260]


def test_an_appended_eos_is_left_off_and_said(tmp_path: Path) -> None:
    """By hand from the post-processor."""
    both = load_tokenizer(byte_level(tmp_path / "m", post_processor=template("<s>", "$", "</s>")))
    a = both.vocabulary()["a"]
    assert both.encode("a", special=True).tolist() == [259, a]
    assert both.encode("", special=True).tolist() == [259]
    assert both.encode("a</s>", special=True).tolist() == [259, a, 260]
    assert both.adds_bos
    assert both.notes == (
        "the tokenizer appends `</s>` to a text: it is not scored, and not put before an answer",
    )
    silent = load_tokenizer(byte_level(tmp_path / "n"))
    assert silent.notes == ("the tokenizer has a BOS (`<s>`) and does not add it",)


def test_the_probe_finds_what_the_tokens_do_not_show(tmp_path: Path) -> None:
    """By hand: the same tokens, but another splitting, merges, or rule for BOS and EOS."""
    ours = load_tokenizer(byte_level(tmp_path / "ours"))
    assert compare_tokenizers(ours, load_tokenizer(byte_level(tmp_path / "same"))) == ()
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    split = byte_level(tmp_path / "split", pre_tokenizer={**level, "use_regex": True})
    with pytest.raises(Incomparable, match=r"becomes .* in the reference and") as caught:
        compare_tokenizers(ours, load_tokenizer(split))
    assert "tokenizer files" in caught.value.hint
    state = json.loads((tmp_path / "ours" / "tokenizer.json").read_text())["model"]
    merges = byte_level(tmp_path / "merges", model={**state, "merges": state["merges"][:2]})
    with pytest.raises(Incomparable, match=r"' and' becomes \[258 .* and \[220 64 "):
        compare_tokenizers(ours, load_tokenizer(merges))
    for names, message in (
        (("<s>", "$"), "reference adds nothing to a text, the variant puts <s> before a text"),
        (("$", "</s>"), "the variant puts </s> behind it"),
    ):
        other = byte_level(tmp_path / f"adds-{message[:10]}", post_processor=template(*names))
        with pytest.raises(Incomparable, match=message):
            compare_tokenizers(ours, load_tokenizer(other))


def gguf_of(path: Path, tokenizer: HFTokenizer, pre: str | None, **flags: Any) -> HFTokenizer:
    ids = tokenizer.vocabulary()
    tokens = [token for token in sorted(ids, key=ids.__getitem__) if ids[token] < 259]
    state = json.loads(tokenizer.hf.backend_tokenizer.to_str())
    merges = [" ".join(merge) for merge in state["model"]["merges"]]
    flags = {"bos_token_id": 259, "eos_token_id": 260, **flags}
    return load_tokenizer(write_bpe(path, tokens, merges, pre, control=["<s>", "</s>"], **flags))


def test_a_gguf_is_held_against_the_directory_by_its_ids(tmp_path: Path) -> None:
    """By hand: the splitting is `smollm`'s; under another name the ids differ."""
    ours = load_tokenizer(byte_level(tmp_path / "ours"))
    same = gguf_of(tmp_path / "same.gguf", ours, "smollm")
    assert compare_tokenizers(ours, same) == ()
    assert same.decode(same.encode("na\u00efve 11", special=False).tolist()) == "na\u00efve 11"
    other = gguf_of(tmp_path / "other.gguf", ours, "gpt-2")
    with pytest.raises(Incomparable, match="different tokenizers"):
        compare_tokenizers(ours, other)
    adds = gguf_of(tmp_path / "adds.gguf", ours, "smollm", add_bos_token=True)
    with pytest.raises(Incomparable, match="the variant puts <s> before a text"):
        compare_tokenizers(ours, adds)


def test_an_unknown_pre_tokenizer_is_said_or_refused(tmp_path: Path) -> None:
    """As a variant the tokens are compared; as the run's tokenizer it is refused."""
    ours = load_tokenizer(byte_level(tmp_path / "ours"))
    unknown = gguf_of(tmp_path / "unknown.gguf", ours, "from-the-future")
    (note,) = compare_tokenizers(ours, unknown)
    assert "compared by its tokens only" in note
    assert "`from-the-future`" in note
    with pytest.raises(UnsupportedModel, match="pre-tokenizer `from-the-future`"):
        unknown.encode("a", special=True)


def test_files_without_a_splitting_are_noted(tmp_path: Path) -> None:
    """By hand: vocab.json and merges.txt say nothing of digits."""
    ours = load_tokenizer(byte_level(tmp_path / "ours"))
    state = json.loads((tmp_path / "ours" / "tokenizer.json").read_text())["model"]
    old = tmp_path / "old"
    shutil.copytree(tmp_path / "ours", old)
    (old / "tokenizer.json").unlink()
    (old / "vocab.json").write_text(json.dumps({**state["vocab"], "<s>": 259, "</s>": 260}))
    merges = "\n".join(" ".join(merge) for merge in state["merges"])
    (old / "merges.txt").write_text(f"#version: 0.2\n{merges}\n")
    config = {"tokenizer_class": "GPT2Tokenizer", "bos_token": "<s>", "eos_token": "</s>"}
    (old / "tokenizer_config.json").write_text(json.dumps({**config, "unk_token": "<s>"}))
    found = load_tokenizer(old)
    assert "how text is split before it is encoded is not known" in found.notes[0]
    notes = compare_tokenizers(ours, found)
    assert "there is no tokenizer.json" in notes[-1]


def test_the_case_of_an_appended_eos(shared: Path) -> None:
    """By hand from its post-processor."""
    found = load_tokenizer(shared / "cases" / "public" / "tokenizers" / "adds-eos")
    assert "appends `</s>`" in found.notes[0]
    assert found.encode("ab", special=True).tolist()[-1] != found.eos_id
