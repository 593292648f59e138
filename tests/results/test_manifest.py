"""The manifest: what is written comes back, and nothing else is read.

Oracles: equality of the values that went in; the field that was changed by hand.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from bitloss.errors import StorageError
from bitloss.results import Engine, Environment, Failure, Manifest, Seeds
from bitloss.results.manifest import (
    CorpusEntry,
    ExactRecords,
    MeasuredFloor,
    ModelEntry,
    RandomOrder,
    ReferenceEntry,
    ScoredVariant,
    TaskEntry,
    can_be_reported,
    refuse_other_layout,
)
from bitloss.types import ModelInfo, ScoredCorpus
from example_run import make_corpus
from example_store import TASK, make_manifest

TEXT = st.text(max_size=8)
COUNT = st.integers(0, 2**40)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
FINGERPRINTS = st.lists(TEXT, min_size=1, max_size=3).map(tuple)
NOTES = st.lists(TEXT, max_size=2).map(tuple)
PARAMETERS = st.dictionaries(TEXT, COUNT | TEXT | st.none() | st.booleans(), max_size=3)


def maybe(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | values


INFO = st.builds(
    ModelInfo,
    name=TEXT, digest=TEXT, format=TEXT, bits=NUMBER, bits_per_weight=NUMBER, file_bytes=COUNT,
    parameters=COUNT, group_size=maybe(st.integers(-1, 256)), desc_act=maybe(st.booleans()),
    calibration=maybe(TEXT), architecture=TEXT,
)  # fmt: skip
FACTS = st.builds(
    ScoredCorpus,
    name=TEXT, digest=TEXT, source=TEXT, protocol=TEXT, parameters=PARAMETERS,
    averaging=st.sampled_from(["tokens", "windows", "windows-by-valid-minus-one"]),
    valid=st.lists(COUNT, max_size=3).map(tuple), n_windows=COUNT, n_windows_total=COUNT,
    n_scored=COUNT, n_total=COUNT, n_tokens=COUNT, n_bytes=COUNT, n_words=maybe(COUNT),
    notes=NOTES,
)  # fmt: skip
FLOOR = st.builds(
    MeasuredFloor, dtype=TEXT, kl_divergence=NUMBER, n_scored=COUNT, records=FINGERPRINTS
)
EXACT = st.builds(ExactRecords, dtype=TEXT, n_windows=COUNT, records=FINGERPRINTS)
SCORED = st.builds(
    ScoredVariant,
    records=FINGERPRINTS,
    stopped=st.sampled_from([None, "decided", "precision", "end"]),
    exact=maybe(EXACT),
    notes=NOTES,
)
ORDER = st.builds(RandomOrder, blocks=st.lists(COUNT, max_size=4).map(tuple))
ENVIRONMENT = st.builds(
    Environment,
    versions=st.dictionaries(TEXT, TEXT, max_size=2),
    engine=st.builds(Engine, name=TEXT, version=TEXT),
    dtype=TEXT, device=TEXT, cpu=TEXT, threads=maybe(COUNT), batch_tokens=maybe(COUNT),
    seeds=st.builds(Seeds, bootstrap=COUNT, calibration=COUNT),
    until=st.sampled_from([None, "decided"]), precision=maybe(NUMBER), command=TEXT,
)  # fmt: skip
FAILURE = st.builds(Failure, message=TEXT, hint=TEXT)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    names = draw(st.lists(TEXT, min_size=1, max_size=4, unique=True))
    reference, *variants = names
    some = st.lists(st.sampled_from(variants), unique=True) if variants else st.just([])
    corpora = st.builds(
        CorpusEntry,
        facts=FACTS, dtype=TEXT, noise_floor=maybe(FLOOR), reference=FINGERPRINTS,
        random_order=maybe(ORDER), variants=some.flatmap(
            lambda chosen: st.fixed_dictionaries(dict.fromkeys(chosen, SCORED))
        ),
    )  # fmt: skip
    tasks = st.builds(
        TaskEntry,
        capability=TEXT, metrics=FINGERPRINTS, license=TEXT, source=TEXT, digest=TEXT,
        identity=TEXT, version=COUNT, chance=maybe(NUMBER), samples=COUNT, shots=COUNT,
        groups=st.dictionaries(TEXT, TEXT, max_size=2),
        gold=st.sampled_from(["option", "answer", "reference"]), n_items=COUNT, n_total=COUNT,
        notes=NOTES, dtype=TEXT, noise_floor=maybe(FLOOR), questions=TEXT,
        items=some.flatmap(
            lambda chosen: st.fixed_dictionaries(dict.fromkeys([reference, *chosen], TEXT))
        ),
    )  # fmt: skip
    return Manifest(
        reference=ReferenceEntry(name=reference, info=draw(INFO)),
        variants=tuple(
            ModelEntry(
                name=name, info=draw(maybe(INFO)), recipe=draw(maybe(PARAMETERS)),
                error=draw(maybe(FAILURE)),
            )
            for name in variants
        ),
        corpora=draw(st.dictionaries(TEXT, corpora, max_size=2)),
        tasks=draw(st.dictionaries(TEXT, tasks, max_size=2)),
        environment=draw(ENVIRONMENT),
        missing=draw(maybe(NOTES)),
    )  # fmt: skip


@given(manifests())
def test_what_is_written_comes_back(manifest: Manifest) -> None:
    again = Manifest.from_json(manifest.to_json(), name="manifest.json")
    assert again == manifest
    assert list(again.corpora) == list(manifest.corpora)
    assert list(again.tasks) == list(manifest.tasks)
    assert again.to_json() == manifest.to_json()


def example() -> Manifest:
    scored = ScoredVariant(records=("a", "b"), stopped=None, exact=None, notes=())
    corpus = CorpusEntry(
        facts=make_corpus(), dtype="fp32", noise_floor=None, reference=("r",),
        random_order=None, variants={"gptq-4": scored},
    )  # fmt: skip
    task = TaskEntry(**TASK, questions="q", items={"org/model": "r", "gptq-4": "v"})
    return make_manifest(corpora={"wikitext-2": corpus}, tasks={"sums": task})


def place(document: Any, path: str) -> tuple[Any, str]:
    """The object that a path ends in, and its last key."""
    *above, last = path.split("/")
    for key in above:
        document = document[int(key)] if isinstance(document, list) else document[key]
    return document, last


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("reference/info/bits", "four", "reference.info.bits"),
        ("reference/info/colour", "red", "reference.info.colour"),
        ("variants/0/info/file_bytes", 1.5, "variants.0.info.file_bytes"),
        ("variants/1/notes", [], "variants.1.notes"),
        ("corpora/wikitext-2/facts/n_words", "3", "corpora.wikitext-2.facts.n_words"),
        ("corpora/wikitext-2/facts/length", 3, "corpora.wikitext-2.facts.length"),
        ("corpora/wikitext-2/reference", [], "corpora.wikitext-2.reference"),
        ("corpora/wikitext-2/variants/gptq-4/stopped", "bored",
         "corpora.wikitext-2.variants.gptq-4.stopped"),
        ("corpora/wikitext-2/variants/gptq-3", {"records": ["a"], "stopped": None, "exact": None,
         "notes": []}, "corpora.wikitext-2.variants names `gptq-3`"),
        ("tasks/sums/metrics", [], "tasks.sums.metrics"),
        ("tasks/sums/items", {"gptq-4": "v"}, "tasks.sums.items lacks the reference"),
        ("environment/seeds", {"bootstrap": True}, "environment.seeds.bootstrap"),
    ],
)  # fmt: skip
def test_hand_edited_manifest_is_refused_by_field(path: str, value: Any, field: str) -> None:
    document = json.loads(example().to_json())
    owner, key = place(document, path)
    owner[key] = value
    with pytest.raises(StorageError) as caught:
        Manifest.from_json(json.dumps(document), name="run/manifest.json")
    assert caught.value.message.startswith("run/manifest.json: not a manifest as bitloss writes it")
    assert field in caught.value.message
    assert caught.value.hint == (
        "rerun to write it again: bitloss compare org/model gptq-4 q8.gguf --tasks sums.jsonl"
    )


def test_a_missing_field_is_named() -> None:
    document = json.loads(example().to_json())
    del document["tasks"]["sums"]["questions"]
    del document["environment"]["command"]
    with pytest.raises(StorageError, match=r"`tasks\.sums\.questions`: Field required") as caught:
        Manifest.from_json(json.dumps(document), name="run/manifest.json")
    assert caught.value.hint == "rerun the same `bitloss compare` to write it again"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "m.json: damaged, not JSON"),
        ('{"manifest_version": NaN}', "NaN is not a JSON number"),
        ("[]", "got no `manifest_version`"),
        ("{}", "got no `manifest_version`"),
        ('{"manifest_version": "5"}', "got no `manifest_version`"),
        ('{"manifest_version": 7}', "got version 7 of a newer bitloss"),
    ],
)
def test_what_is_no_manifest(text: str, message: str) -> None:
    with pytest.raises(StorageError, match=message) as caught:
        Manifest.from_json(text, name="m.json")
    assert caught.value.hint


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("bitloss compare a b", "bitloss compare a b --out runs/x-new"),
        ("bitloss compare a b --out there -q", "bitloss compare a b -q --out there-new"),
        ("bitloss compare a b --out=my/run/", "bitloss compare a b --out my/run-new"),
        ("bitloss compare 'my model' b", "bitloss compare 'my model' b --out runs/x-new"),
        ("bitloss compare 'unclosed", "bitloss compare 'unclosed"),
        ("", "choose another one with --out"),
        (None, "choose another one with --out"),
    ],
)
def test_earlier_manifest_names_the_command_for_another_directory(
    command: str | None, hint: str
) -> None:
    document = {"manifest_version": 4, "environment": {"command": command}}
    with pytest.raises(StorageError) as caught:
        Manifest.from_json(json.dumps(document), name="runs/x/manifest.json")
    assert caught.value.message == (
        "runs/x/manifest.json: expected a manifest of version 6, got version 4 of an earlier "
        "bitloss"
    )
    assert caught.value.hint == f"score again in a new directory: {hint}"


@pytest.mark.parametrize("name", ["manifest.json", "unfinished.json"])
@pytest.mark.parametrize("version", [1, 4, 7])
def test_directory_of_another_layout_is_not_scored_into(
    tmp_path: Path, name: str, version: int
) -> None:
    (tmp_path / name).write_text(json.dumps({"manifest_version": version}))
    with pytest.raises(StorageError, match=f"{name}: expected .* 6, got version {version}"):
        refuse_other_layout(tmp_path)
    assert not can_be_reported(tmp_path)


def test_other_directories_are_scored_into(tmp_path: Path) -> None:
    refuse_other_layout(tmp_path / "absent")
    assert not can_be_reported(tmp_path / "absent")
    for text in ("{", "[]", "{}", example().to_json()):
        (tmp_path / "manifest.json").write_text(text)
        refuse_other_layout(tmp_path)
    assert can_be_reported(tmp_path)


CHANGES: list[Callable[[Manifest], Any]] = [
    lambda manifest: setattr(manifest, "missing", ()),
    lambda manifest: setattr(manifest.reference, "name", "x"),
    lambda manifest: setattr(manifest.tasks["sums"], "metrics", ()),
]


@pytest.mark.parametrize("change", CHANGES)
def test_manifests_cannot_be_changed(change: Callable[[Manifest], Any]) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        change(example())


def test_numbers_that_json_lacks_are_not_written() -> None:
    task = TaskEntry(**{**TASK, "chance": math.nan}, questions="q", items={"org/model": "r"})
    with pytest.raises(ValueError, match="not JSON compliant"):
        make_manifest(corpora={}, tasks={"sums": task}).to_json()
