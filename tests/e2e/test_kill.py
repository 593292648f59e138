"""Killed at any moment, a rerun ends with the bytes of a run that never was; oracle: that run."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from peers.forked_cli import Cli, serve

WORDS = [
    "compare", "./tiny", "./noisy", "./copy", "--corpus", "./long.txt", "--stride", "128",
    "--out", "run", "--no-report",
]  # fmt: skip
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Undisturbed:
    """A run that was never killed, and what it takes to make another."""

    cli: Cli
    models: Path
    files: dict[str, bytes]
    calls: tuple[int, int]

    def place(self, folder: Path) -> Path:
        folder.mkdir()
        for entry in self.models.iterdir():
            (folder / entry.name).symlink_to(entry)
        (folder / "copy").symlink_to(self.models / "tiny")
        return folder


def files(folder: Path) -> dict[str, bytes]:
    run = folder / "run"
    return {
        str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()
    }


@pytest.fixture(scope="module")
def undisturbed(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Undisturbed]:
    folder = tmp_path_factory.mktemp("kill")
    with serve(folder / "log") as cli:
        whole = Undisturbed(cli, models, {}, (0, 0))
        place = whole.place(folder / "whole")
        status, calls = cli.run(place, WORDS, kill_at=0)
        assert status == 0, (folder / "log").read_text()
        assert len(list((place / "run" / "records").iterdir())) > 10
        yield Undisturbed(cli, models, files(place), calls)


@pytest.mark.parametrize("writing", [False, True], ids=["anywhere", "writing"])
@pytest.mark.parametrize("part", range(5))
def test_killed_once(undisturbed: Undisturbed, tmp_path: Path, part: int, writing: bool) -> None:
    chance = random.Random(10 * part + writing)
    moment = int((part + chance.random()) / 5 * undisturbed.calls[writing]) + 1
    place = undisturbed.place(tmp_path / "here")
    status, _ = undisturbed.cli.run(place, WORDS, kill_at=moment, writing=writing)
    assert status == KILLED
    assert undisturbed.cli.run(place, WORDS)[0] == 0
    assert files(place) == undisturbed.files


def test_stopped_between_two_texts_reports_the_first(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Oracle: the figures of the run once it is finished."""
    from bitloss.cli.main import main
    from bitloss.results import Comparison

    execute = importlib.import_module("bitloss.runner.execute")
    words = ["compare", "./tiny", "./noisy", "--corpus", "./fox.txt", "--corpus", "./long.txt",
             "--out", "run", "--limit", "4", "--no-report"]  # fmt: skip
    score, done = execute._score_corpus, []

    def stopped(*arguments: object) -> object:
        if done:
            raise KeyboardInterrupt
        done.append(True)
        return score(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(execute, "_score_corpus", stopped)
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


def test_killed_again_and_again(undisturbed: Undisturbed, tmp_path: Path) -> None:
    place = undisturbed.place(tmp_path / "here")
    chance = random.Random(0)
    for attempt in range(10):
        writing = attempt % 2 == 1
        # Each attempt goes on where the last one was killed, so that little is left in the end.
        moment = chance.randrange(1, undisturbed.calls[writing] // 6)
        status, _ = undisturbed.cli.run(place, WORDS, kill_at=moment, writing=writing)
        assert status == KILLED, (attempt, moment)
    assert undisturbed.cli.run(place, WORDS)[0] == 0
    assert files(place) == undisturbed.files


def test_what_a_kill_in_the_middle_of_a_write_leaves_is_cleared(
    undisturbed: Undisturbed, tmp_path: Path
) -> None:
    """That such moments are met is luck above; here the file is there for certain."""
    place = undisturbed.place(tmp_path / "here")
    (place / "run" / "records").mkdir(parents=True)
    (place / "run" / "records" / ".tmp-half").write_bytes(b"PAR1")
    assert undisturbed.cli.run(place, WORDS)[0] == 0
    assert files(place) == undisturbed.files


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
    assert err.splitlines()[-1] == (
        "interrupted; run the same command again to go on where it stopped"
    )
    assert not any(alive(worker) for worker in workers)
    assert not list((here / "cache").rglob("*.gguf"))
    assert not list(here.rglob(".making-*"))
    assert not list((here / "run").rglob("*.json"))
