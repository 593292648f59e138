"""`bitloss compare` from beginning to end. Oracles: the shipped schema, the files on disk, and the
definition of the divergence, which is 0 between equal models.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import bitloss
from bitloss.cli.main import main
from bitloss.results.schema import PATH
from peers.tiny import save_tiny

Captured = pytest.CaptureFixture[str]

WORDS = [
    "compare", "./tiny", "./noisy", "./copy", "gguf-q8_0", "gguf-q4_0", "--corpus", "./fox.txt",
    "--out", "run",
]  # fmt: skip


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def read(run: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((run / "comparison.json").read_text())
    return result


def divergences(result: dict[str, Any]) -> dict[str, float]:
    return {
        variant["name"]: corpus["kl_divergence"]["mean"]
        for variant in result["variants"]
        for corpus in variant["corpora"].values()
    }


def test_a_comparison_as_a_program(here: Path, bitloss: Any) -> None:
    shutil.copytree(here / "tiny", here / "copy")
    done = bitloss(WORDS)
    assert done.returncode == 0, done.stderr
    for name in ("./noisy", "./copy", "gguf-q8_0", "gguf-q4_0"):
        assert name in done.stdout
    assert "error" not in done.stdout + done.stderr
    assert done.stderr.splitlines()[-1] == "written to run"
    result = read(here / "run")
    jsonschema.Draft202012Validator(json.loads(PATH.read_text())).validate(result)
    found = divergences(result)
    assert found["./copy"] == 0.0
    assert 0 < found["gguf-q8_0"] < found["gguf-q4_0"] < found["./noisy"]
    before = (here / "run" / "comparison.json").read_bytes()
    written = stamps(here / "run" / "records"), stamps(here / "run" / "states")

    again = bitloss([*WORDS[:-1], "run", "--quiet"])
    assert again.returncode == 0, again.stderr
    assert again.stderr == "report: run/report.html\nwritten to run\n"
    assert again.stdout == done.stdout
    assert (stamps(here / "run" / "records"), stamps(here / "run" / "states")) == written
    # The first command is the one that is recorded.
    assert (here / "run" / "comparison.json").read_bytes() == before
    assert not list((here / "run").rglob(".tmp-*"))


def contents(run: Path) -> dict[Path, bytes]:
    """Every file but the marks that hold the times of files."""
    return {
        path: path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in (".finished", ".report")
    }


def test_the_same_command_gives_the_same_bytes(here: Path, capsys: Captured) -> None:
    words = ["compare", "./tiny", "./noisy", "--corpus", "./long.txt", "--out", "run"]
    assert main(words) == 0
    first = contents(here / "run")
    written = stamps(here / "run" / "records"), stamps(here / "run" / "states")
    capsys.readouterr()
    assert main(words) == 0
    assert "read text" not in capsys.readouterr().err
    assert (stamps(here / "run" / "records"), stamps(here / "run" / "states")) == written
    shutil.move(here / "run", here / "old")
    assert main(words) == 0
    fresh = contents(here / "run")
    assert fresh == first


def test_a_variant_added_later_finds_the_references_records(here: Path, capsys: Captured) -> None:
    words = ["compare", "./tiny", "--corpus", "./long.txt", "--out", "run"]
    assert main([*words, "./noisy"]) == 0
    before = stamps(here / "run" / "records"), stamps(here / "run" / "states")
    capsys.readouterr()
    assert main([*words, "./noisy", "gguf-q8_0"]) == 0
    progress = capsys.readouterr().err
    assert "read text with gguf-q8_0" in progress
    assert "read text with ./tiny" not in progress
    assert "read text with ./noisy" not in progress
    after = stamps(here / "run" / "records"), stamps(here / "run" / "states")
    assert after[0].items() > before[0].items()
    assert after[1] == before[1]


def test_json_is_alone_on_stdout(here: Path, capsys: Captured) -> None:
    assert (
        main(["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--out", "run", "--json"])
        == 0
    )
    out, err = capsys.readouterr()
    assert json.loads(out) == read(here / "run")
    assert all(line.endswith(" ...") or ": done" in line for line in err.splitlines()[:-2])


def test_plan_writes_nothing(here: Path, capsys: Captured) -> None:
    before = sorted(here.iterdir())
    words = [*WORDS[:3], "gptq-4", *WORDS[6:], "--calibration", "./fox.txt"]
    assert main([*words, "--plan"]) == 0
    assert "to be made" in capsys.readouterr().out
    assert sorted(here.iterdir()) == before


def test_a_model_read_by_layers_is_planned_and_gives_the_same_records(
    here: Path, capsys: Captured
) -> None:
    words = ["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--dtype", "fp32"]
    assert main([*words, "--memory", "20KB", "--plan", "--out", "planned"]) == 0
    assert "a layer at a" in capsys.readouterr().out
    for name, more in (("whole", ()), ("layers", ("--memory", "20KB"))):
        assert main([*words, *more, "--out", name]) == 0
    records = [
        {path.name: path.read_bytes() for path in (here / name / "records").iterdir()}
        for name in ("whole", "layers")
    ]
    assert records[0] == records[1]
    names = [sorted(path.name for path in (here / name).iterdir()) for name in ("whole", "layers")]
    assert names[0] == names[1]  # no file of states or heads is left


def test_gptq_with_a_text_of_ones_own(here: Path, capsys: Captured) -> None:
    pytest.importorskip("gptqmodel")
    from peers.tiny import save_tiny

    save_tiny(here / "model", "llama", tie_word_embeddings=False)
    words = "compare ./model gptq-8-g32 --corpus ./fox.txt --calibration ./long.txt --out run"
    assert main(words.split()) == 0, capsys.readouterr().err
    (variant,) = read(here / "run")["variants"]
    assert (variant["format"], variant["group_size"]) == ("gptq", 32)
    assert 0 < divergences(read(here / "run"))["gptq-8-g32"] < 0.01
    made = list((here / "cache" / "variants").glob("gptq-8-g32*/recipe.json"))
    assert len(made) == 1


def test_the_python_face_gives_the_same_numbers(here: Path) -> None:
    options: dict[str, Any] = {"max_length": 96, "stride": 48, "dtype": "fp32"}
    comparison = bitloss.compare(
        "./tiny", ["./noisy"], corpora=["./fox.txt"], out=here / "run", **options
    )
    (variant,) = comparison.variants
    (figures,) = variant.corpora.values()
    (own,) = comparison.reference.corpora.values()
    single = bitloss.evaluate_perplexity("./tiny", "./noisy", corpus="./fox.txt", **options)
    assert single == pytest.approx(figures.perplexity, rel=1e-6)
    assert bitloss.evaluate_perplexity("./tiny", corpus="./fox.txt", **options) == pytest.approx(
        own.perplexity, rel=1e-6
    )
    assert "./noisy" in str(comparison)
    assert "<table" in comparison._repr_html_()


def test_the_python_face_gives_a_data_frame(here: Path) -> None:
    pytest.importorskip("pandas")
    comparison = bitloss.compare("./tiny", ["./noisy"], corpora=["./fox.txt"], out=here / "run")
    frame = comparison.to_dataframe()
    assert "./noisy" in frame.to_string()


def test_a_published_model_of_odd_sizes(here: Path, shared: Path, capsys: Captured) -> None:
    """stories260K is 64 wide and 172 inside, which few groups and no blocks divide.

    llama.cpp has types for such rows (172 is no multiple of 32 either: F16), and notes say so.
    """
    told = {
        "gptq-8": "64 inputs, which groups of 128 do not divide",
        "gptq-4-g64-act": "172 inputs, which groups of 64 do not divide",
        "awq-4": "64 inputs, which groups of 128 do not divide",
    }
    made = {
        "gguf-q8_0": "5 of 36 matrices have rows (172) that the blocks of their type do not "
        "divide; llama.cpp's fallback types are in their place: F16 (5); the others are Q8_0 (31)",
        "gguf-q4_k_m": "36 of 36 matrices have rows (64, 172) that the blocks of their type do not "
        "divide; llama.cpp's fallback types are in their place: Q5_0 (28), F16 (5), Q8_0 (3)",
    }
    data = str(shared / "data")
    words = ["--corpus", "wikitext-2", "--limit", "4", "--out", "run", "--data"]
    model = str(shared / "models" / "stories260K")
    for recipe, reason in told.items():  # before anything is scored
        assert main(["compare", model, recipe, "gguf-f16", *words, data]) == 1
        err = capsys.readouterr().err
        assert f"error: the recipe does not fit `{model}`: " in err
        assert f"{reason}\nhint: " in err
        assert not (here / "run").exists()
    assert main(["compare", model, *made, "gguf-f16", *words, data]) == 0
    out = capsys.readouterr().out
    for variant in read(here / "run")["variants"][:-1]:
        assert made[variant["name"]] in variant["corpora"]["wikitext-2"]["notes"]
        assert made[variant["name"]] in " ".join(out.split())
    assert list(divergences(read(here / "run"))) == [*made, "gguf-f16"]
    assert 0 < divergences(read(here / "run"))["gguf-f16"] < 1e-5


def test_a_quantized_reference_is_said_everywhere(here: Path, capsys: Captured) -> None:
    save_tiny(here / "merging", "llama")  # a GGUF file's tokenizer has to have merges
    assert main(["quantize", "./merging", "./q8.gguf", "--recipe", "gguf-q8_0"]) == 0
    capsys.readouterr()
    run = ["--corpus", "./fox.txt", "--limit", "2"]
    assert main(["compare", "./q8.gguf", "./merging", *run, "--out", "run"]) == 0
    words = "the reference is itself quantized (gguf-q8_0, "
    assert words in " ".join(capsys.readouterr().out.split())
    notes = read(Path("run"))["reference"]["corpora"]["fox.txt"]["notes"]
    assert any(note.startswith(words) for note in notes)
    assert words in Path("run/report.html").read_text()
    assert main(["card", "run"]) == 0
    assert words in capsys.readouterr().out
    # A dense reference and a model alone have nothing to say of it.
    for command in (["compare", "./tiny", "./noisy"], ["perplexity", "./q8.gguf"]):
        assert main([*command, *run, "--out", f"run-{command[0]}"]) == 0
        assert "itself quantized" not in capsys.readouterr().out
