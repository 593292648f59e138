"""YAML files, texts, tables and run directories with something wrong in them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from campaigns.forks import Trial, anything, succeeds
from campaigns.mutations import (
    JSON_VALUES,
    LONG,
    YAML_VALUES,
    broken_bytes,
    json_places,
    replaced_json,
)

__all__ = ["files"]

_BOMB = "".join(
    f"{name}: &{name} [{','.join([f'*{below}' if below else 'x'] * 9)}]\n"
    for below, name in zip(("", *"abcdefgh"), "abcdefghi", strict=True)
)
_RUN_FILES = ("manifest.json", "comparison.json")
_SCORE = ["--max-length", "64", "--stride", "64", "--limit", "2", "--out", "run", "-q"]


def files(dice: random.Random, scale: int) -> Iterator[Trial]:
    """Trials, some hundred for each unit of `scale`."""
    yield from (_yaml_trial(kind, "valid", str, after=succeeds) for kind in _KINDS)
    yield from (_table(f"valid: {file}", file, bytes, after=succeeds) for file in _TABLES)
    yield from _yaml(dice, 75 * scale)
    yield from _tables(dice, 75 * scale)
    yield from _runs(dice, 60 * scale)


# YAML -------------------------------------------------------------------------------------


def _words(kind: str, folder: Path, seeds: Path) -> list[str]:
    """The command that reads a kind of YAML file."""
    model = str(seeds / "model")
    if kind == "task":
        return ["compare", model, str(seeds / "noisy"), "--tasks", "./task.yaml", *_SCORE]
    if kind == "suite":
        return ["compare", model, str(seeds / "noisy"), "--suite", "./suite.yaml", *_SCORE]
    if kind == "expectations":
        return ["report", str(seeds / "run"), "--out", "page.html", "--expectations",
                "expectations.yaml"]  # fmt: skip
    if kind == "thresholds":
        return ["check", str(seeds / "run"), "--thresholds", "thresholds.yaml"]
    return ["card", str(seeds / "run"), "--update", "README.md"]


def _yaml_trial(
    kind: str,
    name: str,
    change: Callable[[str], str | bytes],
    after: Callable[[int, Path], str] = anything,
) -> Trial:
    file = "README.md" if kind == "readme" else f"{kind}.yaml"

    def prepare(folder: Path, seeds: Path) -> list[str]:
        for other in ("rows.jsonl", "text.txt", "task.yaml"):
            shutil.copy(seeds / other, folder)
        text = change((seeds / file).read_text())
        data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
        (folder / file).write_bytes(data)
        return _words(kind, folder, seeds)

    return Trial(f"yaml: {kind} {name}", prepare, after=after)


_KINDS = ("task", "suite", "expectations", "thresholds", "readme")
_YAML_WHOLE: dict[str, Callable[[str], str | bytes]] = {
    "a bomb": lambda text: f"{_BOMB}{text}",
    "a bomb at the end": lambda text: f"{text}{_BOMB}",
    "a bomb as rows": lambda text: text.replace(
        "data: rows.jsonl", "items:\n - {question: x, options: [a, b], gold: 0, "
        + _BOMB.replace("\n", ", ") + "}"),
    "empty": lambda text: "",
    "a list": lambda text: "[1]",
    "text": lambda text: "hello",
    "NUL": lambda text: text + "\0",
    "UTF-16": lambda text: text.encode("utf-16"),
    "Latin-1": lambda text: text.encode() + b"# \xe9\xff",
    "byte order mark": lambda text: "\ufeff" + text,
    "two documents": lambda text: f"{text}---\n{text}",
    "given twice": lambda text: text + text,
    "a key of 5,000 characters": lambda text: f"{text}{LONG}: 1\n",
    "a surrogate in a key": lambda text: text + '"\\ud800": 1\n',
    "deep": lambda text: text + "x: " + "[" * 20_000,
    "deep and closed": lambda text: text + "x: " + "[" * 5_000 + "]" * 5_000 + "\n",
    "deep keys": lambda text: text + "".join(f"{' ' * n}x:\n" for n in range(2_000)),
    "16 MB": lambda text: text + "x: " + "y" * (16 << 20) + "\n",
    "a million keys": lambda text: text + "".join(f"k{n}: 1\n" for n in range(200_000)),
    "merges": lambda text: text + "a: &a {x: 1}\nb: {<<: [*a, *a], <<: *a}\n",
    "a tag": lambda text: "!!python/object/apply:os.system ['true']",
    "an alias in itself": lambda text: "&a\nname: *a\n",
    "many anchors": lambda text: text + "".join(f"k{n}: &k{n} [*k{n - 1}]\n" if n else
                                                "k0: &k0 [x]\n" for n in range(1500)),
}  # fmt: skip
"""All of a file changed."""


def _yaml(dice: random.Random, count: int) -> Iterator[Trial]:
    whole = [(kind, name) for kind in _KINDS for name in _YAML_WHOLE]
    always = [pair for pair in whole if pair[1] in ("a bomb", "a bomb as rows", "deep and closed")]
    for kind, name in {*always, *dice.sample(whole, min(count // 2, len(whole)))}:
        change = _YAML_WHOLE[name]
        if kind == "readme":
            yield _yaml_trial(kind, name, _in_front_matter(change))
        else:
            yield _yaml_trial(kind, name, change)
    for number in range(count // 2):
        seed = dice.randrange(1 << 30)
        kind = dice.choice(_KINDS)
        yield _yaml_trial(kind, f"value {number} {seed}", _value_change(seed))


def _in_front_matter(change: Callable[[str], str | bytes]) -> Callable[[str], str | bytes]:
    def changed(text: str) -> str | bytes:
        _, head, body = text.split("---\n", 2)
        new = change(head)
        data = new if isinstance(new, bytes) else new.encode("utf-8", "surrogatepass")
        return b"---\n" + data + b"\n---\n" + body.encode()

    return changed


def _value_change(seed: int) -> Callable[[str], str]:
    def changed(text: str) -> str:
        own = random.Random(seed)
        lines = text.splitlines()
        at = own.choice([n for n, line in enumerate(lines) if ":" in line])
        places = [n for n, char in enumerate(lines[at]) if char == ":"]
        place = own.choice(places)
        rest = lines[at][place + 1 :]
        # Up to the next comma or brace, as often as the line's rest.
        stop = min((n for n, char in enumerate(rest) if char in ",}]"), default=len(rest))
        tail = rest[stop:] if own.random() < 0.7 else ""
        lines[at] = f"{lines[at][: place + 1]} {own.choice(YAML_VALUES)}{tail}"
        return "\n".join(lines) + "\n"

    return changed


# Texts and tables -------------------------------------------------------------------------

_TABLES = (
    "corpus.jsonl", "corpus.json", "corpus.csv", "corpus.parquet", "corpus.arrow", "text.txt",
    "text.txt.gz", "rows.jsonl", "rows.jsonl.gz", "rows.csv",
)  # fmt: skip
_TABLE_WHOLE: dict[str, bytes] = {
    "empty": b"",
    "NUL": b"\0" * 1000,
    "white space": b" \n" * 500,
    "deep": b'{"text": ' + b"[" * 100_000 + b"]" * 100_000 + b"}\n",
    "deep and closed": b'{"question": ' + b"[" * 700 + b"]" * 700 + b', "answer": "a"}\n',
    "a surrogate": b'{"question": "\\ud800", "answer": "\\udfff", "text": "a \\ud800"}\n',
    "a surrogate in a key": b'{"\\ud800": "x"}\n',
    "many digits": b'{"question": ' + b"9" * 5000 + b', "answer": 1}\n',
    "NaN": b'{"question": NaN, "answer": Infinity, "text": NaN}\n',
    "a key of 5,000 characters": b'{"' + LONG.encode() + b'": "x"}\n',
    "a million columns": b",".join(b"c%d" % n for n in range(100_000)) + b"\n",
    "one quote": b'"' + b"x" * 200_000,
    "UTF-16": "text,question\nx,y\n".encode("utf-16"),
    "gzip in gzip": b"\x1f\x8b\x08\x00" + b"\0" * 30,
    "a list": b"[1, 2]\n",
    "nulls": b'{"text": null, "question": null, "answer": null}\n' * 3,
    "a long word": b"x" * 300_000,
    "PAR1 twice": b"PAR1" * 5,
    "a list of a million lists": b"[" + b"[]," * 300_000 + b"[]]",
    "carriage returns": b"question,answer\r1,2\r",
    "row counts": b"question,answer\n1\n1,2,3\n",
    "columns of one name": b"question,question,answer\n1,2,3\n",
}


def _tables(dice: random.Random, count: int) -> Iterator[Trial]:
    whole = [(file, name) for file in _TABLES for name in _TABLE_WHOLE]
    for file, name in dice.sample(whole, min(count // 2, len(whole))):
        yield _table(f"{_kind(file)}: {file} {name}", file, lambda _, name=name: _TABLE_WHOLE[name])  # type: ignore[misc]
    for number in range(count // 4):
        seed, file = dice.randrange(1 << 30), dice.choice(_TABLES)
        yield _table(f"{_kind(file)}: {file} bytes {number} {seed}", file,
                     lambda data, seed=seed: broken_bytes(data, random.Random(seed))[1])  # type: ignore[misc]  # fmt: skip
    for number in range(count // 4):
        seed, file = dice.randrange(1 << 30), dice.choice(("rows.jsonl", "corpus.jsonl"))
        yield _table(f"{_kind(file)}: {file} value {number} {seed}", file, _line_change(seed))


def _kind(file: str) -> str:
    return file.split(".", 1)[1].replace("jsonl.gz", "gzip").replace("txt.gz", "gzip")


def _line_change(seed: int) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        own, lines = random.Random(seed), data.decode().splitlines()
        at = own.randrange(len(lines))
        value = json.loads(lines[at])
        place = own.choice(list(json_places(value)))
        lines[at] = replaced_json(value, place, own.choice((None, *JSON_VALUES)))
        return ("\n".join(lines) + "\n").encode()

    return changed


def _table(
    name: str,
    file: str,
    change: Callable[[bytes], bytes],
    after: Callable[[int, Path], str] = anything,
) -> Trial:
    def prepare(folder: Path, seeds: Path) -> list[str]:
        (folder / file).write_bytes(change((seeds / file).read_bytes()))
        model = str(seeds / "model")
        if not file.startswith("rows"):
            return ["perplexity", model, "--corpus", f"./{file}", *_SCORE]
        text = (seeds / "task.yaml").read_text()
        if file == "rows.csv":
            text = "name: sums\ncapability: math\ndata: rows.csv\nprompt: '{question}'\n"
            text += "exact_match: {gold: answer}\ngeneration: {max_new_tokens: 3}\n"
        (folder / "task.yaml").write_text(text.replace("rows.jsonl", file))
        return ["compare", model, str(seeds / "noisy"), "--tasks", "./task.yaml", *_SCORE]

    return Trial(name, prepare, after=after)


# Run directories --------------------------------------------------------------------------


def _runs(dice: random.Random, count: int) -> Iterator[Trial]:
    for number in range(count // 2):
        seed, file = dice.randrange(1 << 30), dice.choice(_RUN_FILES)
        yield _run(f"run: {file} value {number} {seed}", file, _run_value_change(seed), dice)
    for number in range(count // 4):
        seed = dice.randrange(1 << 30)
        file = dice.choice((*_RUN_FILES, "records"))
        yield _run(f"run: {file} bytes {number} {seed}", file,
                   lambda data, seed=seed: broken_bytes(data, random.Random(seed))[1], dice)  # type: ignore[misc]  # fmt: skip
    for number in range(count // 4):
        seed = dice.randrange(1 << 30)
        yield _run(f"run: records columns {number} {seed}", "records", _column_change(seed), dice)
    for name, data in (
        ("deep", b'{"manifest_version": ' + b"[" * 100_000), ("a list", b"[]"), ("empty", b""),
        ("deep and closed", b'{"x": ' + b"[" * 2000 + b"]" * 2000 + b"}"), ("UTF-16", b"\xff\xfe{"),
        ("a surrogate", b'{"manifest_version": "\\ud800", "schema_version": "\\ud800"}'),
        ("many digits", b'{"manifest_version": ' + b"9" * 5000 + b"}"),
    ):  # fmt: skip
        for file in _RUN_FILES:
            yield _run(f"run: {file} {name}", file, lambda _, data=data: data, dice)  # type: ignore[misc]


_COMMANDS = (
    ["report", "run"], ["report", "run", "--format", "markdown", "--format", "csv"],
    ["report", "run", "--format", "json"], ["report", "run", "--format", "lm-eval"],
    ["check", "run", "--max-kld", "9"], ["check", "run", "--json"], ["card", "run"],
    ["check", "run", "--max-kld", "9", "--baseline", "run"], ["compare"],
)  # fmt: skip


def _run_value_change(seed: int) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        own, value = random.Random(seed), json.loads(data)
        places = list(json_places(value))
        # Each key as often as any, however many lists there are below others.
        depth = own.randrange(1, max(map(len, places)) + 1)
        place = own.choice([at for at in places if len(at) <= depth])
        raw = own.choice((None, *JSON_VALUES))
        return replaced_json(value, place, raw).encode()

    return changed


def _column_change(seed: int) -> Callable[[bytes], bytes]:
    def changed(data: bytes) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        own = random.Random(seed)
        table = pq.read_table(pa.BufferReader(data))
        name = own.choice(table.column_names)
        at, rows = table.column_names.index(name), table.num_rows
        kind = own.randrange(6)
        if kind == 0:
            table = table.drop_columns([name])
        elif kind == 1:
            table = table.slice(0, own.randrange(rows))
        elif kind == 2:
            table = table.set_column(at, name, pa.array(["x"] * rows))
        elif kind == 3:
            table = table.set_column(at, name, pa.nulls(rows, table.column(at).type))
        elif kind == 4:
            table = table.set_column(at, name, pa.array([float("nan")] * rows))
        else:
            table = table.set_column(at, name, pa.array([-(1 << 40)] * rows))
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink)
        return bytes(sink.getvalue().to_pybytes())

    return changed


def _run(
    name: str, file: str, change: Callable[[bytes], bytes], dice: random.Random
) -> Trial:  # fmt: skip
    words, seed = dice.choice(_COMMANDS), dice.randrange(1 << 30)

    def prepare(folder: Path, seeds: Path) -> list[str]:
        from campaigns.seeds import RUN_WORDS

        shutil.copytree(seeds / "run", folder / "run")
        path = folder / "run" / file
        if file == "records":
            path = random.Random(seed).choice(sorted(path.glob("*.parquet")))
        path.write_bytes(change(path.read_bytes()))
        if words != ["compare"]:
            return [*words]
        return [str(seeds / word) if word.startswith("./") else word for word in RUN_WORDS]

    return Trial(f"{name} {' '.join(words)}", prepare)
