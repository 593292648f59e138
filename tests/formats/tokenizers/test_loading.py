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
from bitloss.formats.tokenizers.loading import (
    HFTokenizer,
    compare_vocabularies,
    eos_ids,
    has_tokenizer,
    load_tokenizer,
)
from bitloss.requests import Conversation

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


@pytest.mark.parametrize(
    "change", [{"pre_tokenizer": {"type": "Nobody"}}, {"added_tokens": [{"id": "x"}]}]
)
def test_rules_that_nobody_knows(change: dict[str, Any], tmp_path: Path) -> None:
    """`tokenizers` raises Exception itself for them."""
    file = word_tokenizer(tmp_path, ["<unk>"]) / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises((CheckpointError, UnsupportedModel), match=r"tokenizer"):
        load_tokenizer(tmp_path)


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


def said(tokenizer: HFTokenizer, *messages: str, tools: Any = (), **arguments: Any) -> str:
    """The text of a conversation; ``"system: ..."`` is said by the system."""
    parts = [message.rpartition(": ") for message in messages]
    whole = tuple({"role": who or "user", "content": text} for who, _, text in parts)
    text, taken = tokenizer.chat([Conversation(whole, tuple(tools), arguments)])
    assert taken.messages == whole
    return text


def test_chat_template(shared: Path, tmp_path: Path) -> None:
    """By hand; Qwen2's is the text in its tokenizer_config.json."""
    qwen = load_tokenizer(shared / "tokenizers" / "qwen2")
    assert said(qwen, "Hi").endswith("<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert said(qwen, "system: Be kind.", "Hi").startswith(
        "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>"
    )
    lenient = load_words(tmp_path / "a", ["<unk>"], chat_template=TEMPLATE)
    assert said(lenient, "system: Kind.", "Hi") == "<system>Kind.<user>Hi<answer>"
    refusing = load_words(tmp_path / "c", ["<unk>"], chat_template="{{ raise_exception('no') }}")
    with pytest.raises(UsageError, match="refuses a message: no"):
        said(refusing, "Hi")
    with pytest.raises(UsageError, match="no chat template") as caught:
        said(load_words(tmp_path / "d", ["<unk>"]), "Hi")
    assert caught.value.hint


def test_the_first_conversation_that_a_template_takes(tmp_path: Path) -> None:
    strict = "{% set strict = true %}" + TEMPLATE
    stubborn = load_words(tmp_path, ["<unk>"], chat_template=strict)
    user = {"role": "user", "content": "Hi"}
    first = Conversation(({"role": "system", "content": "Kind."}, user))
    second = Conversation(({"role": "user", "content": "Kind. Hi"},))
    assert stubborn.chat([first, second]) == ("<user>Kind. Hi<answer>", second)
    with pytest.raises(UsageError, match="refuses a message: no"):
        stubborn.chat([first])


def test_arguments_and_tools_of_a_template(shared: Path, tmp_path: Path) -> None:
    """By hand; what a template would ignore is refused by name."""
    template = "{{ messages[-1].content }}{% if thinking == false %}<off>{% endif %}<answer>"
    tokenizer = load_words(tmp_path / "a", ["<unk>"], chat_template=template)
    assert said(tokenizer, "Hi", thinking=False) == "Hi<off><answer>"
    assert said(tokenizer, "Hi", thinking=True) == said(tokenizer, "Hi") == "Hi<answer>"
    assert said(tokenizer, "Hi", "Ho") == "Ho<answer>"
    with pytest.raises(UsageError, match="has no argument `enable_thinking`; it takes thinking"):
        said(tokenizer, "Hi", enable_thinking=False)
    tool = {"type": "function", "function": {"name": "timer", "parameters": {}}}
    with pytest.raises(UsageError, match="takes no tools") as caught:
        said(tokenizer, "Hi", tools=[tool])
    assert caught.value.hint
    tooled = "{% for t in tools or [] %}[{{ t.function.name }}]{% endfor %}" + template
    tokenizer = load_words(tmp_path / "b", ["<unk>"], chat_template=tooled)
    assert said(tokenizer, "Hi", tools=[tool]) == "[timer]Hi<answer>"
    qwen = load_tokenizer(shared / "tokenizers" / "qwen2")
    with pytest.raises(UsageError, match="it takes none"):
        said(qwen, "Hi", enable_thinking=False)


def test_special_tokens_that_are_kept(tmp_path: Path) -> None:
    """Oracle: transformers' own decoding, which keeps all or none."""
    words = ["<unk>", "<s>", "[THINK]", "hi", "</s>"]
    special = {"additional_special_tokens": ["[THINK]"], "bos_token": "<s>", "eos_token": "</s>"}
    tokenizer = load_words(tmp_path / "m", words, **special)
    ids = [1, 2, 3, 4]
    assert tokenizer.decode(ids) == tokenizer.hf.decode(ids, skip_special_tokens=True) == "hi"
    assert tokenizer.decode(ids, keep=("[THINK]",)) == "[THINK] hi"
    everything = tokenizer.decode(ids, keep=tuple(words))
    assert everything == tokenizer.hf.decode(ids, skip_special_tokens=False)


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
