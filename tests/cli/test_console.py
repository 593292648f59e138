"""Progress and messages; a clock that the test turns is the oracle of times."""

from __future__ import annotations

import io
import json

import pytest

from bitloss.cli.console import BarProgress, LineProgress, make_progress, print_error, print_json
from bitloss.runner.remaining import Steps
from bitloss.types import SilentProgress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_lines_begin_tell_and_end() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, clock).task("scoring", 4000) as advance:
        clock.now = 10
        advance(500)
        clock.now = 40
        advance(500)
        clock.now = 50
        advance(1000)
        clock.now = 200
    assert stream.getvalue().splitlines() == [
        "scoring ...",
        "scoring: 1,000 of 4,000 tokens, 2 min left",
        "scoring: done in 3 min",
    ]


def test_lines_have_no_time_left_before_anything_is_done() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, clock).task("scoring", 4000) as advance:
        clock.now = 40
        advance(0)
    assert "scoring: 0 of 4,000 tokens" in stream.getvalue().splitlines()


def test_lines_say_how_far_the_run_is() -> None:
    stream, clock = io.StringIO(), Clock()
    progress = LineProgress(stream, clock)
    with progress.steps(12) as show:
        with progress.task("load", None):
            clock.now = 0.5
        show(1, 200.0)
        with progress.task("read", None):
            clock.now = 2.5
        show(12, 0.0)
        with progress.task("write", None):
            pass
    with progress.task("draw", None):
        pass
    assert stream.getvalue().splitlines() == [
        "[1/12] load ...",
        "[2/12, about 3 min left] read ...",
        "[2/12, about 3 min left] read: done in 2 s",
        "[12/12, about 0 s left] write ...",
        "draw ...",
    ]


def test_a_run_that_may_stop_early_takes_at_most_the_rest() -> None:
    stream = io.StringIO()
    progress = LineProgress(stream, Clock())
    with progress.steps(12, at_most=True) as show:
        show(1, 200.0)
        with progress.task("read", None):
            pass
    assert stream.getvalue() == "[2/12, at most 3 min left] read ...\n"


def test_lines_without_a_total() -> None:
    stream, clock = io.StringIO(), Clock()
    with LineProgress(stream, clock).task("fetching", None, "bytes") as advance:
        clock.now = 31
        advance(2_500_000)
    assert "fetching: 2.5 MB" in stream.getvalue().splitlines()


def test_a_task_that_fails_is_not_done() -> None:
    stream = io.StringIO()
    with pytest.raises(ValueError, match="no"), LineProgress(stream).task("scoring", 10):
        raise ValueError("no")
    assert "done" not in stream.getvalue()


def test_bars_show_how_far_the_run_is() -> None:
    stream = Terminal()
    progress = BarProgress(stream)
    assert isinstance(progress, Steps)
    with progress.steps(151) as show:
        show(12, 200.0)
        progress._bars.refresh()
        drawn = stream.getvalue()
    assert "whole run" in drawn
    assert "12 of 151 steps" in drawn
    assert "about 3 min" in drawn
    assert not progress._bars.live.is_started


def test_bars_draw_nested_tasks_and_clear_up() -> None:
    stream = Terminal()
    progress = BarProgress(stream)
    with progress.task("corpus", 2, "windows") as outer:
        outer(1)
        with progress.task("scoring [x]", 4096) as inner:
            inner(1024)
            progress._bars.refresh()
            drawn = stream.getvalue()
    assert "1 of 2 windows" in drawn
    assert "scoring [x]" in drawn
    assert "1,024 of 4,096 tokens" in drawn
    assert not progress._bars.live.is_started


def test_terminal_gets_bars_file_gets_lines_quiet_gets_nothing() -> None:
    assert isinstance(make_progress(quiet=False, stream=Terminal()), BarProgress)
    assert isinstance(make_progress(quiet=False, stream=io.StringIO()), LineProgress)
    assert isinstance(make_progress(quiet=True, stream=Terminal()), SilentProgress)


def test_errors_go_to_stderr_in_two_lines(capsys: pytest.CaptureFixture[str]) -> None:
    print_error("no model at `[bold]x`", "check the path")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "error: no model at `[bold]x`\nhint: check the path\n"


@pytest.mark.parametrize("no_color", [False, True])
def test_colour_is_for_terminals_that_want_it(
    monkeypatch: pytest.MonkeyPatch, no_color: bool
) -> None:
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    print_error("broken")
    assert ("\x1b[1;31m" in stream.getvalue()) is not no_color


def test_json_is_one_document_on_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Ä", "value": 1.5})
    out, err = capsys.readouterr()
    assert json.loads(out) == {"name": "Ä", "value": 1.5}
    assert err == ""


def test_json_has_no_nan() -> None:
    with pytest.raises(ValueError, match="JSON"):
        print_json(float("nan"))
