"""Flags of a run: every declared option is in the help of its commands and reaches the run."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import typer

from bitloss import Calibration
from bitloss.cli.main import app, main
from bitloss.cli.options import split_limits, split_names
from bitloss.errors import UsageError
from bitloss.spec.options import COMPARE, PERPLEXITY, QUANTIZE, Declared
from bitloss.spec.run import options_of

COMMANDS = (COMPARE, PERPLEXITY, QUANTIZE)
# Of the commands themselves; everything else is an option of the run.
OWN = {
    COMPARE: {"--out", "--expectations", "--report", "--force", "--json", "--plan", "--quiet"},
    PERPLEXITY: {"--out", "--quant", "--force", "--json", "--plan", "--quiet"},
    QUANTIZE: {"--recipe", "--quiet"},
}


def parameters(command: str) -> dict[str, Any]:
    group: Any = typer.main.get_command(app)
    options = {}
    for parameter in group.commands[command].params:
        if parameter.param_type_name == "option":
            options[parameter.opts[0]] = parameter
    return options


@pytest.mark.parametrize("command", COMMANDS)
def test_flags_are_the_declared_ones(command: str) -> None:
    declared = [option.flag for option in options_of(command)]
    flags = list(parameters(command))
    assert [flag for flag in flags if flag in declared] == declared
    assert set(flags) - set(declared) == OWN[command]


@pytest.mark.parametrize("command", COMMANDS)
def test_defaults_and_help_are_those_of_the_field(command: str) -> None:
    for option in options_of(command):
        parameter = parameters(command)[option.flag]
        assert parameter.default == (None if option.option.many else option.default)
        assert parameter.help == option.option.line


@pytest.mark.parametrize("command", COMMANDS)
def test_values_that_cannot_be_are_refused_by_the_parser(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {
        COMPARE: ["a", "b"], PERPLEXITY: ["a"], QUANTIZE: ["a", "b", "--recipe", "gptq-4"],
    }[command]  # fmt: skip
    refused = []
    for option in options_of(command):
        for value in _wrong_values(option):
            assert main([command, *models, option.flag, value]) == 2
            error = capsys.readouterr().err
            assert error.startswith(f"error: invalid value for '{option.flag}'"), error
            refused.append(option.flag)
    assert refused


def _wrong_values(option: Declared) -> list[str]:
    if get_origin(option.type) is Literal:
        return ["-", get_args(option.type)[0].upper()]
    return [] if option.option.minimum is None else [str(option.option.minimum - 1), "x"]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_every_flag_and_default(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    lines = {flag: line for line in text.splitlines() for flag in re.findall(r"--[\w-]+", line)}
    assert "org/name[@revision]" in text
    for option in options_of(command):
        assert option.option.help in lines[option.flag]
        default = option.option.default or option.default
        if default not in (None, False):
            assert re.search(rf"\[default: \(?{re.escape(str(default))}\)?\]", lines[option.flag])


def test_calibration_is_one_value(monkeypatch: pytest.MonkeyPatch) -> None:
    from bitloss import api

    given: list[Any] = []

    def record(*_: Any, **options: Any) -> None:
        given.append(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(api, "make_spec", record)
    assert main(["compare", "a", "b", "--calibration-sequences", "3"]) == 130
    assert given[0]["calibration"] == Calibration("web", samples=3, length=512)
    assert "tasks" not in given[0]
    assert main(["compare", "a", "b", "--tasks", "x, y", "--tasks", "z"]) == 130
    assert given[1]["tasks"] == ["x", "y", "z"]


def test_names_between_commas() -> None:
    assert split_names(["a, b", "c,,"]) == ["a", "b", "c"]
    many = [f"gguf-q2_k-imatrix@prose:{number}x256" for number in range(1, 200)]
    assert split_names([",".join(many)]) == many  # longer than a file's name may be


def test_a_file_keeps_its_commas(tmp_path: Path) -> None:
    (tmp_path / "a,b.csv").write_text("x")
    file = str(tmp_path / "a,b.csv")
    assert split_names(["web,code", file, f"{file}::text"]) == [
        "web",
        "code",
        file,
        f"{file}::text",
    ]


def test_limits_with_and_without_names() -> None:
    assert split_limits("--max-kld", ["0.05", "code=0.1"]) == {"all": "0.05", "code": "0.1"}
    assert split_limits("--max-kld", None) is None
    with pytest.raises(UsageError, match="two limits for code"):
        split_limits("--max-kld", ["code=1", "code=2"])


@pytest.mark.parametrize(
    ("words", "heavy"),
    [
        (["--help"], {"torch", "transformers", "pyarrow", "yaml", "pydantic", "numpy"}),
        # Typer itself loads pydantic for the arguments of a command.
        (["compare", "--help"], {"torch", "transformers", "pyarrow", "yaml", "numpy"}),
        (["quantize", "--help"], {"torch", "transformers", "pyarrow", "yaml", "numpy"}),
    ],
)
def test_help_loads_nothing_heavy(words: list[str], heavy: set[str]) -> None:
    program = (
        f"import sys; from bitloss.cli.main import main; main({words!r}); "
        f"print(sorted({heavy!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "nosuch", "gptq-4"],
        ["compare", "pocket", "nosuch-4"],
        ["perplexity", "nosuch", "--quant", "pocket"],
        ["perplexity", "nosuch"],
        ["pack", "nosuch", "--out", "x.pack"],
        ["quantize", "nosuch", "out", "--recipe", "gptq-4"],
        ["quantize", "pocket", "out", "--recipe", "gpt-4"],
        ["study", "bits", "nosuch"],
    ],
)
def test_an_unknown_name_is_reported_before_torch_is_loaded(
    words: list[str], tmp_path: Path
) -> None:
    program = (
        f"import sys; from bitloss.cli.main import main; code = main({words!r}); "
        "print(code, sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stderr.startswith("error: unknown ")
    assert done.stdout.splitlines()[-1] in ("1 []", "2 []")
