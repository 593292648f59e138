"""Oracles: folders that the library `datasets` saves, and files written by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitloss.datasets import load_corpus
from bitloss.errors import CorpusError
from bitloss.types import Corpus


def load(path: Path, column: str = "") -> Corpus:
    return load_corpus(f"{path}::{column}" if column else str(path), data=None)


def test_a_saved_data_set(tmp_path: Path) -> None:
    import datasets

    rows = [f"row {number}" for number in range(10)]
    data = datasets.Dataset.from_dict({"id": list(range(10)), "text": rows})
    data.save_to_disk(tmp_path / "d", num_shards=3)
    corpus = load(tmp_path / "d")
    assert (corpus.rows, corpus.name, corpus.notes) == (tuple(rows), "d", ())
    # A selection is written out as it is.
    data.select([7, 2]).save_to_disk(tmp_path / "s")
    assert load(tmp_path / "s").rows == ("row 7", "row 2")
    (tmp_path / "d" / "data-00001-of-00003.arrow").unlink()
    with pytest.raises(CorpusError, match=r"lacks data-00001-of-00003.arrow"):
        load(tmp_path / "d")


def test_several_splits_are_named(tmp_path: Path) -> None:
    import datasets

    one, two = (datasets.Dataset.from_dict({"body": [text]}) for text in ("one", "two"))
    datasets.DatasetDict({"train": one, "test": two}).save_to_disk(tmp_path / "d")
    with pytest.raises(CorpusError, match="got the splits train, test") as caught:
        load(tmp_path / "d")
    assert caught.value.hint == f"name the folder of a split: {tmp_path / 'd' / 'test'}"
    assert load(tmp_path / "d" / "test").rows == ("two",)
    assert load(tmp_path / "d" / "test", "body").name == "test::body"
    datasets.DatasetDict({"test": two}).save_to_disk(tmp_path / "e")
    assert load(tmp_path / "e").rows == ("two",)


def test_rows_chosen_by_an_index_are_not_taken_for_all(tmp_path: Path) -> None:
    """Old versions of the library kept the index of a selection beside the whole table."""
    import datasets

    datasets.Dataset.from_dict({"text": ["one"]}).save_to_disk(tmp_path / "d")
    state = json.loads((tmp_path / "d" / "state.json").read_text())
    state["_indices_data_files"] = [{"filename": "indices.arrow"}]
    (tmp_path / "d" / "state.json").write_text(json.dumps(state))
    with pytest.raises(CorpusError, match="a selection of rows"):
        load(tmp_path / "d")


def test_text_files_are_documents_in_the_order_of_their_paths(tmp_path: Path) -> None:
    for name, text in {
        "b/2.md": "two", "a.txt": "\ufeffone", "b/3.txt.gz": "", "README.md": "about it",
        "LICENSE": "free", ".hidden.txt": "hidden", "b/plot.png": "PNG",
    }.items():  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    import gzip

    (tmp_path / "b/3.txt.gz").write_bytes(gzip.compress(b"three"))
    corpus = load(tmp_path)
    assert corpus.rows == corpus.documents == ("one", "two", "three")
    assert corpus.raw == "one\n\ntwo\n\nthree"
    assert corpus.notes == ("files left out: LICENSE, README.md, b/plot.png",)
    with pytest.raises(CorpusError, match="expected a table for column"):
        load(tmp_path, "text")


def test_tables_of_one_split_are_read_in_order(tmp_path: Path) -> None:
    for number in range(3):
        name = f"train-{number:05d}-of-00003.parquet"
        pq.write_table(pa.table({"text": [f"row {number}"]}), tmp_path / name)
    assert load(tmp_path).rows == ("row 0", "row 1", "row 2")
    pq.write_table(pa.table({"text": ["other"]}), tmp_path / "test-00000-of-00001.parquet")
    with pytest.raises(CorpusError, match="got 2 tables: test, train"):
        load(tmp_path)
    (tmp_path / "test-00000-of-00001.parquet").unlink()
    (tmp_path / "train-00001-of-00003.parquet").unlink()
    with pytest.raises(CorpusError, match=r"expected 3 parts of `train` in .*, got 2"):
        load(tmp_path)


def test_a_folder_that_could_mean_several_things_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="got none"):
        load(tmp_path)
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "a.jsonl").write_text('{"text": "one"}')
    with pytest.raises(CorpusError, match=r"got 1 text files and 1 \.jsonl files"):
        load(tmp_path)


def test_parts_with_their_text_in_different_columns_are_refused(tmp_path: Path) -> None:
    (tmp_path / "t-00000-of-00002.jsonl").write_text('{"text": "one"}')
    (tmp_path / "t-00001-of-00002.jsonl").write_text('{"body": "two"}')
    with pytest.raises(CorpusError, match=r"expected the text in column `text` of .*, got `body`"):
        load(tmp_path)
