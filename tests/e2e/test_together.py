"""Another process in the same run directory. Oracles: what it is told, and whose result it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bitloss.analysis import collect as collecting
from bitloss.cli.main import main
from bitloss.errors import StorageError
from bitloss.reports.write import write_page_of
from bitloss.results import Comparison
from bitloss.results.manifest import Manifest
from bitloss.runner import RunStore, execution

Captured = pytest.CaptureFixture[str]

RUN = ["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--limit", "2", "--out", "run",
       "-q", "--no-report"]  # fmt: skip
OTHER = [word if word != "./fox.txt" else "./long.txt" for word in RUN]


def test_the_lock_is_held_until_the_result_is_written(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else another run could clear away what is being written, or have its result replaced."""
    collect, tried = collecting.collect, []

    def collect_beside_another(*given: Any) -> Comparison:
        with (
            pytest.raises(StorageError, match="another process is writing to run"),
            RunStore(Path("run")).locked(),
        ):
            pass
        tried.append(1)
        return collect(*given)

    monkeypatch.setattr(collecting, "collect", collect_beside_another)
    assert main(RUN) == 0
    assert tried


def test_a_result_that_came_meanwhile_is_not_replaced(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Another run is finished there after this one has looked, and before it holds the lock."""
    locked, begun = RunStore.locked, []

    def finish_another_first(store: RunStore) -> Any:
        if not begun:
            begun.append(1)
            assert main(OTHER) == 0
        return locked(store)

    monkeypatch.setattr(RunStore, "locked", finish_another_first)
    assert main(RUN) == 2
    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error.startswith("error: run holds a result with the corpus long.txt")
    assert "--force" in hint
    assert list(Comparison.load(here / "run").reference.corpora) == ["long.txt"]


def test_a_finished_run_is_shown_only_while_it_is_there(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another run replaces the result between the look at the marks and the reading."""
    assert main([*RUN, "--force"]) == 0
    ours = (here / "run/comparison.json").read_bytes()
    load, replaced = Comparison.load, []

    def replace_first(path: Any) -> Comparison:
        if not replaced:
            replaced.append(1)
            assert main([*OTHER, "--force"]) == 0
        return load(path)

    monkeypatch.setattr(Comparison, "load", replace_first)
    assert main([*RUN, "--force"]) == 0
    assert replaced
    assert (here / "run/comparison.json").read_bytes() == ours  # carried out, not read


def test_the_page_of_a_replaced_result_is_not_drawn(here: Path) -> None:
    assert main(RUN) == 0
    ours = Comparison.load(here / "run")
    assert main([*OTHER, "--force"]) == 0
    with pytest.raises(StorageError, match="another process has replaced the result in run"):
        write_page_of(ours, Path("run"))
    assert not (here / "run/report.html").exists()


def test_a_run_that_is_finished_while_it_is_looked_at_is_read(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two looks the one manifest took the other's place."""
    from bitloss.reports import write

    assert main(RUN) == 0
    run = here / "run"
    (run / "manifest.json").rename(run / "unfinished.json")

    def finish(store: RunStore) -> Manifest:
        (run / "unfinished.json").rename(run / "manifest.json")
        raise StorageError("not a finished run")

    monkeypatch.setattr(RunStore, "read_unfinished", finish)
    assert write._read_manifest(run) == RunStore(run).read_manifest()


def test_an_interruption_leaves_no_scratch(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import tempfile

    (here / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(here / "tmp"))

    def interrupt(*given: Any, **named: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "run_locally", interrupt)
    assert main(RUN) == 130
    assert list((here / "tmp").iterdir()) == []
