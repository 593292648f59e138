"""Reports as Markdown, records as CSV. Oracles: the records themselves, csv and gzip."""

from __future__ import annotations

import csv
import gzip
import math
import re
from pathlib import Path

import numpy as np
import pytest

from bitloss.errors import StorageError
from bitloss.reports.markdown import fenced, markdown, write_markdown
from bitloss.reports.records_csv import TOKEN_COLUMNS, item_columns, write_csv
from bitloss.results import Comparison
from bitloss.results.manifest import ExactRecords, Manifest
from bitloss.runner import RunStore
from bitloss.tables.markdown import escaped, markdown_table
from bitloss.tables.text_table import TextTable
from bitloss.types import TokenRecords
from example_store import write_run


@pytest.fixture
def run(tmp_path: Path) -> tuple[RunStore, Manifest]:
    write_run(tmp_path / "run")
    store = RunStore(tmp_path / "run")
    return store, store.read_manifest()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_tokens_are_the_records(run: tuple[RunStore, Manifest], tmp_path: Path) -> None:
    paths = write_csv(*run, tmp_path / "csv")
    assert [path.name for path in paths] == ["tokens.csv", "items.csv"]
    found = rows(paths[0])
    assert tuple(found[0]) == TOKEN_COLUMNS
    assert [row["model"] for row in found[::384]] == ["org/model", "gptq-4", "q8.gguf"]
    kept = run[0].read_token_records(["gptq-4-a", "gptq-4-b"])
    own = found[384:768]
    assert [int(row["token"]) for row in own] == list(range(384))
    for name in TokenRecords.__slots__:
        values = getattr(kept, name)
        if name == "same_top1":
            assert [row[name] for row in own] == ["true" if value else "false" for value in values]
        else:
            assert np.array_equal(np.array([row[name] for row in own]).astype(values.dtype), values)
    first = found[0]
    assert float(first["nll"]) == pytest.approx(float(kept.reference_nll[0]))
    assert (first["reference_nll"], first["kl_divergence"]) == ("", "")


def test_items_are_the_records(run: tuple[RunStore, Manifest], tmp_path: Path) -> None:
    found = rows(write_csv(*run, tmp_path / "csv")[1])
    assert tuple(found[0]) == item_columns(run[1])
    assert [row["model"] for row in found[::6]] == ["org/model", "gptq-4", "q8.gguf"]
    own = found[6:12]
    assert [row["detail"] for row in own] == ["7", 'a "quoted", cell', "line\nbreak", "", "é", "0"]
    assert [row["score:acc"] for row in own] == ["1.0"] * 4 + ["0.0"] * 2
    assert [row["gold_kl"] or math.nan for row in own][4] is math.nan
    assert float(own[5]["gold_kl"]) == pytest.approx(0.1)


def test_rows_of_exact_arithmetic_stand_by_themselves(
    run: tuple[RunStore, Manifest], tmp_path: Path
) -> None:
    store, manifest = run
    corpus = manifest.corpora["wikitext-2"]
    exact = ExactRecords(dtype="fp32", n_windows=12, records=("gptq-4-a",))
    scored = corpus.variants["gptq-4"].model_copy(update={"exact": exact})
    changed = {"dtype": "bf16", "variants": {**corpus.variants, "gptq-4": scored}}
    manifest = manifest.model_copy(
        update={"corpora": {"wikitext-2": corpus.model_copy(update=changed)}}
    )
    found = [
        row for row in rows(write_csv(store, manifest, tmp_path)[0]) if row["model"] == "gptq-4"
    ]
    assert [row["dtype"] for row in found] == ["bf16"] * 384 + ["fp32"] * 192


def test_compressed_is_the_same_text_and_the_same_bytes(
    run: tuple[RunStore, Manifest], tmp_path: Path
) -> None:
    plain = write_csv(*run, tmp_path / "csv")
    packed = write_csv(*run, tmp_path / "a", compressed=True)
    again = write_csv(*run, tmp_path / "b", compressed=True)
    assert [path.name for path in packed] == ["tokens.csv.gz", "items.csv.gz"]
    for one, two, three in zip(plain, packed, again, strict=True):
        assert gzip.decompress(two.read_bytes()) == one.read_bytes()
        assert two.read_bytes() == three.read_bytes()


def test_damaged_record_leaves_no_file(run: tuple[RunStore, Manifest], tmp_path: Path) -> None:
    (tmp_path / "run" / "records" / "q8.gguf-b.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(StorageError, match=r"q8\.gguf-b\.parquet"):
        write_csv(*run, tmp_path / "csv")
    assert list((tmp_path / "csv").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_csv(*run, tmp_path / "file")


def test_report_has_answer_tables_failures_and_method(comparison: Comparison) -> None:
    text = markdown(comparison, {"a.png": "What it shows"})
    assert text.startswith("# org/model: what quantization cost\n")
    assert "## wikitext-2: strided (max_length 32, stride 16), 384 of 1,600 tokens, bf16" in text
    assert "![What it shows](a.png)" in text
    assert "- awq-4: expected rows divisible by 128, got 172 (use gptq-4)" in text
    assert "$ bitloss compare org/model gptq-4 ./model-q8_0.gguf awq-4" in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1


def test_report_without_charts(tmp_path: Path, comparison: Comparison) -> None:
    path = write_markdown(comparison, None, tmp_path / "report")
    assert [file.name for file in path.parent.iterdir()] == ["report.md"]
    assert path.read_text(encoding="utf-8") == markdown(comparison)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write"):
        write_markdown(comparison, None, tmp_path / "file")


def test_report_with_charts(tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    details = pytest.importorskip("bitloss.reports.details")
    result = write_run(tmp_path / "run")
    store = RunStore(tmp_path / "run")
    path = write_markdown(
        result, details.read_details(store, store.read_manifest()), tmp_path / "report"
    )
    shown = re.findall(r"^!\[.+\]\((.+)\)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert "divergence-quantiles-wikitext-2.png" in shown
    assert {file.name for file in path.parent.iterdir()} == {"report.md", *shown}
    assert all((path.parent / name).read_bytes().startswith(b"\x89PNG") for name in shown)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("gguf-q4_k_m <= 2 [0.9, 1.0] & 5 %", "gguf-q4_k_m <= 2 [0.9, 1.0] & 5 %"),
        ("_a_ *b* `c` d|e \\", "\\_a\\_ \\*b\\* `c` d\\|e \\\\"),
        # Names between backticks are code; what is no pair, or would end a cell, is text.
        ("`_a_` and `b", "`_a_` and \\`b"),
        ("`a|b` ``c``", "\\`a\\|b\\` \\`\\`c\\`\\`"),
        ("<b> </b> <!--x--> &amp;", "\\<b> \\</b> \\<!--x--> \\&amp;"),
        ("[a](http://b) [a]: b", "[a\\](http://b) [a\\]: b"),
        ("a\nb\r\n\tc\x1b[0m", "a b c [0m"),
    ],
)
def test_escaped(text: str, shown: str) -> None:
    assert escaped(text) == shown


def test_table() -> None:
    table = TextTable(
        title="t", columns={"model": "model", "n": "n|m"}, rows=({"model": "a", "n": "1"}, {}),
        notes=("why",),
    )  # fmt: skip
    assert markdown_table(table) == (
        "| model | n\\|m |\n| --- | ---: |\n| a | 1 |\n|  |  |\n\n- why\n"
    )


def test_fence_is_longer_than_any_in_the_text() -> None:
    assert fenced("a") == "```\na\n```"
    assert fenced("````") == "`````\n````\n`````"
