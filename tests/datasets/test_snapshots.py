"""Oracles: the layouts of the hub's repositories, and the library `datasets`, which reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bitloss.datasets import load_corpus
from bitloss.datasets.snapshots import find_snapshot, local_or_hub_table
from bitloss.datasets.tables import HubTable, table_from_rows
from bitloss.errors import CorpusError, TaskDataError

ROWS = [{"q": "a", "choices": ["x", "y"], "answer": 1}, {"q": "b", "choices": ["z"], "answer": 0}]
TABLE = HubTable("owner/set", "c", "test")
PLAIN = HubTable("owner/set", None, "test")
README = """---
license: mit
configs:
- config_name: c
  default: true
  data_files:
  - split: train
    path: other/train.jsonl
  - split: test
    path:
    - files/part*.jsonl
---
# A data set
"""


def save(path: Path, rows: Sequence[dict[str, Any]] = ROWS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path)
    return path


@pytest.mark.parametrize(
    "root",
    ["owner/set", "set", "owner--set", "task", "datasets/owner/set",
     "datasets--owner--set/snapshots/0123", "hub/datasets--owner--set/snapshots/0123"],
)  # fmt: skip
@pytest.mark.parametrize(
    ("table", "file"),
    [
        (TABLE, "c/test-00000-of-00001.parquet"),
        (TABLE, "c/test/0000.parquet"),
        (TABLE, "data/c/test-00000-of-00001.parquet"),
        (PLAIN, "data/test-00000-of-00001.parquet"),
        (PLAIN, "data/test-00000-of-00001-d0a6f5d3c1b2e497.parquet"),
        (PLAIN, "only_config/test-00000-of-00001.parquet"),
        (PLAIN, "test.parquet"),
        (PLAIN, "data/name_test.parquet"),
        (PLAIN, "name-test-00000-of-00001.parquet"),
        (PLAIN, "default/test/0000.parquet"),
    ],
)
def test_the_hubs_layouts(tmp_path: Path, root: str, table: HubTable, file: str) -> None:
    path = save(tmp_path / root / file)
    save(tmp_path / root / file.replace("test", "train"), ROWS[:1])
    found = local_or_hub_table(
        tmp_path, table, expected="x", columns=("q", "answer"), folders=("task",)
    )
    assert found == table_from_rows(ROWS, str(path))


def test_parts_are_read_in_order_and_all_of_them(tmp_path: Path) -> None:
    for number, row in enumerate(ROWS):
        save(tmp_path / "set" / "c" / f"test-{number:05d}-of-00002.parquet", [row])
    found = local_or_hub_table(tmp_path, TABLE, expected="x")
    assert (list(found.rows), found.source) == (ROWS, str(tmp_path / "set" / "c"))
    (tmp_path / "set" / "c" / "test-00000-of-00002.parquet").unlink()
    with pytest.raises(CorpusError, match=r"expected 2 parts of `test` in .*, got 1"):
        local_or_hub_table(tmp_path, TABLE, expected="x")


def test_the_main_branch_of_the_cache_comes_first(tmp_path: Path) -> None:
    cache = tmp_path / "datasets--owner--set"
    for revision, rows in (("aaa", ROWS[:1]), ("bbb", ROWS)):
        save(cache / "snapshots" / revision / "c" / "test-00000-of-00001.parquet", rows)
    (cache / "refs").mkdir()
    (cache / "refs" / "main").write_text("bbb")
    assert len(local_or_hub_table(tmp_path, TABLE, expected="x").rows) == 2


@pytest.mark.parametrize("table", [TABLE, PLAIN])
def test_the_readme_says_which_files_a_split_is_in(tmp_path: Path, table: HubTable) -> None:
    import json

    root = tmp_path / "set"
    (root / "files").mkdir(parents=True)
    (root / "README.md").write_text(README)
    for number, row in enumerate(ROWS):
        (root / "files" / f"part{number}.jsonl").write_text(json.dumps(row) + "\n")
    save(root / "c" / "test-00000-of-00001.parquet", ROWS[:1])
    assert list(local_or_hub_table(tmp_path, table, expected="x").rows) == ROWS


@pytest.mark.parametrize(
    "head",
    ["configs: 3", "configs: [", "configs: [{data_files: [{split: test, path: ../../*}]}]",
     "a: &a [x]\nb: [*a, *a]\nconfigs: *b"],
)  # fmt: skip
def test_a_readme_that_says_nothing_useful_is_passed_over(tmp_path: Path, head: str) -> None:
    save(tmp_path / "set" / "c" / "test-00000-of-00001.parquet")
    (tmp_path / "set" / "README.md").write_text(f"---\n{head}\n---\n")
    assert len(local_or_hub_table(tmp_path, TABLE, expected="x").rows) == 2


def test_the_folder_that_is_named_may_be_the_repository(tmp_path: Path) -> None:
    path = save(tmp_path / "set" / "c" / "test-00000-of-00001.parquet")
    assert find_snapshot(tmp_path / "set", TABLE) == (path,)
    assert find_snapshot(path.parent, TABLE) == ()


def test_what_the_library_saved(tmp_path: Path) -> None:
    import datasets

    saved = datasets.DatasetDict({"test": datasets.Dataset.from_list(ROWS)})
    saved.save_to_disk(tmp_path / "set" / "c")
    assert list(local_or_hub_table(tmp_path, TABLE, expected="x").rows) == ROWS
    saved.save_to_disk(tmp_path / "plain" / "set")
    assert list(local_or_hub_table(tmp_path / "plain", PLAIN, expected="x").rows) == ROWS


def test_another_configuration_or_split_is_not_taken(tmp_path: Path) -> None:
    save(tmp_path / "set" / "other" / "test-00000-of-00001.parquet")
    save(tmp_path / "set" / "c" / "validation-00000-of-00001.parquet")
    save(tmp_path / "set" / "c" / "test_extra-00000-of-00001.parquet")
    with pytest.raises(TaskDataError, match=r"has no set/test\.jsonl") as caught:
        local_or_hub_table(tmp_path, TABLE, expected="set/test.jsonl")
    assert "hf download owner/set --repo-type dataset --local-dir" in caught.value.hint
    # Two configurations, and nothing says which is meant.
    save(tmp_path / "set" / "second" / "test-00000-of-00001.parquet")
    assert find_snapshot(tmp_path, PLAIN) == ()


def test_a_table_of_other_columns_is_an_error(tmp_path: Path) -> None:
    path = save(tmp_path / "set" / "c" / "test-00000-of-00001.parquet")
    with pytest.raises(TaskDataError, match=r"expected columns q, label in .*, got q, choices"):
        local_or_hub_table(tmp_path, TABLE, expected="x", columns=("q", "label"))
    path.write_bytes(b"PAR1")
    with pytest.raises(TaskDataError, match="cannot read"):
        local_or_hub_table(tmp_path, TABLE, expected="x")


def test_one_file_without_a_split_is_the_training_split(tmp_path: Path) -> None:
    """Oracle: the hub's own rule (datasets/data_files.py, DEFAULT_PATTERNS_ALL)."""
    train = HubTable("owner/set", None, "train")
    path = save(tmp_path / "set" / "input_data.parquet")
    assert find_snapshot(tmp_path, train) == (path,)
    assert find_snapshot(tmp_path, PLAIN) == ()
    save(tmp_path / "set" / "more.parquet")
    assert find_snapshot(tmp_path, train) == ()


def test_texts_of_the_hub(tmp_path: Path) -> None:
    """Oracle: the rows of the loader, of which a blank line is an empty one."""
    rows = [{"text": text} for text in ("", " = A = \n", "", " text \n")]
    folder = "Salesforce/wikitext/wikitext-2-raw-v1"
    save(tmp_path / folder / "test-00000-of-00001.parquet", rows)
    corpus = load_corpus("wikitext-2", data=tmp_path)
    assert corpus.raw == " \n = A = \n \n text \n"
    assert corpus.rows == ("", " = A = \n", "", " text \n")
    save(tmp_path / folder / "train-00000-of-00001.parquet", rows)
    assert load_corpus("wiki", data=tmp_path).raw == corpus.raw
    import gzip
    import json

    c4 = tmp_path / "c4" / "en" / "c4-validation.00000-of-00008.json.gz"
    c4.parent.mkdir(parents=True)
    lines = "".join(json.dumps({"text": f"page {n}", "url": "u"}) + "\n" for n in range(700))
    c4.write_bytes(gzip.compress(lines.encode()))
    web = load_corpus("web", data=tmp_path)
    assert (len(web.rows), web.rows[-1]) == (640, "page 639")
