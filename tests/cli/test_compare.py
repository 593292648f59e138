"""`compare` and `perplexity` from the command line on a tiny random model."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from bitloss import api
from bitloss.cli.main import main
from bitloss.results import Comparison
from peers.hub import Hub, serve
from peers.tiny_model import write_tiny_model

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli")
    write_tiny_model(folder / "tiny")
    write_tiny_model(folder / "noisy", noise=0.02)
    (folder / "fox.txt").write_text("The quick brown fox jumps over the lazy dog. " * 30)
    return folder


@pytest.fixture
def here(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which the models are called ./tiny and ./noisy."""
    for name in ("tiny", "noisy", "fox.txt"):
        (tmp_path / name).symlink_to(models / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_compare_prints_a_table_and_writes_the_result(here: Path, capsys: Captured) -> None:
    assert main(["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--out", "run"]) == 0
    out, err = capsys.readouterr()
    assert "./noisy" in out
    assert "noise floor" in out
    assert err.splitlines()[-1] == "written to run"
    result = Comparison.load(here / "run")
    assert (
        result.environment.command == "bitloss compare ./tiny ./noisy --corpus ./fox.txt --out run"
    )
    assert [variant.name for variant in result.variants] == ["./noisy"]


def test_json_on_stdout_is_the_file(here: Path, capsys: Captured) -> None:
    words = "compare ./tiny ./noisy --corpus ./fox.txt --out run --json --quiet"
    assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert out == (here / "run" / "comparison.json").read_text()
    assert err == "report: run/report.html\nwritten to run\n"
    assert "./noisy" in (here / "run" / "report.html").read_text()


def test_default_directory_is_said(here: Path, capsys: Captured) -> None:
    assert main(["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "-q"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    (run,) = (here / "runs").iterdir()
    assert last == f"written to runs/{run.name}"
    assert run.name.startswith("tiny-")


def test_plan_runs_nothing(here: Path, capsys: Captured) -> None:
    words = "compare ./tiny ./noisy gptq-4 --corpus ./fox.txt --calibration ./fox.txt --plan"
    assert main(words.split()) == 0
    assert "to be made" in capsys.readouterr().out
    assert main([*words.split(), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in plan["models"]] == ["./tiny", "./noisy", "gptq-4"]
    assert not (here / "runs").exists()


def test_perplexity_of_one_model(here: Path, capsys: Captured) -> None:
    assert main(["perplexity", "./tiny", "--corpus", "./fox.txt", "--out", "run"]) == 0
    out = capsys.readouterr().out
    (figures,) = Comparison.load(here / "run").reference.corpora.values()
    assert f"{figures.perplexity:.2f}" in out


def test_perplexity_of_a_quantized_copy(here: Path, capsys: Captured) -> None:
    words = "perplexity ./tiny --quant ./noisy --corpus ./fox.txt --out run --json"
    assert main(words.split()) == 0
    assert json.loads(capsys.readouterr().out)["reference"]["name"] == "./noisy"


def test_models_of_a_hub(here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    from bitloss.runner import models

    repos = {
        f"org/{name}": {"main": {file.name: file.read_bytes() for file in (here / name).iterdir()}}
        for name in ("tiny", "noisy")
    }
    with serve(Hub(repos)) as hub:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        place = partial(models.locate, endpoint=hub.url, cache=here / "hub")
        monkeypatch.setattr(models, "locate", place)
        words = "compare org/tiny org/noisy@main --corpus ./fox.txt --out run --json"
        assert main(words.split()) == 0
    out, err = capsys.readouterr()
    assert "downloading org/tiny ..." in err
    result = json.loads(out)
    assert result["reference"]["name"] == "org/tiny"
    assert (
        main(["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--out", "local", "--json"])
        == 0
    )
    local = json.loads(capsys.readouterr().out)
    assert result["variants"][0]["corpora"] == local["variants"][0]["corpora"]


def test_failed_variant_does_not_stop_the_others(here: Path, capsys: Captured) -> None:
    (here / "empty").mkdir()
    words = "compare ./tiny ./empty ./noisy --corpus ./fox.txt --out run"
    assert main(words.split()) == 1
    out = capsys.readouterr().out
    assert "error:" in out
    assert "./noisy" in out


def test_every_option_reaches_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Any, Path]] = []

    def record(spec: Any, out: Path, **_: Any) -> None:
        asked.append((spec, out))
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "run", record)
    words = (
        "compare ./ref a b --suite code --tasks lambada,./own.yaml --tasks humaneval --chat "
        "--samples 10 --unsafe-exec --corpus web --corpus code --data /data --out runs/x "
        "--engine dense --cache-type q8_0/q4_0 --activations int8 --speed --limit 5 --dtype mixed "
        "--protocol strided --max-length 64 --stride 32 "
        "--device cuda:1 --seed 7 --until decided --precision 0.01 --calibration wiki "
        "--calibration-sequences 9 --calibration-length 99 "
        "--batch-tokens 128 --memory 8GB --gpu-memory 0.5 --context-tokens 99 "
        "--include-path /tasks --trust-remote-code --workers 3 --price 1.5 --executor "
        "ray://head:10001"
    )
    assert main(words.split()) == 130
    ((spec, out),) = asked
    assert out == Path("runs/x")
    assert spec.protocol_parameters == {"max_length": 64, "stride": 32}
    assert asdict(replace(spec, tasks=tuple(map(dict, spec.tasks)))) == {
        "reference": "./ref", "tokenizer": None, "variants": ("a", "b"),
        "corpora": ("web", "code"), "corpus_limits": {}, "suite": "code", "chat": True,
        "unsafe_exec": True, "protocol": "strided",
        "tasks": tuple(
            {"name": name, "limit": None, "shots": None, "samples": None,
             "include_path": (), "capability": None}
            for name in ("lambada", "./own.yaml", "humaneval")
        ),
        "max_length": 64, "stride": 32, "data": Path("/data"),
        "engine": ("dense",), "cache_type": "q8_0/q4_0", "activations": "int8", "speed": True,
        "dtype": "mixed",
        "device": "cuda:1", "limit": 5,
        "replicates": 1, "template_args": {}, "thinking_budget": None,
        "thinking_markers": "<think>,</think>",
        "samples": 10, "calibration": {"corpus": "wiki", "samples": 9, "length": 99}, "seed": 7,
        "batch_tokens": 128, "memory": "8GB", "gpu_memory": 0.5, "context_tokens": 99,
        "include_path": (Path("/tasks"),), "trust_remote_code": True, "until": "decided",
        "precision": 0.01, "executor": "ray://head:10001", "workers": 3, "price": 1.5,
    }  # fmt: skip


def figures(run: Path) -> dict[str, Any]:
    return json.loads((run / "comparison.json").read_text())


def test_until_decided_stops_early_and_says_so(here: Path, capsys: Captured) -> None:
    (here / "long.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(2000)))
    words = (
        "compare ./tiny ./noisy ./tiny/ --corpus ./long.txt --batch-tokens 256 --until decided "
        "--out run -q"
    )
    assert main(words.split()) == 0
    out = capsys.readouterr().out
    assert "the intervals hold at every look" in " ".join(out.split())
    first = figures(here / "run")
    assert first["environment"]["until"] == "decided"
    own = first["reference"]["corpora"]["long.txt"]
    for variant in first["variants"]:
        corpus = variant["corpora"]["long.txt"]
        assert corpus["stopped"] == "decided"
        assert corpus["n_scored"] < corpus["n_total"] / 4
        assert corpus["n_scored"] <= own["n_scored"]
        assert variant["verdict"]["settled"]
    same = first["variants"][1]["corpora"]["long.txt"]
    assert same["reference_perplexity"] == same["perplexity"]
    # Again, in the same place: the same bytes.
    before = (here / "run" / "comparison.json").read_bytes()
    assert main(words.split()) == 0
    assert (here / "run" / "comparison.json").read_bytes() == before


def test_precision_goes_on_until_it_is_reached(here: Path, capsys: Captured) -> None:
    (here / "long.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(600)))
    words = (
        "compare ./tiny ./noisy --corpus ./long.txt --batch-tokens 256 -q --no-report --precision"
    )
    half: dict[float, float] = {}
    for precision, stopped in ((0.012, "precision"), (1e-6, "end")):
        run = here / str(precision)
        assert main([*words.split(), str(precision), "--out", str(run)]) == 0
        corpus = figures(run)["variants"][0]["corpora"]["long.txt"]
        assert corpus["stopped"] == stopped
        relative = corpus["relative_perplexity"]
        half[precision] = (relative["high"] - relative["low"]) / 2
        assert (corpus["n_scored"] == corpus["n_total"]) == (stopped == "end")
    assert half[0.012] <= 0.012
    assert "not decided" not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("until", "stopped"), [("--precision 0.001", "precision"), ("--until decided", "decided")]
)
def test_what_is_near_the_floor_is_drawn_again_where_that_tells(
    here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch, until: str, stopped: str
) -> None:
    """In bf16 a copy with tiny noise is nothing but rounding; float32 sees it, on drawn windows.
    Whatever the rounding may be, the copy is acceptable.
    """
    precision = import_module("bitloss.engines.dense.precision")
    monkeypatch.setattr(precision, "has_fast_bf16", lambda device: True)
    monkeypatch.setattr(precision, "SMALL_RUN", 0)
    write_tiny_model(here / "near", noise=1e-5)
    (here / "long.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(2000)))
    words = f"compare ./tiny ./near --corpus ./long.txt --batch-tokens 256 {until} --out run -q"
    assert main(words.split()) == 0
    corpus = figures(here / "run")["variants"][0]["corpora"]["long.txt"]
    assert corpus["dtype"] == "bf16"
    assert corpus["stopped"] == stopped
    if stopped == "decided":
        assert "rescored" not in corpus
        assert "within ten noise floors" in " ".join(capsys.readouterr().out.split())
        return
    assert corpus["rescored"]["dtype"] == "fp32"
    assert corpus["rescored"]["n_scored"] < corpus["n_total"] / 4
    assert corpus["kl_divergence"]["mean"] < corpus["noise_floor"]["kl_divergence"] / 10
    assert "on the first" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--precision 0", "precision"),
        ("--precision -0.1", "precision"),
        ("--precision nan", "precision"),
        ("--until soon", "--until"),
        ("--precision 0.01 --tasks lambada", "which is of the perplexity, got only tasks"),
    ],
)
def test_looks_that_cannot_be(here: Path, capsys: Captured, words: str, told: str) -> None:
    assert main(["compare", "./tiny", "./noisy", *words.split()]) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Traceback" not in err


def test_nothing_to_decide_about(here: Path) -> None:
    from bitloss.errors import UsageError

    with pytest.raises(UsageError, match="expected variants for --until"):
        api.make_spec("./tiny", [], until="decided")
