"""Reports from a run directory alone. Oracles: the result of the run itself, the exports' own."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bitloss import finished
from bitloss.cli.report import Format
from bitloss.errors import (
    MissingDependency,
    StorageError,
    UnknownName,
    UsageError,
)
from bitloss.reports.details import read_details
from bitloss.reports.lm_eval import to_lm_eval
from bitloss.reports.write import FORMATS, write_page_of
from bitloss.results import Comparison
from bitloss.runner import RunStore
from example_store import REFERENCE, write_run

RIGHT = "101111"  # the example's gptq-4 loses item 1 and wins the last one


@pytest.fixture
def run(tmp_path: Path) -> Path:
    write_run(tmp_path / "run", right=RIGHT)
    return tmp_path / "run"


def files(folder: Path) -> set[str]:
    return {
        str(path.relative_to(folder))
        for path in folder.rglob("*")
        if path.is_file() and path.suffix not in (".parquet", ".png")
    }


def edit(run: Path, **changes: Any) -> None:
    path = run / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_command_offers_every_format() -> None:
    assert [choice.value for choice in Format] == list(FORMATS)


def test_json_is_the_result_made_anew(run: Path) -> None:
    before = (run / "comparison.json").read_bytes()
    written = finished.report(run, formats=["json"])
    assert written.paths == (run / "report.json",)
    assert written.paths[0].read_bytes() == before


def test_expectations_change_the_report_and_not_the_result(run: Path, tmp_path: Path) -> None:
    before = (run / "comparison.json").read_bytes()
    mine = tmp_path / "mine.yaml"
    mine.write_text("margins: {math: 0.6}\n")
    (path,) = finished.report(run, formats=["json"], expectations=mine).paths
    assert (run / "comparison.json").read_bytes() == before
    found = Comparison.load(path)
    assert found.variants[0].corpora == Comparison.load(run).variants[0].corpora
    assert found.answer != Comparison.load(run).answer
    named = finished.report(run, formats=["json"], expectations=mine, out=run / "comparison.json")
    assert named.paths == (run / "comparison.json",)
    assert (run / "comparison.json").read_bytes() == path.read_bytes() != before


def test_every_format_beside_the_run_and_elsewhere(run: Path, tmp_path: Path) -> None:
    new = {
        "report.html", "report.json", "markdown/report.md", "csv/tokens.csv", "csv/items.csv",
        "csv/summary.csv", "lm-eval/org-model.json", "lm-eval/gptq-4.json", "lm-eval/q8.gguf.json",
    }  # fmt: skip
    written = finished.report(run, formats=list(FORMATS))
    assert {str(path.relative_to(run)) for path in written.paths} == new
    assert files(run) == new | {"comparison.json", "manifest.json"}
    finished.report(run, formats=list(FORMATS), out=tmp_path / "a" / "b")
    assert files(tmp_path / "a" / "b") == new
    texts = [(folder / "report.html").read_bytes() for folder in (run, tmp_path / "a" / "b")]
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("name", "out", "expected"),
    [
        ("html", "page.html", {"page.html"}),
        ("html", "site/page.htm", {"site/page.htm"}),
        ("html", "site", {"site/report.html"}),
        ("json", "x.json", {"x.json"}),
        ("markdown", "text", {"text/report.md"}),
        ("csv", "tables", {"tables/tokens.csv", "tables/items.csv", "tables/summary.csv"}),
    ],
)
def test_single_format_goes_where_it_is_told(
    run: Path, tmp_path: Path, name: str, out: str, expected: set[str]
) -> None:
    place = tmp_path / "there"
    finished.report(run, formats=[name], out=place / out)
    assert files(place) == expected


@pytest.mark.parametrize("formats", [["csv"], ["html", "json"], ["markdown"], ["lm-eval"]])
def test_several_files_need_a_folder(run: Path, tmp_path: Path, formats: list[str]) -> None:
    with pytest.raises(UsageError, match="expected a folder for") as fault:
        finished.report(run, formats=formats, out=tmp_path / "x.csv")
    assert str(tmp_path / "x") in fault.value.hint
    assert not (tmp_path / "x.csv").exists()


def test_lm_eval_files_are_of_one_model_each(run: Path) -> None:
    written = finished.report(run, formats=["lm-eval"])
    for path, name in zip(written.paths, (REFERENCE, "gptq-4", "q8.gguf"), strict=True):
        expected = to_lm_eval(Comparison.load(run), name)
        assert json.loads(path.read_text()) == json.loads(json.dumps(expected))


def test_flips_are_read_in_words(run: Path) -> None:
    store = RunStore(run)
    details = read_details(store, store.read_manifest())
    found = details.flips["sums"]["gptq-4"]
    assert (found.right_to_wrong, found.wrong_to_right) == (1, 1)
    lost, won = found.flips
    assert (lost.question, lost.options, lost.gold) == ("1 + 1 = ?", ("1", "2"), "2")
    assert (lost.reference, lost.variant) == ("2", "1")
    assert (won.item, won.reference, won.variant) == ("sum/5", "5", "6")


def test_failed_variant_is_named_and_the_others_reported(run: Path) -> None:
    variants = json.loads((run / "manifest.json").read_text())["variants"]
    lost = {"name": "awq-4", "info": None, "recipe": None,
            "error": {"message": "no room", "hint": ""}}  # fmt: skip
    edit(run, variants=[*variants, lost])
    written = finished.report(run, formats=["html", "json", "lm-eval"])
    assert written.missing == ("awq-4 failed: no room",)
    assert len(written.paths) == 5
    assert "awq-4" in written.paths[0].read_text()


def test_no_run(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="got nothing"):
        finished.report(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(StorageError, match=r"no manifest\.json") as fault:
        finished.report(tmp_path)
    assert "bitloss compare" in fault.value.hint
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="got a file"):
        finished.report(tmp_path / "file")


def test_unfinished_run_says_how_to_finish_it(run: Path) -> None:
    (run / "manifest.json").unlink()
    with pytest.raises(StorageError, match="not a finished run") as fault:
        finished.report(run)
    assert "bitloss compare org/model gptq-4 q8.gguf --tasks sums.jsonl" in fault.value.hint
    (run / "comparison.json").unlink()
    with pytest.raises(StorageError, match="not a finished run") as fault:
        finished.report(run)
    assert fault.value.hint == "rerun the same `bitloss compare` to resume"


def test_a_later_run_that_was_stopped_is_mentioned(run: Path) -> None:
    store = RunStore(run)
    manifest = store.read_manifest()
    assert finished.report(run, formats=["json"]).missing == ()
    later = manifest.environment.model_copy(update={"command": "bitloss compare a b"})
    store.write_unfinished(
        manifest.model_copy(update={"environment": later, "corpora": {}, "missing": ("all",)})
    )
    written = finished.report(run, formats=["json"])
    assert Comparison.load(written.paths[0]) == Comparison.load(run)
    (line,) = written.missing
    assert line.startswith("a later run in this directory is not finished")
    assert line.endswith("rerun the same command to resume: bitloss compare a b")
    os.utime(run / "unfinished.json", (0, 0))  # left by a run that was killed at its very end
    assert finished.report(run, formats=["json"]).missing == ()


def test_stopped_run_reports_what_it_has(run: Path, tmp_path: Path) -> None:
    manifest = RunStore(run).read_manifest()
    (run / "manifest.json").unlink()
    (run / "comparison.json").unlink(missing_ok=True)
    left = manifest.model_copy(update={"tasks": {}, "missing": ("math: not asked yet",)})
    RunStore(run).write_unfinished(left)
    written = finished.report(run, out=tmp_path / "all", formats=["html", "markdown", "json"])
    command = manifest.environment.command
    assert written.missing[:2] == (
        "math: not asked yet",
        f"the run is not finished: rerun the same command to resume: {command}",
    )
    page = (tmp_path / "all/report.html").read_text()
    assert "math: not asked yet" in page
    assert "the run is not finished" in page
    result = Comparison.load(tmp_path / "all/report.json")
    assert result.missing == ("math: not asked yet",)
    assert list(result.reference.corpora) == list(manifest.corpora)
    assert not result.reference.tasks
    assert "the run is not finished" in (tmp_path / "all/markdown/report.md").read_text()


def test_a_finished_run_lacks_nothing(run: Path, tmp_path: Path) -> None:
    # What an earlier, stopped run left is not looked at once there is a manifest.
    (run / "unfinished.json").write_text("{")
    assert finished.report(run, out=tmp_path, formats=["json"]).missing == ()


def test_damaged_manifest(run: Path) -> None:
    for text, message in (("{", "damaged"), ("[]", "got no `man"), ("{}", "got no `man")):
        (run / "manifest.json").write_text(text)
        with pytest.raises(StorageError, match=message):
            finished.report(run)


@pytest.mark.parametrize(
    ("name", "formats"),
    [("gptq-4-b", ["json"]), ("items-gptq-4", ["json"]), ("questions", ["html"])],
)
def test_damaged_record_is_named_with_the_command(run: Path, name: str, formats: list[str]) -> None:
    record = run / "records" / f"{name}.parquet"
    record.write_bytes(record.read_bytes()[:-9])
    with pytest.raises(StorageError, match=f"{name}.parquet: not the record") as fault:
        finished.report(run, formats=formats)
    assert "rerun the same command" in fault.value.hint
    assert fault.value.hint.endswith("--tasks sums.jsonl")
    assert not (run / "report.html").exists()
    record.unlink()
    with pytest.raises(StorageError, match=f"{name}.parquet"):
        finished.report(run, formats=formats)


@pytest.mark.parametrize("name", FORMATS)
def test_place_that_cannot_be_written(run: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(StorageError, match="cannot write"):
        finished.report(run, formats=[name], out=tmp_path / "file" / "below")
    assert (tmp_path / "file").read_text() == "kept"


def test_missing_package_is_named(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("altair", "vl_convert"):
        monkeypatch.setitem(sys.modules, package, None)
    for formats in (["html"], ["markdown"]):
        with pytest.raises(MissingDependency) as fault:
            finished.report(run, formats=formats)
        assert fault.value.hint == 'pip install "bitloss[report]"'
    assert files(run) == {"comparison.json", "manifest.json"}
    finished.report(run, formats=["json", "csv"])


def test_unknown_format(run: Path) -> None:
    with pytest.raises(UnknownName, match="markdwon"):
        finished.report(run, formats=["markdwon"])


def test_page_of_a_result_at_hand_is_the_same(run: Path) -> None:
    page = write_page_of(Comparison.load(run), run)
    own = page.read_bytes()
    assert finished.report(run).paths == (page,)
    assert page.read_bytes() == own


def test_a_page_is_drawn_once(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Again only if page, result or bitloss has changed. Oracle: what is drawn is counted."""
    from bitloss.reports import page as drawing

    drawn = []
    write = drawing.write_page
    monkeypatch.setattr(drawing, "write_page", lambda *given: (drawn.append(1), write(*given))[1])
    found = Comparison.load(run)
    write_page_of(found, run)
    page = write_page_of(found, run)
    assert len(drawn) == 1
    own = page.read_bytes()
    page.write_bytes(own[:-1] + b" ")
    write_page_of(found, run)
    assert (len(drawn), page.read_bytes()) == (2, own)
    found.write(run / "comparison.json")
    write_page_of(found, run)
    page.unlink()
    write_page_of(found, run)
    assert (len(drawn), page.read_bytes()) == (4, own)


def test_a_report_needs_no_engine(run: Path) -> None:
    """Neither torch nor what would import it; pandas is optional, and takes as long."""
    program = f"""
import sys
from bitloss import finished
finished.report({str(run)!r}, formats=["html", "json"])
print([name for name in ("torch", "transformers", "pandas") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_summary_has_the_numbers_of_the_comparison(run: Path, tmp_path: Path) -> None:
    finished.report(run, formats=["csv"], out=tmp_path)
    with (tmp_path / "summary.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    comparison = Comparison.load(run)
    found = {(r["model"], r["kind"], r["name"], r["metric"]): r for r in rows}
    assert len(found) == len(rows)
    for variant in comparison.variants:
        for name, corpus in variant.corpora.items():
            row = found[variant.name, "corpus", name, "kl_divergence"]
            assert float(row["value"]) == corpus.kl_divergence.mean
            assert [row["low"], row["high"]] == [
                "" if bound is None else str(bound)
                for bound in (corpus.kl_divergence.low, corpus.kl_divergence.high)
            ]
        for name, task in (variant.tasks or {}).items():
            row = found[variant.name, "task", name, "difference"]
            assert float(row["value"]) == task.difference.value
