"""Oracle: Python's own codecs wrote the bytes, so their names are known."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from bitloss.datasets import load_corpus
from bitloss.datasets.opening import text_lines
from bitloss.datasets.tables import read_csv, read_jsonl
from bitloss.errors import BitlossError, CorpusError, TaskDataError

CHINESE = "今天天气很好，我们一起去公园散步。孩子们在草地上玩耍，老人们在树下聊天。\n" * 20
JAPANESE = "今日はとても天気がいいので、公園へ散歩に行きました。こどもたちがあそんでいます。\n" * 20
KOREAN = "오늘은 날씨가 아주 좋아서 우리는 공원으로 산책을 갔습니다. 아이들이 놀고 있어요.\n" * 20
RUSSIAN = "Сегодня хорошая погода, и мы пошли гулять в парк.\n" * 20
FRENCH = "Le café est fermé aujourd'hui, mais la fenêtre reste ouverte.\n" * 20
ENGLISH = "The cafe is closed today, but the window stays open.\n" * 20

CASES = [
    (ENGLISH.encode("utf-16"), "UTF-16 in", "iconv -f UTF-16 -t UTF-8"),
    (ENGLISH.encode("utf-16-le"), "UTF-16 without a byte order mark", "-f UTF-16LE"),
    (ENGLISH.encode("utf-16-be"), "UTF-16 without a byte order mark", "-f UTF-16BE"),
    (CHINESE.encode("utf-16-le"), "UTF-16 without a byte order mark", "-f UTF-16LE"),
    (ENGLISH.encode("utf-32"), "UTF-32 in", "-f UTF-32 "),
    (ENGLISH.encode("utf-32-be"), "UTF-32 without a byte order mark", "-f UTF-32BE"),
    (CHINESE.encode("utf-32-le"), "UTF-32 without a byte order mark", "-f UTF-32LE"),
    (CHINESE.encode("gbk"), "GBK/GB18030", "-f GB18030"),
    (("id,question\n" + CHINESE).encode("gb18030"), "GBK/GB18030", "-f GB18030"),
    ("今天天氣很好，我們一起去公園散步。\n".encode("big5") * 20, "Big5", "-f BIG5"),
    (JAPANESE.encode("shift_jis"), "Shift-JIS", "-f CP932"),
    (JAPANESE.encode("euc_jp"), "EUC-JP", "-f EUC-JP"),
    (KOREAN.encode("euc_kr"), "EUC-KR", "-f CP949"),
    (RUSSIAN.encode("cp1251"), "another encoding", "-f WINDOWS-1251"),
    (FRENCH.encode("latin-1"), "Latin-1 (byte", "-f ISO-8859-1"),
    ("It\u2019s \u20ac5 for the caf\u00e9.".encode("cp1252"), "Windows-1252", "-f WINDOWS-1252"),
    ((CHINESE * 9).encode() + b"\xff" + CHINESE.encode(), "a broken byte", "iconv -c"),
    (bytes(range(256)) * 9, "binary data", "give a text file"),
    (b"\0" * 500, "binary data", "give a text file"),
    (ENGLISH.encode() + b"\0\0\0", "binary data (byte 0x00", "give a text file"),
    (gzip.compress(b"x", mtime=0), "gzip-compressed", "rename it to end in .gz"),
    (b"PAR1....", "a Parquet file", "rename it to end in .parquet"),
    (b"PK\x03\x04....", "ZIP archive", "unpack it"),
    (b"%PDF-1.7", "a PDF", "pdftotext"),
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS", "git lfs pull"),
]


@pytest.mark.parametrize(("content", "name", "hint"), CASES, ids=[name for _, name, _ in CASES])
def test_what_is_not_utf8_is_refused_by_its_name(
    tmp_path: Path, content: bytes, name: str, hint: str
) -> None:
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(CorpusError) as caught:
        load_corpus(str(tmp_path / "a.txt"), data=None)
    assert f"expected UTF-8 text, got {name}" in caught.value.message or (
        name in caught.value.message
    )
    assert hint in caught.value.hint


@pytest.mark.parametrize("suffix", [".jsonl", ".json", ".csv", ".tsv", ".txt.gz"])
def test_whatever_the_kind_of_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    content = f'{{"text": "{CHINESE[:30]}"}}\n'.encode("gbk")
    path.write_bytes(gzip.compress(content) if suffix.endswith(".gz") else content)
    with pytest.raises(CorpusError, match="got GBK/GB18030") as caught:
        load_corpus(str(path), data=None)
    assert ("gzip -dc" in caught.value.hint) is suffix.endswith(".gz")


def test_the_command_converts(tmp_path: Path) -> None:
    """Oracle: iconv itself, run as the hint says."""
    import shutil
    import subprocess

    if shutil.which("iconv") is None:
        pytest.skip("needs iconv")
    path = tmp_path / "a b.txt"
    path.write_bytes(CHINESE.encode("gb18030"))
    with pytest.raises(CorpusError) as caught:
        load_corpus(str(path), data=None)
    command = caught.value.hint.removeprefix("convert it: ")
    subprocess.run(["sh", "-c", command], check=True)
    assert load_corpus(str(tmp_path / "a b.utf8.txt"), data=None).raw == CHINESE


def test_tables_of_tasks_are_refused_alike(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(f"question\n{CHINESE}".encode("gbk"))
    with pytest.raises(TaskDataError, match=r"got GBK/GB18030 \(byte 0x\w\w at offset 9 of"):
        read_csv(tmp_path / "a.csv", ("question",), header=True)
    (tmp_path / "a.jsonl").write_bytes('{"x": 1}\n'.encode("utf-16"))
    with pytest.raises(TaskDataError, match="got UTF-16 in"):
        read_jsonl(tmp_path / "a.jsonl", ["x"])


def test_lines_end_at_newlines_only_and_know_their_offset(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes("\ufeffeins\r\nzwei\u2028drei\n\nvier".encode())
    expected = [(1, "eins\r\n"), (2, "zwei\u2028drei\n"), (3, "\n"), (4, "vier")]
    assert list(text_lines(path, CorpusError)) == expected
    path.write_bytes(b"abc\nd\xe9f\n")
    with pytest.raises(BitlossError, match=r"Latin-1 \(byte 0xe9 at offset 5"):
        list(text_lines(path, CorpusError))
