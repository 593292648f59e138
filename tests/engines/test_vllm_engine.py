"""The vLLM engine in its real child process, over a stand-in for vLLM that has exactly the
documented names which the engine uses (`tests/peers/fake_vllm/vllm.py`), and over vLLM itself where
a GPU is. Oracle: the dense engine on the same model.
"""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.cli.main import main
from bitloss.engines.evaluate import evaluate, load_engine, make_scorer
from bitloss.engines.values import Candidate, Model, Room, Setup, TextSetup
from bitloss.engines.vllm import plug
from bitloss.engines.vllm.plug import ENGINE, TOP
from bitloss.errors import (
    CheckpointError,
    CorpusError,
    Incomparable,
    MissingDependency,
    UnsupportedModel,
)
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.runner.store import RunStore
from bitloss.spec.serving import Serving
from bitloss.types import SilentProgress, Window
from engines import text_checks
from peers.served_engine import Words
from peers.tiny import VOCABULARY, save_pair

FAKE = Path(__file__).parents[1] / "peers" / "fake_vllm"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pair(tmp_path_factory.mktemp("vllm"))


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Puts the stand-in where vLLM would be, here and in children; sets what it does."""
    monkeypatch.syspath_prepend(str(FAKE))
    path = [str(FAKE), *filter(None, [__import__("os").environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", ":".join(path))
    monkeypatch.setattr(plug, "gpu_is_there", lambda: True)

    def settings(**values: Any) -> Path:
        log = tmp_path / "log.json"
        monkeypatch.setenv("FAKE_VLLM", json.dumps({"log": str(log), **values}))
        return log

    settings()
    return settings


def candidate(folder: Path, name: str, engine: str, **more: Any) -> Candidate:
    checkpoint = open_checkpoint(folder / name)
    model = Model(name, identify(checkpoint), checkpoint, folder / name)
    if engine == "dense":
        return Candidate(model, engine)
    return Candidate(model, engine, **{"arithmetic": "bf16", "device": "cuda", **more})


def some_windows() -> list[Window]:
    rng = np.random.default_rng(0)
    sizes = (40, 9, 70, 2, 33, 64)
    return [
        Window(rng.integers(2, VOCABULARY, n).astype(np.int32), 1 + (n > 30) * 7) for n in sizes
    ]


def score(folder: Path, out: Path, engine: str, **more: Any) -> dict[str, Any]:
    reference = candidate(folder, "reference", "dense")
    store = RunStore(out)
    setup = Setup(store, reference, SilentProgress(), room=Room(100, 0.5), share_prefixes=True)
    scorer = make_scorer(setup, engine)
    given = candidate(folder, "variant", engine, **more)
    records = evaluate(scorer, scorer.pieces(some_windows()), [given]).records_of(given)
    return store.read_records(records, (*sorted(load_engine(engine).columns), "greedy"))


def test_it_scores(fake: Any, folder: Path, tmp_path: Path) -> None:
    log = fake(dies=str(tmp_path / "died"))  # the first child is killed: nothing changes
    found = score(folder, tmp_path / "a", "vllm")
    exact = score(folder, tmp_path / "b", "dense")
    for name in ("nll", "delta_p", "reference_nll"):
        np.testing.assert_allclose(found[name], exact[name], rtol=1e-4, atol=1e-6)
    for name in ("same_top1", "greedy", "token"):
        np.testing.assert_array_equal(found[name], exact[name])
    lower, whole = found["kl_divergence_topk"], exact["kl_divergence"]
    assert (lower <= whole + 1e-6).all()
    assert lower.mean() > 0.5 * whole.mean()
    assert (tmp_path / "died").exists()
    given = json.loads(log.read_text())
    assert given["max_logprobs"] == TOP
    assert (given["dtype"], given["kv_cache_dtype"]) == ("bfloat16", "auto")
    assert (given["max_model_len"], given["gpu_memory_utilization"]) == (100, 0.5)
    assert given["logprobs_mode"] == "raw_logprobs"
    assert given["skip_tokenizer_init"] is False


def test_types_of_the_cache_and_arithmetics(fake: Any, folder: Path, tmp_path: Path) -> None:
    log = fake()
    score(folder, tmp_path / "a", "vllm", serving=Serving("fp8", "fp8"), arithmetic="fp32")
    given = json.loads(log.read_text())
    assert (given["dtype"], given["kv_cache_dtype"]) == ("float32", "fp8_e4m3")
    chosen = [
        ENGINE.arithmetic(asked, device="cuda", parameters=1, tokens=1)
        for asked in ("auto", "bf16", "mixed", "fp32")
    ]
    assert chosen == ["bf16", "bf16", "bf16", "fp32"]


@pytest.mark.parametrize(
    ("settings", "error", "match"),
    [
        ({"raises": "The quantization method foo is not supported for the current GPU"},
         UnsupportedModel, "vLLM does not run this model here: The quantization method foo"),
        ({"raises": "Free memory on device (1/80 GiB) is less than desired"},
         CheckpointError, "vLLM has not enough GPU memory: Free memory"),
        ({"raises": "There is no module or parameter named `x`"},
         CheckpointError, "vLLM cannot load this model: There is no module"),
        ({"lacks": True}, CheckpointError, "log-probabilities of 40 tokens from vLLM, got none"),
    ],
)  # fmt: skip
def test_what_goes_wrong_is_an_error_in_a_line(
    fake: Any, folder: Path, tmp_path: Path, settings: Any, error: Any, match: str
) -> None:
    fake(**settings)
    with pytest.raises(error, match=match) as raised:
        list(_scores(folder).top_k(some_windows()[:1]))
    assert "\n" not in raised.value.message
    assert raised.value.hint


def _scores(folder: Path) -> Any:
    setup = Setup(RunStore(folder / "none"), candidate(folder, "reference", "dense"),
                  SilentProgress(), room=Room(100))  # fmt: skip
    assert ENGINE.top_k is not None
    return ENGINE.top_k(candidate(folder, "variant", "vllm"), setup)


def test_a_window_beyond_the_room(fake: Any, folder: Path) -> None:
    fake()
    with pytest.raises(CorpusError, match="at most 99 tokens, one less than"):
        list(_scores(folder).top_k([Window(np.full(100, 5, np.int32), 1)]))


def test_log_probabilities_have_to_be_right(fake: Any, folder: Path) -> None:
    """A text that the model knows: what it writes itself. Read a position too late, they are not
    those of the text.
    """
    fake()
    ids = _greedy(folder, [5, 6], 60)
    window = Window(np.array(ids, np.int32), 2)
    known = np.linspace(0, 1, window.n_scored).astype(np.float32)
    fake(shift=1)
    with pytest.raises(Incomparable, match="expected log-probabilities of the text"):
        _scores(folder).require_right(window, known)


def _greedy(folder: Path, ids: list[int], count: int) -> list[int]:
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "variant", dtype=torch.float32).eval()
    with torch.no_grad():
        for _ in range(count):
            ids = [*ids, int(model(torch.tensor([ids])).logits[0, -1].argmax())]
    return ids


@pytest.mark.parametrize("check", text_checks.TEXT_CHECKS, ids=lambda check: check.__name__)
def test_it_writes(fake: Any, folder: Path, check: Any) -> None:
    if check is text_checks.check_a_decided_text_ends_early:
        pytest.skip("vLLM writes to the end; what is decided is cut off afterwards")
    fake()
    given = candidate(folder, "variant", "vllm")
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder / "variant", dtype=torch.float32).eval()

    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    from id_texts import decode  # where children find it

    context = given.model.identity.context
    setup = TextSetup(given.model.identity.config, decode, (1,), batch_tokens=64)
    assert ENGINE.text_model is not None
    check(
        ENGINE.text_model(given, setup),
        text_checks.Facts(VOCABULARY, context, logits, decode, (1,)),
    )


def test_what_it_cannot_run_is_refused_before_the_work(
    fake: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = candidate(folder, "variant", "vllm")
    ENGINE.check(own, Words(), ())
    gguf = tmp_path / "m.gguf"
    gguf.write_bytes(b"GGUF")
    config = json.loads((folder / "variant" / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "hqq"}
    (tmp_path / "hqq").mkdir()
    (tmp_path / "hqq" / "config.json").write_text(json.dumps(config))
    for other, match in (
        (replace(own, device="cpu"), "runs on the first GPU, got device `cpu`"),
        (replace(own, device="cuda:1"), "got device `cuda:1`"),
        (replace(own, arithmetic="mixed"), "computes in bf16 or fp32, got `mixed`"),
        (replace(own, serving=Serving("q8_0", "q8_0")), "of bf16, fp8, got cache q8_0"),
        (replace(own, serving=Serving("fp8", "bf16")), "one type for keys and values"),
        (replace(own, model=replace(own.model, path=gguf)), "got a GGUF file"),
        (replace(own, model=replace(own.model, path=None)), "got a model without files"),
        (replace(own, model=replace(own.model, path=tmp_path / "hqq")), "got `hqq`"),
        (replace(own, alone=True), "give no noise floor"),
    ):
        with pytest.raises(UnsupportedModel, match=match) as raised:
            ENGINE.check(other, Words(), ())
        assert raised.value.hint
    monkeypatch.setattr(plug, "gpu_is_there", lambda: False)
    with pytest.raises(UnsupportedModel, match="got device `cuda`, and found none"):
        ENGINE.check(own, Words(), ())


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_the_package(folder: Path, capsys: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingDependency) as error:
        ENGINE.check(candidate(folder, "variant", "vllm"), Words(), ())
    assert error.value.hint == 'pip install "bitloss[vllm]"'
    words = ["compare", "pocket", "pocket", "--engine", "vllm", "--corpus", "pocket-prose", "-q"]
    assert main([*words, "--out", str(tmp_path)]) != 0
    said = capsys.readouterr().err
    assert "vllm" in said
    assert "hint:" in said
    assert not list(tmp_path.rglob("*.parquet"))


@pytest.mark.cuda
@pytest.mark.skipif(
    find_spec("vllm") is None or not torch.cuda.is_available(), reason="needs vLLM and a GPU"
)
def test_vllm_itself(folder: Path, tmp_path: Path) -> None:
    """Not run where this was written: whoever runs it first sees if the interface is met."""
    found = score(folder, tmp_path / "a", "vllm", arithmetic="fp32")
    exact = score(folder, tmp_path / "b", "dense")
    np.testing.assert_allclose(found["nll"], exact["nll"], atol=0.02)
    assert (found["kl_divergence_topk"] <= exact["kl_divergence"] + 1e-3).all()
