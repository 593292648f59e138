"""Killed at any moment, a rerun ends with the bytes of a run that never was; oracle: that run."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bitloss.cli.main import main
from bitloss.results import Comparison
from bitloss.runner.corpus import CorpusRun
from bitloss.runner.tasks.run import TasksRun
from bitloss.tasks.custom.examples import write_example
from peers.forked_cli import Cli, serve

TEXTS = [
    "compare", "./tiny", "./noisy", "./copy", "--corpus", "./long.txt", "--stride", "128",
    "--out", "run", "--no-report",
]  # fmt: skip
TASKS = [
    "compare", "./tiny", "./noisy", "./copy", "--tasks", "choice.yaml,contains.yaml",
    "--out", "run", "--no-report",
]  # fmt: skip
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Undisturbed:
    """A run that was never killed, and what it takes to make another."""

    cli: Cli
    models: Path
    words: list[str]
    files: dict[str, bytes]
    calls: tuple[int, int]

    def place(self, folder: Path) -> Path:
        folder.mkdir()
        for entry in self.models.iterdir():
            (folder / entry.name).symlink_to(entry)
        (folder / "copy").symlink_to(self.models / "tiny")
        for kind in ("choice", "contains"):
            write_example(kind, kind, folder)
        return folder

    def moment(self, where: float, *, writing: bool) -> int:
        """A call, 0 to 1 of the way; none of the very last, whose number may differ by a few."""
        return int(0.98 * where * self.calls[writing]) + 1

    def killed(self, place: Path, moment: int, *, writing: bool) -> None:
        status, _ = self.cli.run(place, self.words, kill_at=moment, writing=writing)
        assert status == KILLED, moment

    def finish(self, place: Path) -> None:
        """The same command again, to its end, and the bytes that it leaves."""
        assert self.cli.run(place, self.words)[0] == 0
        assert files(place) == self.files


MARKS = (".finished", ".report")
"""They hold the times of files, which are nobody's result."""


def files(folder: Path) -> dict[str, bytes]:
    run = folder / "run"
    return {
        str(path.relative_to(run)): path.read_bytes()
        for path in run.rglob("*")
        if path.is_file() and path.name not in MARKS
    }


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    with serve(tmp_path_factory.mktemp("kill") / "log") as cli:
        yield cli


def run_through(cli: Cli, models: Path, folder: Path, words: list[str]) -> Undisturbed:
    begun = Undisturbed(cli, models, words, {}, (0, 0))
    place = begun.place(folder)
    status, calls = cli.run(place, words, kill_at=0)
    assert status == 0
    assert len(list((place / "run" / "records").iterdir())) > 10
    return replace(begun, files=files(place), calls=calls)


@pytest.fixture(scope="module")
def undisturbed(cli: Cli, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return run_through(cli, models, tmp_path_factory.mktemp("texts") / "whole", TEXTS)


@pytest.fixture(scope="module")
def undisturbed_tasks(
    cli: Cli, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Undisturbed:
    return run_through(cli, models, tmp_path_factory.mktemp("tasks") / "whole", TASKS)


@pytest.mark.parametrize("writing", [False, True], ids=["anywhere", "writing"])
@pytest.mark.parametrize("part", range(3))
def test_killed_once(undisturbed: Undisturbed, tmp_path: Path, part: int, writing: bool) -> None:
    chance = random.Random(10 * part + writing)
    moment = undisturbed.moment((part + chance.random()) / 3, writing=writing)
    place = undisturbed.place(tmp_path / "here")
    undisturbed.killed(place, moment, writing=writing)
    undisturbed.finish(place)


@pytest.mark.parametrize("writing", [False, True], ids=["anywhere", "writing"])
@pytest.mark.parametrize("part", range(2))
def test_killed_once_inside_of_tasks(
    undisturbed_tasks: Undisturbed, tmp_path: Path, part: int, writing: bool
) -> None:
    chance = random.Random(10 * part + writing)
    moment = undisturbed_tasks.moment((part + chance.random()) / 2, writing=writing)
    place = undisturbed_tasks.place(tmp_path / "here")
    undisturbed_tasks.killed(place, moment, writing=writing)
    undisturbed_tasks.finish(place)


def test_stopped_between_two_texts_reports_the_first(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: the figures of the run once it is finished."""
    words = ["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--corpus", "./long.txt",
             "--out", "run", "--limit", "4", "--no-report"]  # fmt: skip
    with monkeypatch.context() as patched:
        stop_at(patched, CorpusRun, 2)
        assert main(words) == 130
    assert main(["report", "run", "--format", "json"]) == 0
    assert "long.txt: not scored yet" in capsys.readouterr().err
    partial = Comparison.load(here / "run" / "report.json")
    assert main(words) == 0
    assert not (here / "run" / "unfinished.json").exists()
    whole = Comparison.load(here / "run")
    assert list(partial.reference.corpora) == ["fox.txt"]
    assert partial.variants[0].corpora["fox.txt"] == whole.variants[0].corpora["fox.txt"]
    assert (partial.missing, whole.missing) == (("long.txt: not scored yet",), None)


def test_stopped_between_two_tasks_reports_the_first(
    undisturbed_tasks: Undisturbed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Oracles: the figures and the bytes of the run that was never stopped."""
    place = undisturbed_tasks.place(tmp_path / "here")
    monkeypatch.chdir(place)
    with monkeypatch.context() as patched:
        stop_at(patched, TasksRun, 2)
        assert main(TASKS) == 130
    run = place / "run"
    assert main(["report", "run", "--format", "json"]) == 0
    assert "contains: not evaluated yet" in capsys.readouterr().err
    partial = Comparison.load(run / "report.json")
    (run / "report.json").unlink()
    before = stamps(run / "records")
    assert main(TASKS) == 0
    whole = Comparison.load(run)
    assert (partial.missing, whole.missing) == (("contains: not evaluated yet",), None)
    assert partial.reference.tasks == {"choice": whole.reference.tasks["choice"]}
    for own, other in zip(partial.variants, whole.variants, strict=True):
        assert own.tasks == {"choice": other.tasks["choice"]}
    # Nothing that was there is written again, and in the end it is the same.
    assert before.items() < stamps(run / "records").items()
    assert files(place) == undisturbed_tasks.files


def stop_at(patched: pytest.MonkeyPatch, owner: type, count: int) -> None:
    """Ctrl-C where the corpus or task of that number would be collected."""
    collect, begun = owner._collect, []  # type: ignore[attr-defined]

    def stopped(self: object, *arguments: object) -> None:
        begun.append(self)
        if len(begun) == count:
            raise KeyboardInterrupt
        collect(self, *arguments)

    patched.setattr(owner, "_collect", stopped)


def stamps(folder: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["texts", "tasks"])
def test_killed_again_and_again(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    whole: Undisturbed = request.getfixturevalue(
        {"texts": "undisturbed", "tasks": "undisturbed_tasks"}[kind]
    )
    place = whole.place(tmp_path / "here")
    chance = random.Random(0)
    for attempt in range(10):
        writing = attempt % 2 == 1
        # Each attempt resumes where the last one was killed, so that little is left in the end.
        moment = chance.randrange(1, whole.calls[writing] // 6)
        whole.killed(place, moment, writing=writing)
    whole.finish(place)


def test_what_a_kill_in_the_middle_of_a_write_leaves_is_cleared(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """That such moments are met is luck above; here the file is there for certain."""
    place = undisturbed.place(tmp_path / "here")
    (place / "run" / "records").mkdir(parents=True)
    (place / "run" / "records" / ".tmp-half").write_bytes(b"PAR1")
    undisturbed.finish(place)


def children(pid: int) -> list[int]:
    """Of all threads: each has the children that it started."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):  # the thread is gone
            found += map(int, file.read_text().split())
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_interrupted_while_a_variant_is_made(here: Path) -> None:
    pytest.importorskip("llama_cpp")
    shutil.copytree(here / "tiny", here / "own", symlinks=False)
    words = [
        "compare", "./own", "gguf-q8_0", "gguf-q4_0", "--corpus", "./fox.txt", "--out", "run"
    ]  # fmt: skip
    # Whoever runs the tests in the background may have told them to ignore the signal.
    listening = ["env", "--default-signal=INT", sys.executable]
    with subprocess.Popen(
        [*listening, "-m", "bitloss", *words],
        cwd=here, env={**os.environ, "NO_COLOR": "1"}, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        for _ in range(6000):
            workers = children(process.pid)
            if workers or process.poll() is not None:
                break
            time.sleep(0.01)
        assert workers, process.communicate()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert err.splitlines()[-1] == "interrupted; rerun the same command to resume"
    assert not any(alive(worker) for worker in workers)
    assert not list((here / "cache").rglob("*.gguf"))
    assert not list(here.rglob(".making-*"))
    assert not list((here / "run").rglob("*.json"))
