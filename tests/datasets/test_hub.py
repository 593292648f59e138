"""Oracle: what was put into the library `datasets`, and what it raises."""

from __future__ import annotations

import pytest

from bitloss.datasets.hub import hub_rows, hub_table
from bitloss.datasets.tables import HubTable
from bitloss.errors import HubError, MissingDependency

TABLE = HubTable("owner/set", None, "test")


def answer(monkeypatch: pytest.MonkeyPatch, result: object) -> list[object]:
    import datasets

    asked: list[object] = []

    def load_dataset(*arguments: object, **options: object) -> object:
        asked.append((arguments, options))
        if isinstance(result, Exception):
            raise result
        return result

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return asked


def test_all_columns_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    rows = [{"q": "a", "choices": ["x", "y"]}, {"q": "b", "choices": ["z"]}]
    asked = answer(monkeypatch, datasets.Dataset.from_list(rows))
    table = hub_table(TABLE, expected="set/test.jsonl", columns=("q", "choices"))
    assert asked == [(("owner/set", None), {"split": "test", "streaming": False})]
    assert table.rows == tuple(rows)
    assert (table.source, table.from_hub) == ("hub: owner/set, test", True)
    with pytest.raises(HubError, match=r"expected columns q, a in `owner/set` \(test\), got q, ch"):
        hub_table(TABLE, expected="set/test.jsonl", columns=("q", "a"))


def test_text_is_streamed_where_only_its_beginning_is_wanted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import datasets

    asked = answer(monkeypatch, datasets.Dataset.from_dict({"text": ["a", "b", "c"]}))
    assert hub_rows(HubTable("owner/set", "c", "train"), first=2, expected_file="f") == ["a", "b"]
    assert asked == [(("owner/set", "c"), {"split": "train", "streaming": True})]


@pytest.mark.parametrize(
    "fault",
    [
        ConnectionError("offline"),
        ValueError("BuilderConfig not found"),
        RuntimeError("Dataset scripts are no longer supported, but found set.py"),
    ],
)
def test_what_the_library_raises_names_the_local_file(
    fault: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, fault)
    with pytest.raises(HubError, match=r"cannot get `owner/set` \(test\) from the hub") as caught:
        hub_table(TABLE, expected="set/test.jsonl")
    assert "give a folder with set/test.jsonl: --data DIR or BITLOSS_DATA=DIR" in caught.value.hint


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingDependency, match=r"bitloss\[hub\]"):
        hub_table(TABLE, expected="f")
