"""A finished run is shown again only if nothing that it depends on has changed.

Oracle: whether a run is prepared, which opens the models, and the files' bytes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import bitloss
from bitloss import api, environment
from bitloss.results.values import Failure
from bitloss.runner import RunStore, unchanged
from bitloss.runner import plan as planning
from peers.tiny_model import write_tiny_model

TEXT = "The quick brown fox jumps over the lazy dog. " * 30


class Opened(Exception):
    """The run was carried out."""


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models, a text and a finished run; to prepare another raises `Opened`."""
    write_tiny_model(tmp_path / "tiny")
    write_tiny_model(tmp_path / "noisy", noise=0.02)
    (tmp_path / "fox.txt").write_text(TEXT)
    compare(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise Opened

    monkeypatch.setattr(planning, "prepare", refuse)
    return tmp_path


def compare(place: Path, **options: Any) -> Any:
    given = {"corpora": [place / "fox.txt"], "out": place / "run", **options}
    return bitloss.compare(place / "tiny", [place / "noisy"], **given)


def test_a_finished_run_is_shown(place: Path) -> None:
    result = place / "run" / "comparison.json"
    before = result.read_bytes(), result.stat().st_mtime_ns
    found = compare(place)
    assert found.to_json().encode() == before[0]
    assert before == (result.read_bytes(), result.stat().st_mtime_ns)


def again(path: Path) -> None:
    """The same bytes under the same name, with the same time: another file."""
    found = path.stat()
    copy = path.with_name("copy")
    copy.write_bytes(path.read_bytes())
    copy.replace(path)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def record(place: Path) -> Path:
    return sorted((place / "run" / "records").iterdir())[0]


CHANGES: dict[str, Callable[[Path], Any]] = {
    "weights": lambda place: again(place / "noisy" / "model.safetensors"),
    "a file beside the weights": lambda place: (place / "tiny" / "new.json").write_text("{}"),
    "text": lambda place: (place / "fox.txt").write_text(TEXT[:-1] + "!"),
    "a record is lost": lambda place: record(place).unlink(),
    "a record": lambda place: again(record(place)),
    "the result": lambda place: again(place / "run" / "comparison.json"),
    "the manifest": lambda place: again(place / "run" / "manifest.json"),
    "another run was stopped there": lambda place: (place / "run" / "unfinished.json").touch(),
    "no note": lambda place: (place / "run" / unchanged.FINISHED_FILE).unlink(),
    "a damaged note": lambda place: (place / "run" / unchanged.FINISHED_FILE).write_bytes(b"\xff"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_is_run_again(place: Path, change: str) -> None:
    CHANGES[change](place)
    with pytest.raises(Opened):
        compare(place)


def test_another_question_is_another_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (place / "mine.yaml").write_text("levels: {yes: 1.02}\n")
    for options in ({"seed": 1}, {"expectations": place / "mine.yaml"}, {"data": place}):
        with pytest.raises(Opened):
            compare(place, **options)
    changes = (
        (unchanged, "_version", lambda _: "0"),
        (environment, "thread_settings", lambda: (99,)),
    )
    for module, name, value in changes:
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            with pytest.raises(Opened):
                compare(place)


def test_the_same_question_in_other_words_is_the_same_run(place: Path) -> None:
    """The result has the command that made it."""
    spec = api.make_spec(place / "tiny", [place / "noisy"], corpora=[place / "fox.txt"])
    before = (place / "run" / "comparison.json").read_text()
    found = api.run(spec, place / "run", command=["bitloss", "compare", "--quiet"])
    assert found.to_json() == before


def test_what_a_hub_has_is_asked_for_again(place: Path) -> None:
    local = {"corpora": [place / "fox.txt"]}
    known = [api.make_spec(place / "tiny", [place / "noisy", "gguf-q8_0"], **local)]
    known.append(api.make_spec("pocket", ["gguf-q8_0"], suite="pocket"))
    unknown = [api.make_spec("org/model", [place / "noisy"], **local)]
    unknown.append(api.make_spec(place / "tiny", ["org/model"], **local))
    (place / "rows.jsonl").write_text("{}")
    (place / "task.yaml").write_text("data: rows.jsonl")
    unknown.append(api.make_spec(place / "tiny", [place / "noisy"], tasks=[place / "task.yaml"]))
    assert [unchanged.read_inputs(spec, []) is None for spec in known] == [False] * 2
    assert [unchanged.read_inputs(spec, []) is None for spec in unknown] == [True] * 3


def test_only_a_run_that_succeeded_is_noted(place: Path) -> None:
    store = RunStore(place / "run")
    manifest = store.read_manifest()
    (variant,) = manifest.variants
    failed = variant.model_copy(update={"error": Failure(message="no", hint="")})
    (name,) = manifest.corpora
    entry = manifest.corpora[name]
    facts = entry.facts.__class__(**{**_fields(entry.facts), "source": "org/texts"})
    elsewhere = manifest.model_copy(
        update={"corpora": {name: entry.model_copy(update={"facts": facts})}}
    )
    note = store.root / unchanged.FINISHED_FILE
    for changed, before, after in (
        (manifest.model_copy(update={"variants": (failed,)}), "a", "a"),
        (elsewhere, "a", "a"),
        (manifest, "a", "b"),  # changed while it was running
        (manifest, None, None),
    ):
        unchanged.remember(store, manifest, "a", "a")
        assert unchanged.is_unchanged(store, "a")
        unchanged.remember(store, changed, before, after)
        assert not note.exists()
        assert not unchanged.is_unchanged(store, "a")


def test_texts_of_several_files_are_of_this_machine(place: Path) -> None:
    """As GSM8K's: questions and solved examples in a file each."""
    store = RunStore(place / "run")
    manifest = store.read_manifest()
    ((name, entry),) = manifest.corpora.items()
    note = store.root / unchanged.FINISHED_FILE
    here, there = str(place / "fox.txt"), str(place / "gone.txt")
    for source, is_noted in ((f"{here}, {here}", True), (f"{here}, {there}", False)):
        facts = entry.facts.__class__(**{**_fields(entry.facts), "source": source})
        read = entry.model_copy(update={"facts": facts})
        changed = manifest.model_copy(update={"corpora": {name: read}})
        unchanged.remember(store, changed, "a", "a")
        assert note.exists() == is_noted


def _fields(facts: Any) -> dict[str, Any]:
    import dataclasses

    return {one.name: getattr(facts, one.name) for one in dataclasses.fields(facts) if one.init}
