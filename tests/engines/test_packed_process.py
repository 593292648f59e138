"""The packed engine's own process: silent, killed, and of no consequence for this one.

Oracle: the same model loaded in this process.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from bitloss.cli.main import main
from bitloss.engines.packed.plug import ENGINE
from bitloss.engines.values import Candidate, TextSetup
from bitloss.errors import CheckpointError, CorpusError, UnsupportedModel
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.requests import Decoding, GenerateRequest
from bitloss.results import Comparison
from peers.packed_models import IN_PROCESS, Make, candidate, logits_of, maker, some_window


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    return maker(tmp_path_factory.mktemp("packed"))


def loaded(own: Candidate) -> Any:
    assert ENGINE.logits is not None
    return ENGINE.logits(own, batch_tokens=64)


def test_a_library_changes_nothing_and_prints_nothing(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    own = candidate(make("gptq-4")[0])
    imported = {name for name in sys.modules if name.startswith("gptqmodel")}

    def state() -> Any:
        root = logging.getLogger()
        return (dict(os.environ), list(root.handlers), root.level, list(warnings.filters),
                sys.stdout, sys.stderr, torch.get_default_dtype(), torch.get_num_threads(),
                torch.is_grad_enabled(), root.manager.disable)  # fmt: skip

    before = state()
    capfd.readouterr()
    found = torch.cat(list(loaded(own).logits(some_window())))
    assert state() == before
    assert capfd.readouterr() == ("", "")
    assert {name for name in sys.modules if name.startswith("gptqmodel")} == imported
    torch.testing.assert_close(found, logits_of(own, some_window()), atol=1e-4, rtol=0)


def test_a_process_that_dies_is_started_again_once(make: Make) -> None:
    """An illegal instruction in a kernel is a retry, and the second one an error of one line."""
    own = candidate(make("w8a16")[0])
    model = loaded(own)
    expected = torch.cat(list(model.logits(some_window())))
    os.kill(model.pid, signal.SIGILL)
    assert torch.equal(torch.cat(list(model.logits(some_window()))), expected)
    os.kill(model.pid, signal.SIGILL)
    with pytest.raises(CheckpointError, match="packed kernels was killed by SIGILL") as error:
        list(model.logits(some_window()))
    assert error.value.message.startswith(own.model.name)
    assert error.value.hint == "use --engine dense for this model"


def test_texts_are_those_of_this_process(make: Make) -> None:
    path, _ = make("w8a16")
    own = candidate(path)
    setup = TextSetup(own.model.identity.config, load_tokenizer(path).decode, (1,))
    assert ENGINE.text_model is not None
    assert IN_PROCESS.text_model is not None
    greedy, sampled = Decoding(12), Decoding(12, temperature=1.0, top_p=0.9, stop=("e",))
    requests = [
        GenerateRequest(some_window(size).ids, decoding, size)
        for size in (3, 9, 30)
        for decoding in (greedy, sampled)
    ]
    expected = dict(IN_PROCESS.text_model(own, setup).generate(requests))
    model: Any = ENGINE.text_model(own, setup)
    assert dict(model.generate(requests)) == expected
    assert model.nbytes > 50_000
    texts = model.generate(requests)
    first = dict([next(texts)])
    os.kill(model.pid, signal.SIGILL)  # what was given back is not written again
    assert first | dict(texts) == expected
    with pytest.raises(CorpusError, match="request 1 has a prompt of 128 tokens"):
        list(model.generate([requests[0], GenerateRequest(some_window(128).ids, greedy)]))


def test_a_refusal_is_told_here(make: Make) -> None:
    """Whether it is seen before the process is started, or by the library in it."""
    with pytest.raises(UnsupportedModel, match="the awq kernels compute in float16, got float32"):
        loaded(candidate(make("awq-4")[0], "fp32"))
    with pytest.raises(UnsupportedModel, match="got device `meta`"):
        loaded(candidate(make("w8a16")[0], device="meta"))


def test_the_command_line(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The oracle is the dense engine on the same file and tokens."""
    monkeypatch.chdir(tmp_path)
    (reference, _), (path, _) = make("dense"), make("w8a16", 0.05)
    (tmp_path / "text.txt").write_text("the thing in the inn, then the other thing. " * 60)
    results = {}
    for engine in ("dense", "packed"):
        words = ["compare", str(reference), str(path), "--engine", engine, "--out", engine,
                 "--corpus", "text.txt", "--dtype", "fp32", "--no-report", "-q"]  # fmt: skip
        assert main(words) == 0, capsys.readouterr().err
        (variant,) = Comparison.load(engine).variants
        (results[engine],) = variant.corpora.values()
    dense, packed = results["dense"], results["packed"]
    assert packed.noise_floor is not None
    assert packed.kl_divergence.mean == pytest.approx(dense.kl_divergence.mean, rel=1e-3)
    assert packed.perplexity == pytest.approx(dense.perplexity, rel=1e-5)
