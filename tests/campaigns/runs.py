"""A small run through the command line that does everything, for campaigns that disturb it."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.forks import Bounds, import_all, run_forked
from campaigns.watching import adopt_orphans
from peers.tiny import byte_level_tokenizer, save_tiny

__all__ = [
    "COMPARE",
    "SHORT",
    "Command",
    "Place",
    "command",
    "differences",
    "make_models",
    "prepare",
    "results_of",
    "scratch",
]

COMPARE = (
    "compare", "./model", "./noisy", "gguf-q8_0", "--corpus", "./text.txt", "--max-length", "64",
    "--stride", "64", "--tasks", "./options.yaml,./written.yaml,./code.yaml", "--out", "run", "-q",
    "--no-report",
)  # fmt: skip
"""A text, a task of each kind, a variant that is there and one that is made."""
SHORT = tuple(word for word in COMPARE if word != "gguf-q8_0")
"""Without the one that is made, which takes three times as long as the rest."""

_TASKS = {
    "options": """\
name: options
capability: knowledge (English)
items:
  - {q: "one and one", o: ["two", "three"], g: two}
  - {q: "one and two", o: ["two", "three"], g: three}
  - {q: "two and two", o: ["four", "three"], g: four}
prompt: "{q} is"
choice: {options: "{o}", gold: g, gold_as: text}
""",
    "written": """\
name: written
capability: math
items:
  - {q: "one and one", a: "two"}
  - {q: "one and two", a: "three"}
  - {q: "two and two", a: "four"}
prompt: "{q} is"
exact_match: {gold: a}
generation: {max_new_tokens: 12}
""",
    "code": """\
name: code
capability: code
items:
  - {name: one, value: 1}
  - {name: two, value: 2}
  - {name: three, value: 3}
prompt: "def {name}():\\n"
answer: "    return {value}"
python_tests:
  entry_point: "{name}"
  completes: "def {name}():\\n"
  tests: "assert {name}() == {value}"
generation: {max_new_tokens: 8}
""",
}
# Times, and what a rerun need not write again in the same words.
_MARKS = (".finished", ".report", ".lock")


def prepare(folder: Path) -> Path:
    """Make this process ready for runs in forks of it; the folder of their models, in this one."""
    os.environ.update(OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")
    import_all()
    models = folder / "models"
    models.mkdir(parents=True)
    made = run_forked(lambda: make_models(models) or 0, models, Bounds(600, 4 << 30))
    if made.status:
        raise RuntimeError(made.err[-2000:])
    adopt_orphans()
    return models


def make_models(folder: Path) -> None:
    """Write a model, a noisy copy, a text and task files."""
    # llama.cpp has one token for each row of the embedding.
    options = {"vocab_size": byte_level_tokenizer().get_vocab_size(),
               "max_position_embeddings": 256}  # fmt: skip
    save_tiny(folder / "model", "llama", **options)
    noisy = save_tiny(folder / "noisy", "llama", **options)
    for value in noisy.parameters():
        value.data *= 1.05
    noisy.save_pretrained(folder / "noisy")
    (folder / "text.txt").write_text("".join(f"{n} foxes, {n * n} dogs. " for n in range(40)))
    for name, text in _TASKS.items():
        (folder / f"{name}.yaml").write_text(text)


@dataclass(frozen=True)
class Place:
    """A working directory with the models, a cache and a folder for temporary files of its own.

    Attributes:
        folder: the directory.
    """

    folder: Path

    @classmethod
    def make(
        cls, folder: Path, models: Path, *, cache: Path | None = None, made: Path | None = None
    ) -> Place:
        """Make it; the folders that are watched are there from the beginning.

        Args:
            folder: the directory.
            models: from `make_models`.
            cache: another place's; None is one of its own.
            made: a cache whose variants are copied, so that none has to be made.
        """
        folder.mkdir(parents=True)
        for entry in models.iterdir():
            (folder / entry.name).symlink_to(entry)
        if cache is not None:
            (folder / "cache").symlink_to(cache)
        place = cls(folder)
        for watched in place.watched().values():
            watched.mkdir(parents=True, exist_ok=True)
        if made is not None:
            shutil.copytree(made, folder / "cache", dirs_exist_ok=True)
        return place

    @property
    def run(self) -> Path:
        """The run directory."""
        return self.folder / "run"

    @property
    def variants(self) -> Path:
        """Where variants are kept."""
        return self.folder / "cache" / "variants"

    @property
    def temporary(self) -> Path:
        """Where temporary files are."""
        return self.folder / "tmp"

    def watched(self) -> dict[str, Path]:
        """The folders that a run writes into."""
        return {"run": self.run, "records": self.run / "records", "states": self.run / "states",
                "variants": self.variants, "tmp": self.temporary}  # fmt: skip

    def leftovers(self) -> list[str]:
        """Unfinished and temporary files and folders."""
        unfinished = [*self.folder.rglob(".tmp-*"), *self.folder.rglob(".making-*")]
        left = {*unfinished, *self.temporary.iterdir()}
        return sorted(str(path.relative_to(self.folder)) for path in left if not _probe(path))

    def remove(self) -> None:
        """Remove all of it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _probe(path: Path) -> bool:
    """Whether it is how Python finds out that it may write there: four bytes, removed at once,
    unless it is ended between two of its own instructions.
    """
    return bool(re.fullmatch(r"[a-z0-9_]{8}", path.name)) and path.stat().st_size <= 4


def results_of(place: Place) -> dict[str, bytes]:
    """What a run comes to, by file: all of its directory but marks, and the variants made."""
    found = {}
    for root in (place.run, place.variants):
        for path in root.rglob("*"):
            if path.is_file() and not path.name.startswith(_MARKS):
                found[str(path.relative_to(place.folder))] = _content(path)
    return found


def _content(path: Path) -> bytes:
    if path.name != "recipe.json":
        return path.read_bytes()
    record = json.loads(path.read_bytes())
    record.pop("seconds")  # a time
    return json.dumps(record, sort_keys=True).encode()


def differences(found: dict[str, bytes], right: dict[str, bytes]) -> str:
    """How the results of a run differ from those of one that nothing disturbed; empty if not."""
    wrong = [f"{name} is missing" for name in right if name not in found]
    wrong += [f"{name} is there" for name in found if name not in right]
    wrong += [f"{name} differs" for name in found if name in right and found[name] != right[name]]
    return "; ".join(wrong[:4])


class Command:
    """A command in a forked process that leads a group of its own.

    The process that forks has imported what commands need and started no thread.

    Args:
        words: of the command line.
        place: where it runs.
    """

    def __init__(self, words: Sequence[str], place: Place) -> None:
        self._folder = tempfile.mkdtemp(prefix="output-", dir=place.folder.parent)
        self.status: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            self._in_child(words, place)

    def _in_child(self, words: Sequence[str], place: Place) -> None:
        status = 99
        try:
            os.setsid()
            for target, name in enumerate(("out", "err"), start=1):
                flags = os.O_WRONLY | os.O_CREAT
                os.dup2(os.open(Path(self._folder, name), flags, 0o644), target)
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            # As in a shell: what runs in the background may have been told to ignore the first.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            os.environ.update(BITLOSS_CACHE=str(place.folder / "cache"),
                              TMPDIR=str(place.temporary))  # fmt: skip
            tempfile.tempdir = None
            os.chdir(place.folder)
            status = importlib.import_module("bitloss.cli.main").main(list(words))
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                atexit._run_exitfuncs()  # as where Python itself ends the process
                sys.stderr.flush()
            os._exit(status)

    def ended(self) -> bool:
        """Whether it has; its status is then known, negative for a signal."""
        if self.status is None:
            done, status = os.waitpid(self.pid, os.WNOHANG)
            if done:
                self.status = os.waitstatus_to_exitcode(status)
        return self.status is not None

    def wait(self) -> int:
        """Wait for its end."""
        if self.status is None:
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def signal(self, number: int) -> None:
        """Send a signal to it and its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def read(self) -> tuple[str, str]:
        """What it wrote to stdout and stderr."""
        texts = (Path(self._folder, name).read_bytes() for name in ("out", "err"))
        out, err = (text.decode(errors="replace") for text in texts)
        return out, err

    def forget(self) -> None:
        """Remove what it wrote."""
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def command(words: Sequence[str], place: Place) -> Iterator[Command]:
    """A command while the block runs; it is killed at the end if it still runs."""
    started = Command(words, place)
    try:
        yield started
    finally:
        if not started.ended():
            started.signal(signal.SIGKILL)
            started.wait()
        started.forget()


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A folder while the block runs. Not Python's own, which the forked processes would remove as
    they end.
    """
    folder = tempfile.mkdtemp(prefix="campaign-")
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
