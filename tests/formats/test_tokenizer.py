"""Oracles: transformers' and tokenizers' own ids; GGUF files written with the gguf package."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitloss.errors import CheckpointError, Incomparable, UnsupportedModel, UsageError
from bitloss.formats.probe import PROBE
from bitloss.formats.tokenizer import (
    HFTokenizer,
    compare_tokenizers,
    compare_vocabularies,
    eos_ids,
    has_tokenizer,
    load_tokenizer,
)
from peers.vocabulary_file import write_bpe

TEXT = "Hello\n world 123 \u2581 na\u00efve \U0001f600"


def word_tokenizer(path: Path, words: list[str], **config: Any) -> Path:
    """A tokenizer of whole words; ids in their order."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    path.mkdir(parents=True, exist_ok=True)
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(path / "tokenizer.json"))
    values = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", **config}
    (path / "tokenizer_config.json").write_text(json.dumps(values))
    return path


def load_words(path: Path, words: list[str], **config: Any) -> HFTokenizer:
    return load_tokenizer(word_tokenizer(path, words, **config))


def write_gguf(file: Path, tokenizer: HFTokenizer, model: str, *, padding: int = 0) -> Path:
    """A GGUF file without tensors whose vocabulary is the tokenizer's."""
    import gguf

    by_id = {number: token for token, number in tokenizer.vocabulary().items()}
    tokens = [by_id[n] for n in range(len(by_id))] + [f"[PAD{n}]" for n in range(padding)]
    writer = gguf.GGUFWriter(str(file), "llama")
    for name in ("block_count", "context_length", "embedding_length", "head_count"):
        getattr(writer, f"add_{name}")(8)
    writer.add_tokenizer_model(model)
    writer.add_tokenizer_pre("smollm" if model == "gpt2" else "default")
    writer.add_token_list(tokens)
    special = set(tokenizer.hf.all_special_tokens)
    unused = [gguf.TokenType.UNUSED] * padding
    writer.add_token_types(
        [gguf.TokenType.CONTROL if t in special else gguf.TokenType.NORMAL for t in tokens][
            : len(by_id)
        ]
        + unused
    )
    rules = json.loads(tokenizer.hf.backend_tokenizer.to_str())["model"]["merges"]
    merges = [r.split(" ") if isinstance(r, str) else r for r in rules]
    ranks = {"".join(pair): rank for rank, pair in reversed(list(enumerate(merges)))}
    writer.add_token_scores([-float(ranks.get(token, 10_000)) for token in tokens])
    if model == "gpt2":
        writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_add_bos_token(tokenizer.adds_bos)
    writer.add_bos_token_id(tokenizer.bos_id)
    writer.add_eos_token_id(tokenizer.eos_id)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_facts_of_real_tokenizers(shared: Path) -> None:
    """From their tokenizer_config.json files and the size of their vocabularies."""
    scribe = load_tokenizer(shared / "models" / "scribe-4m")
    assert (scribe.size, scribe.bos_id, scribe.eos_id, scribe.adds_bos) == (2048, 0, 1, False)
    stories = load_tokenizer(shared / "models" / "stories260K")
    assert (stories.size, stories.bos_id, stories.eos_id, stories.adds_bos) == (512, 1, 2, True)
    qwen = load_tokenizer(shared / "tokenizers" / "qwen2")
    assert (qwen.bos_id, qwen.adds_bos, qwen.size) == (None, False, 151_665)
    assert len({t.digest for t in (scribe, stories, qwen)}) == 3


def test_encoding_is_the_tokenizers_own(shared: Path) -> None:
    from tokenizers import Tokenizer

    path = shared / "models" / "stories260K"
    raw = Tokenizer.from_file(str(path / "tokenizer.json"))
    tokenizer = load_tokenizer(path)
    for special in (False, True):
        ids = tokenizer.encode(TEXT, special=special)
        assert ids.dtype == np.int32
        assert ids.tolist() == raw.encode(TEXT, add_special_tokens=special).ids


def test_long_text_raises_no_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    tokenizer = load_words(tmp_path, ["<unk>", "a"], model_max_length=8)
    logger = logging.getLogger("transformers")  # which does not propagate
    logger.addHandler(caplog.handler)
    try:
        assert tokenizer.encode("a " * 10_000, special=True).tolist() == [1] * 10_000
    finally:
        logger.removeHandler(caplog.handler)
    assert caplog.records == []


def test_digest_ignores_the_state_of_calls(tmp_path: Path) -> None:
    first, second, other = (
        load_words(tmp_path / str(n), ["<unk>", "a", word]) for n, word in enumerate("bbc")
    )
    first.hf(["a", "a b"], padding=False, truncation=True, max_length=1)
    assert first.digest == second.digest != other.digest


def test_same_and_different_vocabularies(tmp_path: Path) -> None:
    ours, same, moved, added = (
        load_words(tmp_path / str(n), ["<unk>", *words.split()])
        for n, words in enumerate(("a b c", "a b c", "a c b", "a b c d"))
    )
    assert compare_vocabularies(ours, same) == ""
    with pytest.raises(Incomparable, match="id 2 is 'b' in the reference and 'c' in the variant"):
        compare_vocabularies(ours, moved)
    with pytest.raises(Incomparable, match="id 4 is nothing in the reference and 'd'"):
        compare_vocabularies(ours, added)


@pytest.mark.parametrize(
    "row", ["<unused0>", "[PAD4]", "<dummy00001>", "<|reserved_special_token_3|>", "<pad>"]
)
def test_rows_of_padding_are_noted(row: str, tmp_path: Path) -> None:
    ours = load_words(tmp_path / "a", ["<unk>", "a", "b"])
    padded = load_words(tmp_path / "b", ["<unk>", "a", "b", row])
    note = "padded vocabulary: 1 rows in the variant only"
    assert compare_vocabularies(ours, padded) == note
    assert compare_vocabularies(padded, ours) == note.replace("variant", "reference")


@pytest.mark.parametrize(
    ("name", "kind"), [("models/scribe-4m", "gpt2"), ("models/stories260K", "llama")]
)
def test_gguf_against_the_directory(name: str, kind: str, shared: Path, tmp_path: Path) -> None:
    """Byte-level pieces and SentencePiece's ``<0x0A>`` are spelled alike in both."""
    ours = load_tokenizer(shared / name)
    file = write_gguf(tmp_path / "model.gguf", ours, kind)
    # A tokenizer beside the file is another model's, and must not be taken for its own.
    word_tokenizer(tmp_path, ["<unk>", "a"])
    theirs = load_tokenizer(file)
    assert compare_vocabularies(ours, theirs) == ""
    assert theirs.size == ours.size
    plain = "Once upon a time\n there was"
    ids = ours.encode(plain, special=False).tolist()
    assert theirs.encode(plain, special=False).tolist() == ids


def test_gguf_padding_and_strangers(scribe: Path, shared: Path, tmp_path: Path) -> None:
    ours = load_tokenizer(scribe)
    padded = load_tokenizer(write_gguf(tmp_path / "p.gguf", ours, "gpt2", padding=3))
    assert compare_vocabularies(ours, padded) == "padded vocabulary: 3 rows in the variant only"
    stories = load_tokenizer(shared / "models" / "stories260K")
    with pytest.raises(Incomparable, match="id 0 is '<unk>' in the reference and '<s>'"):
        compare_vocabularies(stories, padded)


def test_directory_without_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert not has_tokenizer(tmp_path)
    with pytest.raises(CheckpointError, match="no tokenizer: expected") as caught:
        load_tokenizer(tmp_path)
    assert "unquantized" in caught.value.hint
    assert has_tokenizer(word_tokenizer(tmp_path, ["<unk>"]))


def test_damaged_tokenizer(tmp_path: Path) -> None:
    word_tokenizer(tmp_path, ["<unk>"])
    (tmp_path / "tokenizer.json").write_text('{"model":')
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        load_tokenizer(tmp_path)


def test_own_code_is_not_run(tmp_path: Path) -> None:
    model = word_tokenizer(tmp_path / "model", ["<unk>", "a"])
    config = {"model_type": "nobody-knows", "auto_map": {"AutoConfig": "code.Config"}}
    (model / "config.json").write_text(json.dumps(config))
    with pytest.raises(UnsupportedModel, match="model type `nobody-knows` is Python code"):
        load_tokenizer(model)
    known = tmp_path / "known"
    shutil.copytree(model, known)
    (known / "config.json").write_text(json.dumps(config | {"model_type": "llama"}))
    assert load_tokenizer(known).size == 2
    own = word_tokenizer(
        tmp_path / "own",
        ["<unk>"],
        tokenizer_class="Own",
        auto_map={"AutoTokenizer": ["c.T", None]},
    )
    (own / "c.py").write_text("raise SystemExit('ran')")
    with pytest.raises(UnsupportedModel, match="tokenizer is Python code") as caught:
        load_tokenizer(own)
    assert "--trust-remote-code" in caught.value.hint


def test_decoding_leaves_out_special_and_unknown_tokens(shared: Path) -> None:
    """Oracle: the text that was encoded."""
    qwen = load_tokenizer(shared / "tokenizers" / "qwen2")
    ids = qwen.encode(TEXT, special=False).tolist()
    assert qwen.decode(ids) == TEXT
    assert qwen.decode([151644, *ids, 151645, 151_900]) == TEXT
    stories = load_tokenizer(shared / "models" / "stories260K")
    assert (stories.bos_text, qwen.bos_text) == ("<s>", "")


TEMPLATE = (
    "{% for m in messages %}{% if m.role == 'system' and strict %}{{ raise_exception('no') }}"
    "{% endif %}<{{ m.role }}>{{ m.content }}{% endfor %}"
    "{% if add_generation_prompt %}<answer>{% endif %}"
)


def test_chat_template(shared: Path, tmp_path: Path) -> None:
    """By hand; Qwen2's is the text in its tokenizer_config.json."""
    qwen = load_tokenizer(shared / "tokenizers" / "qwen2")
    assert qwen.chat("Hi").endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert qwen.chat("Hi", system="Be kind.\n\n").startswith(
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>"
    )
    lenient = load_words(tmp_path / "a", ["<unk>"], chat_template=TEMPLATE)
    assert lenient.chat("Hi", system="Kind. ") == "<system>Kind.<user>Hi<answer>"
    strict = "{% set strict = true %}" + TEMPLATE
    stubborn = load_words(tmp_path / "b", ["<unk>"], chat_template=strict)
    assert stubborn.chat("Hi", system="Kind. ") == "<user>Kind. Hi<answer>"
    refusing = load_words(tmp_path / "c", ["<unk>"], chat_template="{{ raise_exception('no') }}")
    with pytest.raises(UsageError, match="refuses a message: no"):
        refusing.chat("Hi")
    with pytest.raises(UsageError, match="no chat template") as caught:
        load_words(tmp_path / "d", ["<unk>"]).chat("Hi")
    assert caught.value.hint


def test_tokens_that_end_a_text(tmp_path: Path) -> None:
    """Oracle: which file transformers' `GenerationConfig` is made from."""
    path = tmp_path / "model"
    words = load_words(path, ["<unk>", "</s>"], eos_token="</s>")
    assert eos_ids(words, path) == {1}
    (path / "config.json").write_text('{"eos_token_id": 5}')
    assert eos_ids(words, path) == {1, 5}
    (path / "generation_config.json").write_text('{"eos_token_id": [7, 8]}')
    assert eos_ids(words, path) == {1, 7, 8}
    assert eos_ids(words, path / "config.json") == {1}
    (path / "generation_config.json").write_text('{"eos_token_id": "</s>"}')
    with pytest.raises(CheckpointError, match="expected a token id"):
        eos_ids(words, path)


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
