"""Python examples on the pages run: all of a page's blocks, one after the other.

What would score a model does not: its arguments are checked by the function that takes them, and
its result is a small finished run's, or has the attributes that its type declares. Everything else
(`load`, `check`, `to_dataframe`, a study's definition ...) is the real one. A shown value is
compared with the real one.
"""

from __future__ import annotations

import doctest
import inspect
import re
import shutil
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import bitloss
from bitloss import registry
from bitloss.api import make_spec
from bitloss.results import Comparison
from bitloss.results.leaderboard import Leaderboard
from bitloss.results.pack import PackDocument
from bitloss.studies import StudyResult
from bitloss.studies.run import study as run_study
from example_store import write_run

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
# Finished runs that pages speak of, with a variant's name in them.
_RUNS = {
    "runs/tutorial": "gguf-q4_k_m",
    "runs/llama-1a2b3c4d": "gptq-4",
    "runs/scribe": "gptq-4",
    "runs/demo": "gptq-4",
}
# Blocks that are no programs, and why.
_NOT_RUN = {
    ("docs/decisions/0014-options.md", 0): "a field in the body of a class",
    ("docs/studies/recipe.md", 0): "llmcompressor, in an environment of its own",
    ("docs/studies.md", 3): "a line of a table in registry.py",
}


def blocks(page: Path) -> list[str]:
    """The page's Python blocks that are programs."""
    name = page.relative_to(ROOT).as_posix()
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [block for n, block in enumerate(found) if (name, n) not in _NOT_RUN]


WITH_PYTHON = [page for page in PAGES if page.name != "CHANGELOG.md" and blocks(page)]


class Shape:
    """Has the attributes of a type, as far as its annotations say, and no values."""

    def __init__(self, kind: Any) -> None:
        self._kind = _without_none(kind)

    def __getattr__(self, name: str) -> Any:
        fields = getattr(self._kind, "model_fields", None) or {}
        if name in fields:
            return Shape(fields[name].annotation)
        found = inspect.getattr_static(self._kind, name)  # AttributeError if there is none
        hints = typing.get_type_hints(found.fget) if isinstance(found, property) else {}
        return Shape(hints.get("return", object))

    def __getitem__(self, key: object) -> Shape:
        return Shape(_element(self._kind))

    def __iter__(self) -> Iterator[Shape]:
        yield Shape(_element(self._kind))


def _without_none(kind: Any) -> Any:
    parts = [each for each in typing.get_args(kind) if each is not type(None)]
    nullable = len(parts) < len(typing.get_args(kind))
    return _without_none(parts[0]) if nullable and len(parts) == 1 else kind


def _element(kind: Any) -> Any:
    """What is in a sequence, or the values of a mapping."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    assert origin is not None, f"`{kind}` has no elements"
    return parts[1] if issubclass(origin, Mapping) else parts[0]


def finished_run(folder: Path, variant: str, corpus: str = "wikitext-2") -> Comparison:
    """A small finished run with this variant, a corpus, and a task of math."""
    write_run(folder)
    document = folder / "comparison.json"
    text = document.read_text(encoding="utf-8")
    text = text.replace("gptq-4", variant).replace("wikitext-2", corpus)
    document.write_text(text, encoding="utf-8")
    return Comparison.load(folder)


def taken(real: Callable[..., Any], *args: Any, **keywords: Any) -> dict[str, Any]:
    """Arguments by name as the function takes them, with a run's options checked.

    Raises:
        TypeError: the function has no such argument.
        UsageError: a run has no such option, or it cannot have this value.
    """
    given = inspect.signature(real).bind(*args, **keywords).arguments
    make_spec("model", given.get("variants", ("gptq-4",)), **given.pop("options", {}))
    return given


def stand_ins(folder: Path) -> dict[str, Callable[..., Any]]:
    """For what would score a model, by name."""
    real = {name: getattr(bitloss, name) for name in ("compare", "pack", "leaderboard", "study")}

    def compare(reference: str, variants: str | Sequence[str], **keywords: Any) -> Comparison:
        names = [variants] if isinstance(variants, str) else variants
        taken(real["compare"], reference, names, **keywords)
        corpora: Sequence[str] = keywords.get("corpora") or ("wikitext-2",)
        return finished_run(folder / "compared", names[-1], corpora[0])

    def study(name: str, models: str | Sequence[str], **keywords: Any) -> Shape:
        if name not in registry.OWN_STUDIES:
            taken(run_study, name, models, **keywords)
            return Shape(StudyResult)
        own = registry.load("study", registry.OWN_STUDIES, name)
        taken(own, models, **keywords)
        return Shape(typing.get_type_hints(own)["return"])

    def pack(*args: Any, **keywords: Any) -> Shape:
        taken(real["pack"], *args, **keywords)
        return Shape(PackDocument)

    def leaderboard(*args: Any, **keywords: Any) -> Shape:
        taken(real["leaderboard"], *args, **keywords)
        return Shape(Leaderboard)

    return {"compare": compare, "pack": pack, "leaderboard": leaderboard, "study": study}


def run(block: str, names: dict[str, Any]) -> None:
    examples = doctest.DocTestParser().get_examples(block)
    if not examples:
        exec(compile(block, "<page>", "exec"), names)
    for example in examples:
        if not example.want:
            exec(compile(example.source, "<page>", "exec"), names)
        else:
            assert repr(eval(example.source, names)) == example.want.strip()


@pytest.mark.parametrize("page", WITH_PYTHON, ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if any("to_dataframe" in block for block in blocks(page)):
        pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    text = page.read_text(encoding="utf-8")
    for folder, variant in _RUNS.items():
        if folder in text:
            finished_run(tmp_path / folder, variant)
    for name, function in stand_ins(tmp_path).items():
        monkeypatch.setattr(bitloss, name, function)
    names: dict[str, Any] = {"bitloss": bitloss}
    for block in blocks(page):
        run(block, names)
        shutil.rmtree(tmp_path / "compared", ignore_errors=True)


def test_there_are_examples() -> None:
    assert len(WITH_PYTHON) >= 8
    assert all((ROOT / page).is_file() for page, _ in _NOT_RUN)


@pytest.mark.parametrize(
    ("block", "error"),
    [
        (">>> bitloss.compare('./a', 'gptq-4', suit='quick')", bitloss.BitlossError),
        (">>> bitloss.compare('./a', 'gptq-4', engine='dence')", bitloss.BitlossError),
        (">>> bitloss.compare('./a', 'gptq-4')['gptq-4'].verdict.levle", AttributeError),
        (">>> bitloss.pack('./a', 'b.pack').digset", AttributeError),
        (">>> bitloss.study('bits', ['./a']).models[0].levels[0].lebel", AttributeError),
        (">>> bitloss.study('recipe', './a', lik='gguf-q4_k_m')", bitloss.BitlossError),
        (">>> 1 + 1\n3\n", AssertionError),
    ],
)
def test_wrong_example_is_found(
    block: str, error: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, function in stand_ins(tmp_path).items():
        monkeypatch.setattr(bitloss, name, function)
    with pytest.raises(error):
        run(block, {"bitloss": bitloss})
