"""An engine over a native runtime: llama.cpp on GGUF files beside a dense reference.

Oracles: transformers' forward of the same weights, and the dense engine on the same files.
"""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import torch

from bitloss.cli.main import main
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.llamacpp.plug import ENGINE
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.errors import BitlossError, CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.quantizers.gguf_writer import open_source, write_gguf
from bitloss.requests import Decoding, GenerateRequest
from bitloss.results import Comparison
from bitloss.runner.store import RunStore
from bitloss.spec.serving import Serving
from bitloss.types import SilentProgress, Window
from engines import pair_checks, text_checks
from peers.served_engine import Words
from peers.tiny import VOCABULARY, save_tiny

pytestmark = pytest.mark.skipif(
    find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"
)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Path], dict[str, Any]]:
    """F32 files of a random model, of two noisy copies and of a broken one; and the models."""
    folder = tmp_path_factory.mktemp("gguf")
    paths, models = {}, {}
    for name, noise in (("reference", 0.0), ("a", 0.03), ("b", 0.05), ("broken", torch.nan)):
        model = save_tiny(folder / name, "llama")
        torch.manual_seed(3)
        with torch.no_grad():
            for weight in model.parameters():
                weight += noise * torch.randn_like(weight) if noise else 0.0
        model.save_pretrained(folder / name)
        paths[name], models[name] = folder / f"{name}.gguf", model
        write_gguf(open_source(folder / name), paths[name])
    return paths, models


def candidate(path: Path, engine: str = "llama.cpp", **options: Any) -> Candidate:
    checkpoint = open_checkpoint(path)
    model = Model(path.stem, identify(checkpoint), checkpoint, path)
    return Candidate(model, engine, "fp32", **options)


@pytest.mark.parametrize("check", pair_checks.PAIR_CHECKS, ids=lambda check: check.__name__)
def test_it_scores(files: Any, tmp_path: Path, check: Any) -> None:
    paths, models = files

    def logits(name: str, ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return models[name](torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    facts = pair_checks.Facts(
        vocabulary=VOCABULARY,
        reference=candidate(paths["reference"], "dense"),
        copy=candidate(paths["reference"]),
        variants=(candidate(paths["a"]), candidate(paths["b"])),
        broken=candidate(paths["broken"]),
        logits=logits,
        tolerance=1e-4,
        floor=1e-5,
    )
    check(ENGINE, facts, tmp_path)


def test_the_command_line(
    pocket: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """The oracle is the dense engine on the same files and tokens."""
    monkeypatch.chdir(tmp_path)
    for name in ("f16", "q8_0"):
        assert main(["quantize", "pocket", f"{name}.gguf", "--recipe", f"gguf-{name}", "-q"]) == 0
    results = {}
    for engine in ("dense", "llama.cpp"):
        words = ["compare", "pocket", "f16.gguf", "q8_0.gguf", "--engine", engine, "--out", engine,
                 "--corpus", "pocket-prose", "--limit", "4", "--no-report", "-q"]  # fmt: skip
        assert main(words) == 0, capsys.readouterr().err
        results[engine] = [v.corpora["pocket-prose"] for v in Comparison.load(engine).variants]
    capsys.readouterr()
    (dense_f16, dense_q8), (f16, q8) = results["dense"], results["llama.cpp"]
    # Dense tensors of both files are the same; llama.cpp rounds what they are multiplied with to
    # half precision (F16) or to 8 bits (Q8_0), which costs more than the weights of F16 do.
    assert dense_f16.kl_divergence.mean < 1e-8
    assert f16.kl_divergence.mean < 1e-4
    assert f16.perplexity == pytest.approx(dense_f16.perplexity, rel=1e-3)
    assert dense_q8.kl_divergence.mean < q8.kl_divergence.mean < 2 * dense_q8.kl_divergence.mean
    assert q8.perplexity == pytest.approx(dense_q8.perplexity, rel=3e-3)
    # The reference was written as a GGUF file of float32, whose products are not rounded.
    assert q8.noise_floor is not None
    assert q8.noise_floor.kl_divergence < 1e-6


@pytest.mark.parametrize("check", text_checks.TEXT_CHECKS, ids=lambda check: check.__name__)
def test_it_writes(files: Any, check: Any) -> None:
    paths, models = files

    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return models["a"](torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    given = candidate(paths["a"])
    context = given.model.identity.context
    facts = text_checks.Facts(
        vocabulary=VOCABULARY, context=context, logits=logits, decode=decode, eos_ids=(1,)
    )
    setup = TextSetup(given.model.identity.config, decode, (1,), batch_tokens=64)
    check(ENGINE.text_model(given, setup), facts)


def decode(ids: Any) -> str:
    return " ".join(map(str, ids))


def test_a_killed_child_costs_no_text(files: Any) -> None:
    given = candidate(files[0]["a"])
    setup = TextSetup(given.model.identity.config, decode, (1,))
    prompts = np.random.default_rng(5).integers(2, VOCABULARY, (40, 9)).astype(np.int32)
    decoding = Decoding(6, temperature=1.0)
    requests = [GenerateRequest(ids, decoding, seed) for seed, ids in enumerate(prompts)]
    expected = dict(ENGINE.text_model(given, setup).generate(requests))
    model = ENGINE.text_model(given, setup)
    found = {}
    for n, (index, text) in enumerate(model.generate(requests)):
        found[index] = text
        if n == 11:
            os.kill(model.pid, signal.SIGKILL)
    assert found == expected


def test_what_it_cannot_run_is_refused_in_a_line(pocket: Path, files: Any, tmp_path: Path) -> None:
    checkpoint = open_checkpoint(pocket)
    identity = identify(checkpoint)
    packed = replace(identity, info=replace(identity.info, bits=4, format="gptq", group_size=128))
    given = Candidate(Model("m", packed, checkpoint, pocket), "llama.cpp")
    with pytest.raises(UnsupportedModel, match=r"expected a GGUF file, got gptq\n") as error:
        ENGINE.logits(given, batch_tokens=64)
    assert "bitloss quantize" in error.value.hint
    whole = files[0]["a"]
    with pytest.raises(UnsupportedModel, match="runs on the CPU, got device `cuda`"):
        ENGINE.logits(candidate(whole, device="cuda"), batch_tokens=64)
    with pytest.raises(UnsupportedModel, match=r"^a: llama\.cpp has no fp8 cache, expected one of"):
        ENGINE.logits(candidate(whole, serving=Serving("fp8", "fp8")), batch_tokens=64)
    model = candidate(whole).model
    for change, match in (
        (lambda data: data[:-100], r"^a: llama\.cpp cannot load this file: .+\nhint"),
        (lambda data: data.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0lloma", 1),
         "^a: the installed llama.cpp does not know architecture `lloma`\nhint"),
    ):  # fmt: skip
        file = tmp_path / "a.gguf"
        file.write_bytes(change(whole.read_bytes()))
        with pytest.raises(BitlossError, match=match):
            ENGINE.logits(Candidate(replace(model, path=file), "llama.cpp"), batch_tokens=64)
    with pytest.raises(UnsupportedModel, match="does not know architecture `lloma`"):
        ENGINE.check(Candidate(replace(model, path=file), "llama.cpp"), Words(), ())
    with pytest.raises(UnsupportedModel, match="expected a GGUF file, got gptq"):
        ENGINE.check(given, Words(), ())


def test_a_window_longer_than_the_context_is_refused(files: Any) -> None:
    model = ENGINE.logits(candidate(files[0]["a"]), batch_tokens=64)
    window = Window(np.full(2000, 3, np.int32), 1)
    with pytest.raises(UnsupportedModel, match=r"^a: expected windows of at most \d+ tokens"):
        list(model.logits(window))
    assert len(list(model.logits(Window(np.arange(3, 9, dtype=np.int32), 1)))) == 1


@pytest.mark.parametrize("cache", ["f32", "f16"])
def test_logits_are_those_of_the_high_level_interface(
    pocket: Path, tmp_path: Path, cache: str
) -> None:
    """The oracle is `llama_cpp.Llama.eval`, in another process, bit for bit: windows longer than a
    forward, of a multiple of four tokens or not, in a file of several types.
    """
    file = tmp_path / "q4_k_m.gguf"
    assert main(["quantize", "pocket", str(file), "--recipe", "gguf-q4_k_m", "-q"]) == 0
    rng = np.random.default_rng(1)
    windows = [Window(rng.integers(5, 2000, n).astype(np.int32), 1) for n in (600, 64, 33)]
    np.savez(tmp_path / "ids.npz", *(window.ids for window in windows))
    script = (
        "import sys, numpy as np\n"
        "from llama_cpp import Llama\n"
        "model = Llama(sys.argv[1], n_ctx=640, n_batch=512, n_ubatch=512, logits_all=True,\n"
        "    verbose=False, type_k=int(sys.argv[3]), type_v=int(sys.argv[3]), flash_attn=False)\n"
        "found = []\n"
        "for ids in np.load(sys.argv[2]).values():\n"
        "    model.reset()\n"
        "    model.eval((ids if len(ids) % 4 == 0 else ids[:-1]).tolist())\n"
        "    found.append(model.scores[: len(ids) - 1].copy())\n"
        "np.save(sys.argv[2] + '.npy', np.concatenate(found))\n"
    )
    words = [str(file), str(tmp_path / "ids.npz"), {"f32": "0", "f16": "1"}[cache]]
    subprocess.run([sys.executable, "-c", script, *words], check=True, capture_output=True)
    expected = np.load(tmp_path / "ids.npz.npy")
    model = ENGINE.logits(candidate(file, serving=Serving(cache, cache)), batch_tokens=2048)
    found = np.concatenate([block.numpy() for w in windows for block in model.logits(w)])
    np.testing.assert_array_equal(found, expected)


def test_shared_beginnings_change_no_number(files: Any) -> None:
    """Windows that share beginnings, all of it, or nothing, against each by itself."""
    rng = np.random.default_rng(2)
    model = ENGINE.logits(candidate(files[0]["a"]), batch_tokens=64)
    preamble = rng.integers(2, VOCABULARY, 30).astype(np.int32)
    windows = []
    for _ in range(4):
        question = np.append(preamble, rng.integers(2, VOCABULARY, 9).astype(np.int32))
        for size in (1, 1, 3, 6, 2):
            option = rng.integers(2, VOCABULARY, size).astype(np.int32)
            windows.append(Window(np.append(question, option), len(question)))
        windows.append(Window(question[:-1], 5))
    windows += [Window(np.array([5, 6, 7, 8], np.int32), first) for first in (2, 1, 3)]
    alone = np.concatenate([block.numpy() for w in windows for block in model.logits(w)])
    np.testing.assert_allclose(some_logits(model, windows), alone, atol=1e-5)


@pytest.mark.parametrize("cache", ["q8_0/q8_0", "f32/q4_0", "q5_1/f16", "bf16/iq4_nl"])
def test_caches_of_few_bits_change_the_logits_and_their_names(
    pocket: Path, tmp_path: Path, cache: str
) -> None:
    file = tmp_path / "f32.gguf"
    assert main(["quantize", "pocket", str(file), "--recipe", "gguf-f32", "-q"]) == 0
    served = candidate(file, serving=Serving(*cache.split("/")))
    assert ENGINE.identity(served, batch_tokens=64) != ENGINE.identity(
        candidate(file), batch_tokens=64
    )
    window = Window(np.random.default_rng(1).integers(5, 2000, 200).astype(np.int32), 1)
    exact, other = (
        torch.cat(list(ENGINE.logits(one, batch_tokens=512).logits(window))).log_softmax(1)
        for one in (candidate(file), served)
    )
    divergence = (exact.exp() * (exact - other)).sum(1).mean()
    assert 1e-6 < divergence < 0.5


@pytest.mark.parametrize("cache", ["f32", "q4_0"])
def test_layers_are_moved_by_no_more_than_their_last_bit(
    pocket: Path, tmp_path: Path, cache: str
) -> None:
    """The model is shallow, so what is moved stays float32's rounding: some 1e-11 nats."""
    file = tmp_path / "f32.gguf"
    assert main(["quantize", "pocket", str(file), "--recipe", "gguf-f32", "-q"]) == 0
    window = Window(np.random.default_rng(1).integers(5, 2000, 128).astype(np.int32), 1)
    plain = candidate(file, serving=Serving(cache, cache))
    nudged = replace(plain, nudged=True)
    assert ENGINE.identity(plain, batch_tokens=64) != ENGINE.identity(nudged, batch_tokens=64)
    one, other = (
        torch.cat(list(ENGINE.logits(c, batch_tokens=512).logits(window))) for c in (plain, nudged)
    )
    assert not torch.equal(one, other)
    one, other = one.double().log_softmax(1), other.double().log_softmax(1)
    assert 0 < float((one.exp() * (one - other)).sum(1).mean()) < 1e-6


def some_logits(model: Any, windows: list[Window]) -> np.ndarray:
    return np.concatenate([block.numpy() for block in model.logits_of(windows)])


def some_windows() -> list[Window]:
    ids = np.random.default_rng(0).integers(2, VOCABULARY, (40, 60)).astype(np.int32)
    return [Window(own, 1) for own in ids]


def test_a_child_that_is_killed_is_started_again(files: Any) -> None:
    """Whenever it is killed, the logits are those of one that never was."""
    expected = some_logits(ENGINE.logits(candidate(files[0]["a"]), batch_tokens=64), some_windows())
    for moment in (0, 1, 7, 30):
        model = ENGINE.logits(candidate(files[0]["a"]), batch_tokens=64)
        found = []
        for n, block in enumerate(model.logits_of(some_windows())):
            found.append(block.numpy())
            if n == moment:
                killed = model.pid
                os.kill(killed, signal.SIGKILL)
        assert (np.concatenate(found) == expected).all()
        assert model.pid != killed


class _Killer(SilentProgress):
    """Kills the processes of models once, when the first piece has been scored."""

    def __init__(self) -> None:
        self.killed: list[int] = []

    @contextmanager
    def task(self, label: str, total: int | None, unit: str = "tokens") -> Iterator[Any]:
        def advance(n: int) -> None:
            if label.startswith("compare") and not self.killed:
                for child in psutil.Process().children():
                    if "bitloss.engines.child.serve" in child.cmdline():
                        self.killed.append(child.pid)
                        child.kill()

        yield advance


def test_a_run_whose_child_is_killed_writes_the_same_bytes(files: Any, tmp_path: Path) -> None:
    written, killer = [], _Killer()
    for name, progress in (("whole", SilentProgress()), ("killed", killer)):
        reference = candidate(files[0]["reference"], "dense")
        setup = Setup(RunStore(tmp_path / name), reference, progress, batch_tokens=64)
        scorer = make_scorer(setup, "llama.cpp")
        pieces = scorer.smallest_pieces(some_windows(), 1)
        scores = evaluate(scorer, pieces, [candidate(files[0]["a"]), candidate(files[0]["b"])])
        assert not scores.failed
        records = sorted((tmp_path / name / "records").iterdir())
        written.append({path.name: path.read_bytes() for path in records})
    assert killer.killed
    assert written[0] == written[1]


def test_a_child_that_dies_twice_fails_the_model(files: Any) -> None:
    model = ENGINE.logits(candidate(files[0]["a"]), batch_tokens=64)

    def read_and_kill() -> None:
        for _ in model.logits_of(some_windows()):
            os.kill(model.pid, signal.SIGILL)

    with pytest.raises(CheckpointError, match=r"^a: llama\.cpp was killed by SIGILL") as error:
        read_and_kill()
    assert "bitloss doctor" in error.value.hint


def test_logits_that_nobody_reads_to_the_end_leave_no_trace(files: Any) -> None:
    model = ENGINE.logits(candidate(files[0]["a"]), batch_tokens=64)
    expected = some_logits(model, some_windows())
    for _ in range(3):
        for _block in model.logits_of(some_windows()):
            break
        kept = list(model.logits_of(some_windows()))
        assert (np.concatenate([block.numpy() for block in kept]) == expected).all()


def test_a_child_ends_with_its_model_and_with_its_parent(files: Any, tmp_path: Path) -> None:
    model = ENGINE.logits(candidate(files[0]["a"]), batch_tokens=64)
    pid = model.pid
    del model
    gc.collect()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    script = (
        "import os, signal, sys\n"
        "from bitloss.engines.child.logits import ChildLogits\n"
        "from bitloss.engines.child.process import Start\n"
        "from bitloss.engines.llamacpp.settings import Settings\n"
        "values = dict(path=sys.argv[1], name='a', settings=Settings('f32', 'f32', False, 1, 64))\n"
        "start = Start('bitloss.engines.llamacpp.model:load', values, name='a', runtime='x')\n"
        "model = ChildLogits(start)\n"
        "print(model.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(files[0]["a"])], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    pid = int(done.stdout)
    for _ in range(500):
        if (
            not Path(f"/proc/{pid}").exists()
            or "(zombie)" in Path(f"/proc/{pid}/status").read_text()
        ):
            break
        time.sleep(0.02)
    else:
        pytest.fail("the child outlived its parent")
