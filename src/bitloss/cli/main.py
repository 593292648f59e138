"""`bitloss`: all commands, and errors turned into two lines and an exit code.

Exit codes: 0 done; 1 failed; 2 the command itself is wrong; 3 a gate that is undecided;
130 interrupted (Ctrl-C), 143 ended by SIGTERM.
"""

from __future__ import annotations

import io
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Annotated

import typer

from bitloss import __version__, environment
from bitloss.cli.card import card
from bitloss.cli.check import check
from bitloss.cli.compare import compare
from bitloss.cli.console import leave_stdout, print_error, print_status
from bitloss.cli.demo import demo
from bitloss.cli.doctor import doctor
from bitloss.cli.leaderboard import leaderboard
from bitloss.cli.listing import list_names
from bitloss.cli.new_task import new_task
from bitloss.cli.pack import pack
from bitloss.cli.perplexity import perplexity
from bitloss.cli.quantize import quantize
from bitloss.cli.report import report
from bitloss.cli.studies import studies
from bitloss.errors import BitlossError
from bitloss.system_errors import explain

__all__ = ["app", "main"]

# Imported by transformers' model classes; they log about kernels for other machines.
_NOISY_LOGGERS = ("torchao", "torch.utils._pytree")
_AGAIN = 0.05  # seconds until an interruption that was lost comes again
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
app.command("pack")(pack)
app.add_typer(studies, name="study")
app.command("perplexity")(perplexity)
app.command("report")(report)
app.command("leaderboard")(leaderboard)
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
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option("--debug", help=f"Show tracebacks ({environment.DEBUG.name}=1 does too)."),
    ] = False,
) -> None:
    del version, debug  # the one has ended the program, the other is read by `main`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns the exit code."""
    with _interruptions() as received:
        return _run(list(sys.argv[1:] if arguments is None else arguments), received)


@contextmanager
def _interruptions() -> Iterator[list[int]]:
    """Let SIGTERM, by which batch systems and containers end programs, interrupt the block as
    Ctrl-C does: what it has begun is then cleared away. Yields a list of the signals received.

    It is needed for Ctrl-C too, since a library may take the exception for a failure of its own
    and raise another in its place; and where it comes while something is freed, from which nothing
    can be raised, it comes again.
    """
    received: list[int] = []
    again: list[threading.Timer] = []
    unraisable = sys.unraisablehook

    def interrupt(number: int, frame: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    def repeat(lost: sys.UnraisableHookArgs) -> None:
        if not (received and issubclass(lost.exc_type, KeyboardInterrupt)):
            unraisable(lost)
            return
        again.append(threading.Timer(_AGAIN, os.kill, (os.getpid(), received[-1])))
        again[-1].start()

    before = {}
    try:
        sys.unraisablehook = repeat
        # Only the main thread may say what a signal does.
        if threading.current_thread() is threading.main_thread():
            before[signal.SIGTERM] = signal.signal(signal.SIGTERM, interrupt)
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                before[signal.SIGINT] = signal.signal(signal.SIGINT, interrupt)
        yield received
    finally:
        for timer in again:
            timer.cancel()
        sys.unraisablehook = unraisable
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def _run(given: list[str], received: list[int]) -> int:
    debug = "--debug" in given or environment.debug()
    for name in () if debug else _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.ERROR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # names of files need not be text
            stream.reconfigure(errors="backslashreplace")
    try:
        code = app(
            [word for word in given if word != "--debug"],
            prog_name="bitloss",
            standalone_mode=False,
            obj=("bitloss", *given),  # recorded with results
        )
        sys.stdout.flush()  # a full device refuses here, and not when Python ends
    except KeyboardInterrupt:  # outside of typer, which has a code for it
        return _interrupted(received)
    except _CommandLineError as error:
        return _report_wrong_command(error)
    except (Exception, SystemExit) as error:  # the second: typer's, where stdout's reader has ended
        if received:
            return _interrupted(received)
        known = error if isinstance(error, BitlossError) else explain(error)
        if known is None:
            if isinstance(error, SystemExit):
                raise
            return _report_bug(error, debug)
        if debug:
            traceback.print_exc()
        if known is not error:
            leave_stdout()
        print_error(known.message, known.hint)
        return known.exit_code
    if code == 130:  # typer's for Ctrl-C
        return _interrupted(received)
    return code if isinstance(code, int) else 0


def _interrupted(received: list[int]) -> int:
    print_status("interrupted; rerun the same command to resume")
    return 128 + received[0] if received else 130


def _report_wrong_command(error: Exception) -> int:
    message = _wording(error)
    if not message:  # no command at all: typer has printed the help
        return 2
    context = getattr(error, "ctx", None)
    command = " ".join(context.command_path.split()) if context is not None else "bitloss"
    message, _, suggestion = message.partition(" Did you mean ")
    if close := getattr(error, "possibilities", None):
        suggestion = f"{' or '.join(close)}?"
    print_error(
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


def _report_bug(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    print_error(
        f"internal error: {type(error).__name__}: {error}",
        ""
        if debug
        else f"set {environment.DEBUG.name}=1 to get a traceback, and report the error with it",
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
