"""`bitloss report`, and the report that `compare` leaves, from the command line."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bitloss import api
from bitloss.cli.main import main
from bitloss.cli.report import write_report_page
from bitloss.reports import write
from bitloss.results import Comparison
from example_store import write_run

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_run(tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_report_is_written_beside_the_run(here: Path, capsys: Captured) -> None:
    assert main(["report", "run"]) == 0
    out, err = capsys.readouterr()
    assert (out, err) == ("", "written to run/report.html\n")
    assert "</html>" in (here / "run/report.html").read_text()


def test_formats_may_be_repeated(here: Path, capsys: Captured) -> None:
    words = "report run --format json --format csv --format json --out all"
    assert main(words.split()) == 0
    assert capsys.readouterr().err.splitlines() == [
        "written to all/report.json", "written to all/csv/summary.csv",
        "written to all/csv/tokens.csv",
        "written to all/csv/items.csv",
    ]  # fmt: skip


def test_what_is_missing_is_said(here: Path, capsys: Captured) -> None:
    path = here / "run/manifest.json"
    manifest = json.loads(path.read_text())
    manifest["variants"][1] |= {"info": None, "error": {"message": "lost [x]", "hint": ""}}
    path.write_text(json.dumps(manifest))
    assert main(["report", "run", "--format", "json"]) == 0
    assert capsys.readouterr().err.splitlines()[0] == "q8.gguf failed: lost [x]"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("none", 2, "expected a run directory at none, got nothing"),
        (".", 1, ".: not a finished run (no manifest.json)"),
        ("run --format pdf", 2, "invalid value for '--format'"),
        ("run --format csv --out x.csv", 2, "--out: expected a folder for csv, got x.csv"),
        ("run --out x.json", 2, "--out: expected a name that ends with .html, got x.json"),
        ("run --format json --out x.html", 2, "--out: expected a name that ends with .json, got"),
        ("run --format json --expectations none.yaml", 2, ""),
    ],
)
def test_two_lines_and_a_code(
    here: Path, capsys: Captured, words: str, code: int, said: str
) -> None:
    before = sorted(here.rglob("*"))
    assert main(["report", *words.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    error, hint = err.splitlines()
    assert error.startswith(f"error: {said}")
    assert hint.startswith("hint: ")
    assert sorted(here.rglob("*")) == before


def test_without_the_packages_a_run_ends_as_it_would(
    here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    for package in ("altair", "vl_convert"):
        monkeypatch.setitem(sys.modules, package, None)
    write_report_page(Comparison.load("run"), Path("run"))
    err = capsys.readouterr().err
    assert err.startswith("no report: ")
    assert err.endswith('pip install "bitloss[report]"\n')
    assert main(["report", "run"]) == 2
    assert 'hint: pip install "bitloss[report]"' in capsys.readouterr().err


def test_compare_without_a_report(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = Comparison.load("run")
    monkeypatch.setattr(api, "run", lambda *_, **__: result)
    words = "compare ./a ./b --out run --no-report"
    assert main(words.split()) == 0
    assert not Path("run/report.html").exists()
    words = "compare ./a ./b --out run"
    assert main(words.split()) == 0
    assert Path("run/report.html").exists()


def test_a_fault_in_drawing_loses_nothing(
    here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Path:
        raise ZeroDivisionError("no axis")

    monkeypatch.setattr(write, "write_page_of", fail)
    write_report_page(Comparison.load("run"), Path("run"))
    assert capsys.readouterr().err == (
        "no report: writing it failed (ZeroDivisionError: no axis); "
        "bitloss --debug report run shows where\n"
    )
