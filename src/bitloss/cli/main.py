"""`bitloss`: the commands put together, and faults turned into two lines and an exit code.

Exit codes: 0 done; 1 it could not be done; 2 the command itself is wrong; 3 a gate that is neither
passed nor failed; 130 interrupted.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from bitloss import __version__
from bitloss.cli.card import card
from bitloss.cli.check import check
from bitloss.cli.compare import compare
from bitloss.cli.console import complain, note
from bitloss.cli.demo import demo
from bitloss.cli.doctor import doctor
from bitloss.cli.listing import list_names
from bitloss.cli.new_task import new_task
from bitloss.cli.perplexity import perplexity
from bitloss.cli.quantize import quantize
from bitloss.cli.report import report
from bitloss.cli.study import study
from bitloss.errors import BitlossError

__all__ = ["app", "main"]

_DEBUG = "BITLOSS_DEBUG"
# They come along with transformers' model classes and tell of kernels for other machines.
_CHATTY = ("torchao", "torch.utils._pytree")
# The class of everything typer raises about a wrong command line; it has no public name.
_CommandLineError: type[Exception] = typer.BadParameter.__mro__[1]

app = typer.Typer(
    name="bitloss",
    help="What did quantization cost this language model, and where?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("compare")(compare)
app.command("study")(study)
app.command("perplexity")(perplexity)
app.command("report")(report)
app.command("check")(check)
app.command("card")(card)
app.command("quantize")(quantize)
app.command("list")(list_names)
app.command("new-task")(new_task)
app.command("doctor")(doctor)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"bitloss {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Say it and stop."),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help=f"Show tracebacks ({_DEBUG}=1 does too).")
    ] = False,
) -> None:
    del version, debug  # the one has ended the program, the other is read by `main`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given or os.environ.get(_DEBUG, "") not in ("", "0")
    for name in () if debug else _CHATTY:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        code = app(
            [word for word in given if word != "--debug"],
            prog_name="bitloss",
            standalone_mode=False,
            obj=("bitloss", *given),  # recorded with results
        )
    except BitlossError as error:
        if debug:
            traceback.print_exc()
        complain(error.message, error.hint)
        return error.exit_code
    except _CommandLineError as error:
        return _complain_about_command_line(error)
    except Exception as error:
        return _complain_about_bug(error, debug)
    if code == 130:  # typer's for Ctrl-C
        note("interrupted; run the same command again to go on where it stopped")
    return code if isinstance(code, int) else 0


def _complain_about_command_line(error: Exception) -> int:
    message = _wording(error)
    if not message:  # no command at all: typer has printed the help
        return 2
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "bitloss"
    message, _, suggestion = message.partition(" Did you mean ")
    if close := getattr(error, "possibilities", None):
        suggestion = f"{' or '.join(close)}?"
    complain(
        message.removesuffix("."),
        f"did you mean {suggestion}" if suggestion else f"{command} --help",
    )
    return 2


def _wording(error: Exception) -> str:
    """Typer's message, in the form of our own."""
    formatted = getattr(error, "format_message", None)
    # An unknown option's formatted message repeats the possibilities, which are our hint.
    if formatted is None or hasattr(error, "possibilities"):
        message = str(getattr(error, "message", error))
    else:
        message = str(formatted())
    message = message.replace("Value error, ", "")
    return message[:1].lower() + message[1:]


def _complain_about_bug(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    complain(
        f"bitloss failed in a way it should not: {type(error).__name__}: {error}",
        "" if debug else f"set {_DEBUG}=1 to see where, and report it with that output",
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
