"""What a user sees when something is wrong: two lines on stderr, nothing on stdout, a code.

The codes are those of the table in `bitloss.cli.main`; the wording is checked where it helps.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bitloss import __version__, api
from bitloss.cli.main import main
from bitloss.errors import CheckpointError, MissingDependency

Captured = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "error", "hint"),
    [
        ("comapre a b", "no such command 'comapre'", "did you mean 'compare'?"),
        ("compare", "missing argument 'reference'", "bitloss compare --help"),
        ("compare a b --limti 3", "no such option: --limti", "did you mean --limit"),
        ("compare a b --limit x", "invalid value for '--limit'", "bitloss compare --help"),
        ("compare a b --limit 0", "invalid value for '--limit'", "bitloss compare --help"),
        ("compare a b --dtype fp16", "invalid value for '--dtype'", "bitloss compare --help"),
        ("compare a b --engine native", "unknown engine `native`", "known: dense"),
        ("compare a b --protocol strid", "unknown protocol `strid`", "did you mean `strided`?"),
        (
            "quantize a b --recipe gptq-4 --calibration-sequences 0",
            "invalid value for '--calibration-sequences'",
            "",
        ),
        ("quantize a b --recipe gptq-4 --samples 3", "no such option: --samples", ""),
        ("list recipse", "invalid value for 'kind'", "bitloss list --help"),
    ],
)
def test_wrong_command_line(capsys: Captured, words: str, error: str, hint: str) -> None:
    assert main(words.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first.startswith(f"error: {error}")
    assert second.startswith(f"hint: {hint}")


def test_no_command_shows_the_help(capsys: Captured) -> None:
    assert main([]) == 2
    out, err = capsys.readouterr()
    assert "compare" in out + err
    assert "error:" not in out + err


@pytest.mark.parametrize("words", ["--help", "compare --help", "perplexity -h", "list -h"])
def test_help(capsys: Captured, words: str) -> None:
    assert main(words.split()) == 0
    assert "Usage: bitloss" in capsys.readouterr().out


def test_version(capsys: Captured) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"bitloss {__version__}\n"


@pytest.mark.parametrize(
    ("fault", "code", "lines"),
    [
        (CheckpointError("no weights", hint="look"), 1, ["error: no weights", "hint: look"]),
        (
            MissingDependency("gguf", "reading GGUF", extra="gguf"),
            2,
            [
                "error: reading GGUF needs the package `gguf`, which is not installed",
                'hint: pip install "bitloss[gguf]"',
            ],
        ),
        (KeyboardInterrupt(), 130, ["interrupted; rerun the same command to resume"]),
    ],
)  # fmt: skip
def test_faults(
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    code: int,
    lines: list[str],
) -> None:
    _make_list_raise(monkeypatch, fault)
    assert main(["list"]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == lines


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["TERM", "INT"]
)
@pytest.mark.parametrize("turned", [False, True], ids=["raised", "turned into another error"])
def test_signals_interrupt(
    capsys: Captured,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    code: int,
    turned: bool,
) -> None:
    """A library in C may take the exception for a failure of its own, and raise that (torch does,
    of a tensor's data); handlers are as they were afterwards.
    """
    before = {one: signal.getsignal(one) for one in (signal.SIGTERM, signal.SIGINT)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    cleared = []

    def end() -> None:
        try:
            os.kill(os.getpid(), number)
            raise AssertionError("not interrupted")
        except KeyboardInterrupt:
            if turned:
                raise ValueError("could not determine the shape") from None
            raise
        finally:
            cleared.append(True)

    monkeypatch.setattr(api, "describe_names", end)
    try:
        assert main(["list"]) == code
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == before[signal.SIGTERM]
    finally:
        signal.signal(signal.SIGINT, before[signal.SIGINT])
    out, err = capsys.readouterr()
    assert (out, err) == ("", "interrupted; rerun the same command to resume\n")
    assert cleared


@pytest.mark.filterwarnings("default")
def test_an_interruption_that_is_lost_comes_again(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a finalizer nothing can be raised: Python would print it, and go on."""

    class Freed:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGTERM)
            for _ in range(1000):  # it comes between two instructions
                pass

    def go_on() -> None:
        Freed()
        time.sleep(30)
        raise AssertionError("not interrupted")

    monkeypatch.setattr(api, "describe_names", go_on)
    assert main(["list"]) == 143
    out, err = capsys.readouterr()
    assert (out, err) == ("", "interrupted; rerun the same command to resume\n")


def test_unexpected_fault_asks_for_the_traceback(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BITLOSS_DEBUG", raising=False)
    _make_list_raise(monkeypatch, KeyError("lost"))
    assert main(["list"]) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: internal error: KeyError: 'lost'\n")
    assert "BITLOSS_DEBUG=1" in err
    assert "Traceback" not in err


@pytest.mark.parametrize("by", ["option", "option behind", "variable"])
@pytest.mark.parametrize("fault", [KeyError("lost"), CheckpointError("no weights")])
def test_debug_shows_the_traceback(
    capsys: Captured, monkeypatch: pytest.MonkeyPatch, by: str, fault: Exception
) -> None:
    monkeypatch.setenv("BITLOSS_DEBUG", "1" if by == "variable" else "0")
    _make_list_raise(monkeypatch, fault)
    words = {"option": ["--debug", "list"], "option behind": ["list", "--debug"]}
    assert main(words.get(by, ["list"])) == 1
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert "error: " in err


def test_list_has_every_table(capsys: Captured) -> None:
    assert main(["list", "--json"]) == 0
    tables = json.loads(capsys.readouterr().out)
    assert tables == api.describe_names()
    assert set(tables) == {
        "architectures", "formats", "recipes", "protocols", "corpora", "tasks", "suites", "engines",
        "studies",
    }  # fmt: skip
    assert tables["recipes"]["gptq-4-g64-act"] == "GPTQ, 4 bits, groups of 64, act-order"
    assert tables["tasks"]["mmlu"].endswith("(knowledge (English); 14,042 items; acc)")


def test_list_one_table(capsys: Captured) -> None:
    assert main(["list", "protocols"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("protocols\n  strided ")
    assert "gptq-4" not in out


def test_list_suites_says_what_is_in_them(capsys: Captured) -> None:
    assert main(["list", "suites"]) == 0
    out = capsys.readouterr().out
    assert "    corpora: code\n" in out
    assert "    tasks: humaneval, humaneval_plus\n" in out


def test_doctor_as_json(capsys: Captured, monkeypatch: pytest.MonkeyPatch) -> None:
    from bitloss.doctor import checks

    found = [checks.Check("a", "ok", "1.0"), checks.Check("b", "broken", "gone", "fix it")]
    monkeypatch.setattr(checks, "run_checks", lambda **_: found)
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)[1] == {
        "name": "b", "status": "broken", "found": "gone", "fix": "fix it",
    }  # fmt: skip
    assert main(["doctor"]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "ok     a                 1.0",
        "broken b                 gone",
        "       -> fix it",
    ]
    long = checks.Check("compressed-tensors", "ok", "0.15")
    monkeypatch.setattr(checks, "run_checks", lambda **_: [found[0], long])
    assert main(["doctor"]) == 0
    assert "ok     compressed-tensors 0.15" in capsys.readouterr().out


def test_installed_command_ends_with_the_code(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bitloss.cli.main", "compare", "./nothing", "gptq-4"],
        cwd=tmp_path, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines()[0].startswith("error: no model at `./nothing`")
    assert list(tmp_path.iterdir()) == []


def _make_list_raise(monkeypatch: pytest.MonkeyPatch, fault: BaseException) -> None:
    def fail() -> None:
        raise fault

    monkeypatch.setattr(api, "describe_names", fail)
