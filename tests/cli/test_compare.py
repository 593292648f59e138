"""`compare` and `perplexity` from the command line on a tiny random model."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bitloss import api
from bitloss.cli.main import main
from bitloss.comparison import Comparison
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
    assert err == "written to run\n"


def test_default_directory_is_said(here: Path, capsys: Captured) -> None:
    assert main(["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "-q"]) == 0
    last = capsys.readouterr().err.splitlines()[-1]
    (run,) = (here / "runs").iterdir()
    assert last == f"written to runs/{run.name}"
    assert run.name.startswith("tiny-")


def test_plan_runs_nothing(here: Path, capsys: Captured) -> None:
    words = "compare ./tiny ./noisy gptq-4 --corpus ./fox.txt --plan"
    assert main(words.split()) == 0
    assert "made first" in capsys.readouterr().out
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
    assert "downloading org/tiny: done" in err
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
        "--engine dense --limit 5 --dtype mixed --protocol strided --max-length 64 --stride 32 "
        "--device cuda:1 --seed 7 --until decided --precision 0.01 --calibration wiki --batch-tokens 128 --trust-remote-code"
    )
    assert main(words.split()) == 130
    ((spec, out),) = asked
    assert out == Path("runs/x")
    assert spec.model_dump() == {
        "reference": "./ref", "tokenizer": None, "variants": ("a", "b"),
        "corpora": ("web", "code"), "corpus_limits": {}, "suite": "code", "chat": True,
        "unsafe_exec": True, "protocol": "strided",
        "tasks": tuple(
            {"name": name, "limit": None, "shots": None, "samples": None}
            for name in ("lambada", "./own.yaml", "humaneval")
        ),
        "protocol_parameters": {"max_length": 64, "stride": 32}, "data": Path("/data"),
        "engine": "dense", "dtype": "mixed", "device": "cuda:1", "limit": 5,
        "samples": 10, "calibration": "wiki", "seed": 7, "batch_tokens": 128,
        "trust_remote_code": True, "until": "decided", "precision": 0.01,
    }  # fmt: skip
