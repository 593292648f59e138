"""What people get wrong, and what goes wrong: two lines that say it, a code, and nothing left.

The wording is the oracle: each case names the words that a user needs to see.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bitloss.cli.main import main
from peers.complaints import RUN, Break, Captured, check, config, nothing_written

TRUNCATED = 1000


def weights(change: Callable[[dict[str, Any]], Any]) -> Break:
    def apply(model: Path) -> None:
        from safetensors.torch import load_file, save_file

        tensors = load_file(model / "model.safetensors")
        change(tensors)
        save_file(tensors, model / "model.safetensors", metadata={"format": "pt"})

    return apply


def cut(model: Path) -> None:
    file = model / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-TRUNCATED])


def pickled(model: Path) -> None:
    (model / "model.safetensors").rename(model / "pytorch_model.bin")


def not_json(model: Path) -> None:
    (model / "config.json").write_text('{"model_type": ')


def no_tokenizer(model: Path) -> None:
    (model / "tokenizer.json").unlink()


def swapped_tokens(model: Path) -> None:
    file = model / "tokenizer.json"
    values = json.loads(file.read_text())
    names = list(values["model"]["vocab"])
    for number, name in enumerate([*names[:5], names[6], names[5], *names[7:]]):
        values["model"]["vocab"][name] = number
    file.write_text(json.dumps(values))


def other_rules(model: Path) -> None:
    file = model / "tokenizer.json"
    values = {**json.loads(file.read_text()), "normalizer": {"type": "Lowercase"}}
    file.write_text(json.dumps(values))


def own_code(model: Path) -> None:
    config(model_type="mine", auto_map={"AutoConfig": "code.Config"})(model)
    (model / "code.py").write_text("raise SystemExit('the code ran')")


def put(name: str, value: float) -> Break:
    def change(tensors: dict[str, Any]) -> None:
        tensors[name][0, 0] = value

    return weights(change)


def overflow(tensors: dict[str, Any]) -> None:
    tensors["lm_head.weight"] *= 1e30
    tensors["model.norm.weight"] *= 1e15


NAN = put("model.layers.0.mlp.down_proj.weight", float("nan"))
INFINITE_HEAD = put("lm_head.weight", float("inf"))

BROKEN_MODELS: dict[str, tuple[Break, str, str]] = {
    "no weights": (
        lambda model: (model / "model.safetensors").unlink(),
        "weights are not: expected model.safetensors", "download the rest"),
    "truncated": (cut, r"expected \d+ bytes, got \d+", "copy the file again"),
    "pickle": (pickled, "the weights are pickled (pytorch_model.bin)", "save_pretrained"),
    "config no JSON": (
        not_json,
        "config.json: not valid JSON", "copy it again"),
    "no config": (
        lambda model: (model / "config.json").unlink(), "without config.json", "give a model"),
    "NaN": (NAN, "NaN or infinite values, first in layer `model.layers.0.mlp.down_proj`",
            "download or make the file again"),
    "infinite head": (INFINITE_HEAD, "NaN or infinite values in `lm_head.weight`",
                      "download or make the file again"),
    "overflow": (weights(overflow), "NaN or infinite logits", "--dtype fp32"),
    "missing layer": (
        weights(lambda tensors: tensors.pop("model.layers.0.mlp.up_proj.weight")),
        "the weights have no `model.layers.0.mlp.up_proj.weight`", "the rest of"),
}  # fmt: skip

ONLY_REFERENCES: dict[str, tuple[Break, str, str]] = {
    "own code": (own_code, "`mine` is Python code of the model's own", "--trust-remote-code"),
    "no tokenizer": (no_tokenizer, "no tokenizer: expected tokenizer.json", "copy the tokenizer"),
    "unknown architecture": (
        config(model_type="mine"), "no causal language model for model type `mine`",
        "decoder-only"),
}  # fmt: skip

ONLY_VARIANTS: dict[str, tuple[Break, str, str]] = {
    "another tokenizer": (swapped_tokens, "different vocabularies: id 5 is '&' in the reference",
                          "tokenizer included"),
    "another tokenizer's rules": (other_rules, "different tokenizers:", "tokenizer files"),
    "another depth": (config(num_hidden_layers=2), "has `num_hidden_layers` 2, ./tiny has 1",
                      "a quantized copy of the reference"),
    "another architecture": (config(model_type="qwen2"), "has `model_type` qwen2, ./tiny has llama",
                             "a quantized copy of the reference"),
}  # fmt: skip


@pytest.mark.parametrize("case", [*BROKEN_MODELS, *ONLY_REFERENCES])
def test_a_broken_reference(broken: Any, capsys: Captured, case: str) -> None:
    fault, error, hint = (BROKEN_MODELS | ONLY_REFERENCES)[case]
    assert main(["compare", broken(fault), "./noisy", *RUN]) == 1
    check(capsys, error, hint)
    assert nothing_written(Path("run"))


@pytest.mark.parametrize("case", [*BROKEN_MODELS, *ONLY_VARIANTS])
def test_a_broken_variant_fails_alone(broken: Any, capsys: Captured, case: str) -> None:
    fault, error, hint = (BROKEN_MODELS | ONLY_VARIANTS)[case]
    assert main(["compare", "./tiny", broken(fault), "./noisy", *RUN, "--json"]) == 1
    out, err = capsys.readouterr()
    failed, whole = json.loads(out)["variants"]
    assert (failed["status"], failed["corpora"]) == ("failed", {})
    assert f"{failed['error']['message']}\nhint: {failed['error']['hint']}\n" in err
    pattern = error if "\\" in error else re.escape(error)
    assert re.search(pattern, failed["error"]["message"])
    assert hint in failed["error"]["hint"]
    assert (whole["name"], whole["status"]) == ("./noisy", "ok")
    assert not list(Path("run").rglob(".tmp-*"))


def test_a_padded_vocabulary_is_handled_and_said(broken: Any, capsys: Captured) -> None:
    def pad(tensors: dict[str, Any]) -> None:
        import torch

        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            tensors[name] = torch.cat([tensors[name], torch.ones(8, tensors[name].shape[1])])

    model = broken(weights(pad))
    config(vocab_size=264)(Path(model))
    assert main(["compare", "./tiny", model, *RUN, "--json"]) == 0
    (variant,) = json.loads(capsys.readouterr().out)["variants"]
    figures = variant["corpora"]["fox.txt"]
    assert figures["kl_divergence"]["mean"] == 0.0
    assert any("264 rows, the reference has 256" in note for note in figures["notes"])


# The words after `bitloss`, the exit code, and what error and hint say.
WRONG_WORDS: list[tuple[str, int, str, str]] = [
    ("compare ./tiny ./noisy ./noisy {run}", 2, "`./noisy` is named twice", "name it once"),
    ("compare ./tiny gtpq-4 {run}", 2, "unknown model or recipe `gtpq-4`", "`gptq-4`"),
    ("compare ./tiny gptq-5 {run}", 2, "made with 2, 3, 4, 8 bits, got 5", "`gptq-8`"),
    ("compare ./tiny gguf-q9_0 {run}", 2, "unknown recipe `gguf-q9_0`", "`gguf-q8_0`"),
    ("compare gptq-4 ./noisy {run}", 2, "`gptq-4` is a recipe; a model is expected", "directory"),
    ("compare ./tiny ./noisy {run} --protocol stridded", 2, "unknown protocol", "`strided`"),
    ("compare ./tiny ./noisy {run} --engine dens", 2, "unknown engine `dens`", "`dense`"),
    ("compare ./tiny ./noisy {run} --device banana", 2, "device `banana`", "--device"),
    ("compare ./tiny ./noisy {run} --max-length 4096", 2, "at most 128 tokens", "--max-length 128"),
    ("compare ./tiny ./noisy {run} --max-length 64 --stride 65", 2, "stride of at", "smaller"),
    ("compare ./tiny ./noisy {run} --max-length 1", 2, "at least 2, got 1", "--max-length"),
    ("compare ./tiny ./noisy {run} --limit 0", 2, "'--limit'", "bitloss compare --help"),
    ("compare ./tiny ./noisy --corpus ./fox.txt {run}", 2, "`fox.txt` is named twice", "once"),
    ("compare ./tiny ./noisy --corpus wikitext2 --out run", 2, "unknown corpus", "`wikitext-2`"),
    ("compare ./tiny ./noisy --corpus ./none.txt --out run", 2, "no text at `./none.txt`", "path"),
    ("compare ./tiny ./noisy --corpus ./empty.txt --out run", 1, "white space", "text in it"),
    ("compare ./tiny ./noisy --corpus ./latin.txt --out run", 1,
     r"Latin-1 \(byte 0xfc at offset 1", "iconv -f ISO-8859-1"),
    ("compare ./tiny ./noisy --corpus ./short.txt --out run --protocol gptq", 1,
     "too short for protocol `gptq`: expected at least 128 tokens, got 5", "a longer text"),
    ("compare ./tiny ./noisy --corpus ./tiny --out run", 1, "got a model in", "give a folder"),
    ("compare ./tiny ./noisy --corpus ./fox.txt::text --out run", 1, "column `text`", "remove"),
    ("compare ./none ./noisy {run}", 2, "no model at `./none`", "check the path"),
    ("compare ./tiny ./none {run}", 2, "no model at `./none`", "check the path"),
    ("compare ./fox.txt ./noisy {run}", 1, "got text in `fox.txt`", "config.json"),
    ("compare ./tiny ./noisy --corpus ./fox.txt --out ./fox.txt", 1, "cannot write fox.txt",
     "another directory with --out"),
    ("compare ./tiny ./noisy --corpus ./fox.txt --out /proc/run", 1, "cannot write /proc/run",
     "another directory with --out"),
    ("compare ./tiny ./noisy --corpus wikitext-2 --out run", 1, "HF_HUB_OFFLINE", "--data DIR"),
    ("compare org/name ./noisy {run}", 1, "not in the cache", "unset HF_HUB_OFFLINE"),
    ("perplexity ./tiny --quant gptq-4 {run}", 2, "is a recipe; a model is expected", "directory"),
    ("quantize ./tiny ./fox.txt --recipe gguf-q8_0", 1, "is not empty", "another place"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "error", "hint"), WRONG_WORDS)
def test_wrong_words(
    here: Path, capsys: Captured, words: str, code: int, error: str, hint: str
) -> None:
    (here / "short.txt").write_text("short")
    (here / "empty.txt").write_text(" \n")
    (here / "latin.txt").write_bytes("für".encode("latin1") * 300)
    assert main(words.format(run=" ".join(RUN)).split()) == code
    check(capsys, error, hint)
    assert not Path("run").exists()


@pytest.mark.parametrize(
    ("recipe", "error", "hint"),
    [
        ("gptq-4-g128@./fox.txt", "32 inputs, which groups of 128 do not divide", "gptq-4-g32"),
        ("gptq-4-g48@./fox.txt", "group size of 16, 32, 64", "gptq-4-g32"),
        ("gptq-4", "needs the calibration text `web`", "--calibration FILE"),
        ("gguf-iq2_xxs", "needs an importance matrix", "gguf-iq2_xxs-imatrix"),
        ("./cut.gguf", r"expected at least \d+ bytes, got \d+", "copy the file again"),
        ("./page.gguf", "got a web page (HTML)", "error page"),
        ("org/name", "not in the cache", "unset HF_HUB_OFFLINE"),
    ],
)
def test_variants_that_cannot_be_had(
    here: Path, capsys: Captured, recipe: str, error: str, hint: str
) -> None:
    if recipe == "./cut.gguf":
        assert main(["quantize", "./tiny", "./whole.gguf", "--recipe", "gguf-f16"]) == 0
        Path("cut.gguf").write_bytes(Path("whole.gguf").read_bytes()[:-TRUNCATED])
    Path("page.gguf").write_text("<html>404</html>")
    capsys.readouterr()
    assert main(["compare", "./tiny", recipe, *RUN]) == (2 if recipe == "gguf-iq2_xxs" else 1)
    check(capsys, error, hint)
    assert not list(here.rglob(".making-*"))


def test_a_quantized_gguf_file_is_no_reference_of_recipes(here: Path, capsys: Captured) -> None:
    assert main(["quantize", "./tiny", "./q8.gguf", "--recipe", "gguf-q8_0"]) == 0
    capsys.readouterr()
    assert main(["compare", "./q8.gguf", "gguf-q4_0", *RUN]) == 1
    check(capsys, "expected an unquantized GGUF file", "give the F32, F16 or BF16 file")


@pytest.fixture
def closed_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hub that refuses connections; whoever waits to ask again fails."""
    import time

    from huggingface_hub import constants

    import datasets

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    sleep, here = time.sleep, threading.current_thread()

    def refuse(seconds: float) -> None:
        if threading.current_thread() is here:
            pytest.fail(f"slept {seconds} s")
        sleep(seconds)  # other threads are libraries' own: progress bars, for example

    monkeypatch.setattr(time, "sleep", refuse)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("compare org/name ./noisy {run}", "check the network"),
        ("compare org/name-GGUF:Q4_K_M ./noisy {run}", "check the network"),
        ("compare ./tiny org/name {run}", "check the network"),
        ("compare ./tiny ./noisy --corpus wikitext-2 --out run", "wikitext-2-raw/wiki.test.raw"),
        ("compare ./tiny gptq-4-g32 {run}", "--calibration FILE"),
    ],
)
@pytest.mark.usefixtures("closed_hub")
def test_without_a_network(here: Path, capsys: Captured, words: str, hint: str) -> None:
    assert main(words.format(run=" ".join(RUN)).split()) == 1
    check(capsys, "Connection refused", hint)
