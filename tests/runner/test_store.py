"""Oracle: what a reader of the directory finds, whatever happened to the writer."""

from __future__ import annotations

import errno

import numpy as np
import pytest
import torch

from bitloss.errors import StorageError
from bitloss.results.manifest import Manifest, TaskEntry
from bitloss.runner import RunStore
from example_store import TASK, make_manifest


@pytest.fixture
def store(tmp_path):
    """A run directory that a run has begun in."""
    store = RunStore(tmp_path / "run")
    with store.locked():
        return store


def test_a_directory_is_made_by_the_first_that_writes(tmp_path):
    store = RunStore(tmp_path / "run")
    assert not store.has_records("a")
    assert not store.has_states("a")
    store.drop_states("a")
    assert not store.root.exists()
    store.write_records("a", {"nll": np.zeros(3)})
    assert store.has_records("a")
    other = RunStore(tmp_path / "states")
    other.write_states("a", torch.zeros(3))
    assert other.has_states("a")


def test_records_come_back_joined_in_the_order_asked_for(store):
    store.write_records("a", {"nll": np.array([1.0, 2.0], dtype=np.float32)})
    store.write_records("b", {"nll": np.array([3.0], dtype=np.float32)})
    assert store.read_records(["b", "a"], ("nll",))["nll"].tolist() == [3.0, 1.0, 2.0]


def test_states_come_back_to_the_bit(store):
    states = torch.randn(5, 4, dtype=torch.bfloat16)
    store.write_states("s", states)
    assert torch.equal(store.read_states("s"), states)
    store.drop_states("s")
    assert not store.has_states("s")


def test_equal_records_are_equal_bytes(store):
    columns = {"nll": np.linspace(0, 1, 1000, dtype=np.float32)}
    store.write_records("a", columns)
    store.write_records("b", columns)
    files = [store.root / "records" / f"{name}.parquet" for name in "ab"]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_writer_that_fails_leaves_nothing(store, monkeypatch):
    def full(*args, **kwargs):
        args[1].write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyarrow.parquet.write_table", full)
    with pytest.raises(StorageError) as caught:
        store.write_records("a", {"nll": np.zeros(3)})
    assert "free some space" in caught.value.hint
    assert not store.has_records("a")
    assert list((store.root / "records").iterdir()) == []


def test_what_a_killed_writer_left_is_cleared(store):
    left = store.root / "states" / ".tmp-left"
    left.write_bytes(b"half")
    with store.locked():
        assert not left.exists()


def test_two_processes_do_not_share_a_directory(store):
    with store.locked(), pytest.raises(StorageError, match="another process"):  # noqa: SIM117
        with RunStore(store.root).locked():
            pass


def test_a_damaged_record_is_named(store):
    store.write_records("a", {"nll": np.zeros(3)})
    path = store.root / "records" / "a.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StorageError, match=r"a\.parquet: damaged"):
        store.read_records(["a"], ("nll",))


@pytest.mark.parametrize(
    ("name", "values", "words"),
    [
        ("nll", ["a", "b"], "column `nll`: expected numbers, got string"),
        ("nll", [1.0, None], "column `nll`: expected numbers, got double, 1 of them null"),
        ("answer", [1.0, 2.0], "column `answer`: expected text, got double"),
    ],
)
def test_columns_of_another_kind_are_damage(store, name, values, words):
    store.write_records("a", {name: values})
    with pytest.raises(StorageError, match=words):
        store.read_records(["a"], ("answer" if name == "answer" else "nll",))


def test_a_record_without_a_column_is_of_an_older_version(store):
    store.write_records("a", {"nll": np.zeros(3)})
    with pytest.raises(StorageError, match=r"older version of bitloss, which kept no `loops`") as e:
        store.read_records(["a"], ("nll", "loops"))
    assert e.value.hint.startswith("score again: ")


def test_an_unfinished_run_says_so(store):
    with pytest.raises(StorageError, match="not a finished run"):
        store.read_manifest()


def test_a_directory_that_cannot_be_made_is_an_error_with_a_hint(tmp_path):
    (tmp_path / "file").write_text("")
    store = RunStore(tmp_path / "file" / "run")
    with pytest.raises(StorageError) as locking, store.locked():
        pass
    with pytest.raises(StorageError) as writing:
        store.write_records("a", {"nll": np.zeros(3)})
    for caught in (locking, writing):
        assert "--out" in caught.value.hint


def test_columns_of_a_record_can_be_asked_for(store):
    store.write_records("a", {"item": ["x"], "answer": ["7"]})
    assert store.record_columns("a") == {"item", "answer"}
    (store.root / "records" / "a.parquet").write_bytes(b"PAR1")
    for name in "ab":
        with pytest.raises(StorageError, match=f"{name}.parquet"):
            store.record_columns(name)


def test_manifest_comes_back_in_its_order(store):
    manifest = example_manifest()
    store.write_manifest(manifest)
    assert store.read_manifest() == manifest
    assert list(store.read_manifest().tasks) == ["mmlu", "arc"]


@pytest.mark.parametrize("fault", ["cut", "exchanged"])
def test_records_that_are_not_what_the_run_wrote_are_noticed(store, fault):
    store.write_records("a", {"nll": np.arange(3.0)})
    store.write_records("q", {"nll": np.arange(2.0)})
    store.write_manifest(example_manifest())
    store.require_unchanged()
    assert set(store.read_manifest().digests) == {"a", "q"}
    if fault == "cut":  # a whole file, by another program's hand
        store.write_records("a", {"nll": np.arange(2.0)})
    else:
        (store.root / "records" / "a.parquet").write_bytes(
            (store.root / "records" / "q.parquet").read_bytes()
        )
    for look in (store.read_manifest, store.require_unchanged):
        with pytest.raises(StorageError, match=r"a.parquet: not the record that the run wrote"):
            look()
    (store.root / "records" / "a.parquet").unlink()
    store.require_unchanged()  # it will be made again


def test_what_is_unfinished_goes_when_the_manifest_comes(store):
    manifest = example_manifest()
    so_far = manifest.model_copy(update={"tasks": {}, "missing": ("mmlu: not scored yet",)})
    store.write_unfinished(so_far)
    assert store.read_unfinished() == so_far
    store.write_manifest(manifest)
    assert store.read_manifest() == manifest
    with pytest.raises(StorageError, match="not a finished run"):
        store.read_unfinished()


def example_manifest() -> Manifest:
    task = TaskEntry(**TASK, questions="q", items={"org/model": "a"})
    return make_manifest(variants=(), corpora={}, tasks={"mmlu": task, "arc": task})
