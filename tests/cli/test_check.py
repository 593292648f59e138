"""`bitloss check` and `bitloss card` from the command line, on a run that was made by formula."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from junitparser import JUnitXml

from bitloss.cli.main import main
from example_store import write_run

Captured = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """gptq-4: relative perplexity 1.011 [1.003, 1.018], loss in math 16.7 [-29, 54] points."""
    folder = tmp_path_factory.mktemp("check")
    write_run(folder / "run")
    return folder


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "run").symlink_to(made / "run")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("limits", "code", "last"),
    [
        ("--max-relative-perplexity 1.02", 0, "gate: passed (2 passed, 0 failed, 0 undecided)"),
        ("--max-relative-perplexity 1.01", 3, "gate: undecided (1 passed, 0 failed, 1 undecided)"),
        ("--max-relative-perplexity 1.001", 1, "gate: failed (1 passed, 1 failed, 0 undecided)"),
        (
            "--max-loss math=20% --undecided pass",
            0,
            "gate: passed (1 passed, 0 failed, 1 undecided)",
        ),
        ("--max-loss 20% --undecided fail", 1, "gate: failed (1 passed, 0 failed, 1 undecided)"),
        ("--max-kld 0 --variant q8.gguf", 0, "gate: passed (1 passed, 0 failed, 0 undecided)"),
        ("--baseline run --max-kld 0", 0, "gate: passed (2 passed, 0 failed, 0 undecided)"),
        ("", 3, "gate: undecided (8 passed, 0 failed, 2 undecided)"),
    ],
)
def test_exit_codes(here: Path, capsys: Captured, limits: str, code: int, last: str) -> None:
    assert main(["check", "run", *limits.split()]) == code
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == last
    assert err == ""


def test_limits_without_thresholds_are_those_of_the_verdicts(here: Path, capsys: Captured) -> None:
    assert main(["check", "run", "--json", "--variant", "gptq-4"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert [(j["measure"], j["name"], j["limit"]) for j in found["judgments"]] == [
        ("max_relative_perplexity", "wikitext-2", 1.12), ("max_kld", "wikitext-2", 0.06),
        ("min_top1", "wikitext-2", 0.90), ("min_overlap", "wikitext-2", 0.94),
        ("max_loss", "math", 0.02),
    ]  # fmt: skip
    (here / "mine.yaml").write_text(
        "levels: {usually: 1.06, kl_divergence: {usually: 0.07}}\nmargins: {math: 0.6}\n"
    )
    assert main(["check", "run", "--expectations", "mine.yaml"]) == 0


def test_documents(here: Path, capsys: Captured) -> None:
    words = "check run --max-kld 0.01 --json --junit gate.xml --markdown gate.md"
    assert main(words.split()) == 1
    found = json.loads(capsys.readouterr().out)
    assert (found["outcome"], found["run"], found["reference"]) == ("fail", "run", "org/model")
    xml = JUnitXml.fromfile("gate.xml")
    assert (xml.tests, xml.failures) == (2, 1)
    first = Path("gate.md").read_bytes()
    assert main(words.split()) == 1
    assert Path("gate.md").read_bytes() == first


def test_step_summary_is_added_to(
    here: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = here / "summary.md"
    summary.write_text("# Before\n")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    assert main(["check", "run", "--max-kld", "9", "--markdown", str(summary)]) == 0
    assert main(["check", "run", "--max-kld", "9", "--markdown", "summary.md"]) == 0
    text = summary.read_text()
    assert text.startswith("# Before\n")
    assert text.count("gate: passed") == 2


def test_thresholds_file_and_flag(here: Path, capsys: Captured) -> None:
    (here / "gate.yaml").write_text("max_kld: 0.01\nvariants:\n  gptq-4: {max_kld: 0.1}\n")
    assert main(["check", "run", "--thresholds", "gate.yaml"]) == 0
    assert main(["check", "run", "--thresholds", "gate.yaml", "--max-kld", "0.001"]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--max-kld x", "error: --max-kld: expected nats per token, 0 or more (0.05), got `x`"),
        ("--max-kld 1 --max-kld 2", "error: --max-kld: two limits for all: 1 and 2"),
        ("--max-loss=-1%", "error: --max-loss: expected a share from 0 to 1, or percentage"),
        ("--max-loss mth=1%", "error: --max-loss mth: no capability or task `mth` in the run"),
        ("--max-kld 1 --variant q9", "error: unknown variant `q9`"),
        ("--thresholds none.yaml", "error: cannot read the thresholds file `none.yaml`"),
        ("--undecided maybe", "error: invalid value for '--undecided'"),
        ("--max-kld 1 --expectations x", "error: expected thresholds or expectations to check"),
        ("--baseline run", "error: expected thresholds for the changes since the baseline"),
    ],
)
def test_usage_errors(here: Path, capsys: Captured, words: str, said: str) -> None:
    assert main(["check", "run", *words.split(), "--junit", "gate.xml"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(said)
    assert err.splitlines()[1].startswith("hint: ")
    assert not Path("gate.xml").exists()


def test_data_errors_are_told_from_a_failed_gate(here: Path, capsys: Captured) -> None:
    """Both end with 1: a failed gate says so on stdout, and writes its documents. A run that is not
    there is a wrong command."""
    (here / "begun" / "records").mkdir(parents=True)
    (here / "damaged").mkdir()
    (here / "damaged" / "comparison.json").write_text('{"schema_version": 1, "refer')
    for run, code in (("begun", 1), ("damaged", 1), ("missing", 2)):
        assert main(["check", run, "--max-kld", "1", "--junit", "gate.xml"]) == code
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert "\nhint: " in err
        assert not Path("gate.xml").exists()
    assert main(["check", "run", "--max-kld", "9", "--junit", "none/gate.xml"]) == 1
    assert "cannot write none/gate.xml" in capsys.readouterr().err
    assert sorted(path.name for path in here.iterdir()) == ["begun", "damaged", "run"]


def test_card(here: Path, capsys: Captured) -> None:
    assert main(["card", "run", "--variant", "gptq-4"]) == 0
    shown, err = capsys.readouterr()
    assert shown.startswith("---\nbase_model: org/model\nbase_model_relation: quantized\n")
    assert err == ""
    assert main(["card", "run", "--variant", "gptq-4", "--out", "card.md"]) == 0
    assert capsys.readouterr() == ("", "written to card.md\n")
    assert Path("card.md").read_text() == shown
    Path("card.md").write_text("mine")
    assert main(["card", "run", "--variant", "gptq-4", "--out", "card.md"]) == 2
    assert Path("card.md").read_text() == "mine"
    assert main(["card", "run", "--variant", "gptq-4", "--out", "card.md", "--force"]) == 0
    assert Path("card.md").read_text() == shown
    capsys.readouterr()
    (here / "model").mkdir()
    for _ in range(2):
        assert main(["card", "run", "--variant", "gptq-4", "--update", "model"]) == 0
        assert capsys.readouterr() == ("", "updated model/README.md\n")
        assert (here / "model" / "README.md").read_text() == shown


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ("--variant q9", 2, "unknown variant `q9`"),
        ("--base-model nowhere", 2, "expected a model on the hub, got `nowhere`"),
        ("--out a.md --update b.md", 2, "--out and --update are mutually exclusive"),
        ("--update b.md", 1, "cannot read b.md"),
        ("--out none/a.md", 1, "cannot write none/a.md"),
        ("--out run/manifest.json", 2, "run/manifest.json is there already"),
    ],
)
def test_card_errors(here: Path, capsys: Captured, words: str, code: int, said: str) -> None:
    assert main(["card", "run", *words.split()]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert said in err.splitlines()[0]
    assert [path.name for path in here.iterdir()] == ["run"]
