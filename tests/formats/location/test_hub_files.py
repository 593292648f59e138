"""Choosing from listings; the listings follow well-known repositories' layouts.

The oracle for GGUF is llama.cpp's `find_best_model` (common/download.cpp), read, not run.
"""

from __future__ import annotations

import pytest

from bitloss.errors import HubError, UnsupportedModel
from bitloss.formats.location.hub_files import choose_files, choose_gguf, gguf_types

LLAMA = [
    ".gitattributes", "LICENSE", "README.md", "config.json", "generation_config.json",
    "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors",
    "model.safetensors.index.json", "consolidated.safetensors", "original/params.json",
    "original/consolidated.00.pth", "pytorch_model.bin", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "chat_template.jinja", "modeling_own.py", "onnx/model.safetensors",
]  # fmt: skip

GGUFS = [
    ".gitattributes", "README.md", "imatrix.dat", "mmproj-model-f16.gguf",
    "model-Q2_K.gguf", "model-Q4_K_M.gguf", "model-Q8_0.gguf", "model-IQ4_XS.gguf",
    "BF16/model-BF16-00001-of-00002.gguf", "BF16/model-BF16-00002-of-00002.gguf",
]  # fmt: skip


def test_safetensors_repository_leaves_the_other_copies_behind() -> None:
    assert set(choose_files("a/b", LLAMA)) == {
        "config.json", "generation_config.json", "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors", "model.safetensors.index.json", "tokenizer.json",
        "tokenizer.model", "tokenizer_config.json", "chat_template.jinja",
    }  # fmt: skip


def test_python_files_come_only_when_trusted() -> None:
    with_code = set(choose_files("a/b", LLAMA, with_code=True))
    assert with_code - set(choose_files("a/b", LLAMA)) == {"modeling_own.py"}


def test_configuration_and_tokenizer_alone() -> None:
    everything = set(choose_files("a/b", LLAMA))
    weights = {"model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"}
    assert set(choose_files("a/b", LLAMA, weights=False)) == everything - weights


def test_unusual_weight_names_are_taken_where_there_are_no_usual_ones() -> None:
    listing = ["config.json", "gptq_model-4bit-128g.safetensors", "quantize_config.json"]
    assert set(choose_files("a/b", listing)) == set(listing)


@pytest.mark.parametrize(
    ("listing", "message"),
    [
        (["config.json", "pytorch_model.bin"], "only pickled weights"),
        (["README.md"], "no model weights"),
        (GGUFS, "which one is meant"),
    ],
)
def test_repository_without_safetensors_is_refused(listing: list[str], message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        choose_files("a/b", listing)


def test_gguf_repository_without_a_type_lists_the_types() -> None:
    with pytest.raises(UnsupportedModel) as caught:
        choose_files("a/b-GGUF", GGUFS)
    assert "a/b-GGUF:Q4_K_M" in caught.value.hint
    assert gguf_types(GGUFS) == ("BF16", "IQ4_XS", "Q2_K", "Q4_K_M", "Q8_0")


@pytest.mark.parametrize("wanted", ["Q4_K_M", "q4_k_m", "model-Q4_K_M"])
def test_gguf_type_is_found_whatever_its_case(wanted: str) -> None:
    assert choose_gguf("a/b", GGUFS, wanted) == ("model-Q4_K_M.gguf",)


def test_all_parts_of_a_split_gguf_are_taken_first_part_first() -> None:
    assert choose_gguf("a/b", GGUFS[::-1], "BF16") == tuple(GGUFS[-2:])


def test_missing_part_is_an_error() -> None:
    with pytest.raises(HubError, match="split into 2 files, found 1"):
        choose_gguf("a/b", GGUFS[:-1], "bf16")


def test_projector_is_not_a_model() -> None:
    with pytest.raises(HubError, match="no GGUF file of type `F16`") as caught:
        choose_gguf("a/b", ["mmproj-model-f16.gguf", "model-Q8_0.gguf"], "F16")
    assert caught.value.hint == "choose one of: Q8_0"


def test_exact_type_goes_before_a_longer_one_that_ends_alike() -> None:
    files = ["model-IQ4_NL.gguf", "model-Q4_NL.gguf"]
    assert choose_gguf("a/b", files, "Q4_NL") == ("model-Q4_NL.gguf",)
    assert choose_gguf("a/b", files[:1], "Q4_NL") == ("model-IQ4_NL.gguf",)  # as llama.cpp does


def test_two_files_of_one_type_are_not_chosen_between() -> None:
    files = ["chat-Q8_0.gguf", "base-Q8_0.gguf"]
    with pytest.raises(HubError, match="fits several files"):
        choose_gguf("a/b", files, "Q8_0")
    assert choose_gguf("a/b", files, "BASE-Q8_0") == ("base-Q8_0.gguf",)
