"""Tokenizers made to differ in one rule. Oracle: the rule that was changed."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitloss.errors import Incomparable
from bitloss.formats.tokenizers.loading import compare_tokenizers, load_tokenizer
from peers.tiny import byte_level_tokenizer

Files = dict[str, Any]
CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}


@pytest.fixture
def compare(tmp_path: Path) -> Callable[..., tuple[str, ...]]:
    reference = tmp_path / "reference"
    reference.mkdir()
    # Two merges of rare tokens, whose order decides one word that no probe has.
    state = json.loads(byte_level_tokenizer().to_str())
    for merge in (["z", "q"], ["q", "x"]):
        state["model"]["vocab"]["".join(merge)] = len(state["model"]["vocab"])
        state["model"]["merges"].append(merge)
    (reference / "tokenizer.json").write_text(json.dumps(state))
    (reference / "tokenizer_config.json").write_text(json.dumps(CONFIG))

    def with_change(change: Callable[[Files, Files], Any]) -> tuple[str, ...]:
        variant = Path(shutil.copytree(reference, tmp_path / "variant"))
        values = [json.loads((variant / name).read_text()) for name in NAMES]
        change(*values)
        for name, value in zip(NAMES, values, strict=True):
            (variant / name).write_text(json.dumps(value))
        return compare_tokenizers(load_tokenizer(reference), load_tokenizer(variant))

    return with_change


NAMES = ("tokenizer.json", "tokenizer_config.json")


def longer_merge(rules: Files, _: Files) -> None:
    """``zqx`` becomes z + qx in place of zq + x."""
    merges = rules["model"]["merges"]
    merges[-1], merges[-2] = merges[-2], merges[-1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda rules, _: rules["model"]["merges"].pop(), "'qx' becomes"),
        (lambda rules, _: rules["pre_tokenizer"].update(add_prefix_space=True), "'The' becomes"),
        (lambda rules, _: rules.update(normalizer={"type": "NFC"}), "different tokenizers"),
        (
            lambda rules, _: rules.update(normalizer={
                "type": "Replace", "pattern": {"String": "\r\n"}, "content": "\n"
            }),
            "becomes",
        ),
    ],
)  # fmt: skip
def test_rules_that_give_other_ids_are_refused(compare: Any, change: Any, words: str) -> None:
    with pytest.raises(Incomparable, match=words):
        compare(change)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (longer_merge, "`model.merges`"),
        (lambda rules, _: rules["pre_tokenizer"].update(use_regex=False), "`pre_tokenizer`"),
        (lambda rules, _: rules["model"].update(ignore_merges=True), "`model.ignore_merges`"),
        (lambda rules, _: rules["added_tokens"][1].update(lstrip=True), "`added_tokens`"),
        (lambda _, config: config.update(bos_token="</s>"), "its own BOS is `</s>`, .* `<s>`"),
        (lambda _, config: config.update(bos_token=None), "its own BOS is none"),
        (lambda _, config: config.update(eos_token="<s>"), "its own EOS is `<s>`, .* `</s>`"),
    ],
)
def test_rules_that_no_text_shows_are_said(compare: Any, change: Any, note: str) -> None:
    (found,) = compare(change)

    assert re.search(note, found), found


def test_what_decides_no_ids_is_not_said(compare: Any) -> None:
    def change(rules: Files, config: Files) -> None:
        rules["decoder"] = {"type": "Fuse"}
        rules["truncation"] = {
            "direction": "Right", "max_length": 8, "strategy": "LongestFirst", "stride": 0
        }  # fmt: skip
        config["chat_template"] = "{{ messages }}"

    assert compare(change) == ()
