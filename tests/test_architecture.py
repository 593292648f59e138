"""Rules that hold for the whole tree."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from graphlib import CycleError, TopologicalSorter
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import pytest

import bitloss
from bitloss import registry

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "src" / "bitloss"
MODULES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
HEAVY = (
    "torch", "transformers", "llama_cpp", "gguf", "gptqmodel", "datasets", "ray", "pyarrow",
    "huggingface_hub", "pydantic", "pandas",
)  # fmt: skip
TABLES = (
    "FORMATS", "PROTOCOLS", "CORPORA", "QUANTIZERS", "TASKS", "ENGINES", "VIEWS", "STUDIES",
)  # fmt: skip


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_imports_go_down_only() -> None:
    program = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_import_circle() -> None:
    """Imports for types and imports inside functions count too: a deferred circle is still one."""
    circle = import_circle(_imports())
    assert not circle, " -> ".join(circle)


@pytest.mark.parametrize(
    ("imports", "circle"),
    [
        ({"a": {"b"}, "b": {"c"}, "c": set()}, ""),
        ({"x": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a"}}, "a b c a"),
    ],
)
def test_a_circle_is_named(imports: Mapping[str, set[str]], circle: str) -> None:
    found = import_circle(imports)[1:]
    start = found.index("a") if found else 0
    assert [*found[start:], *found[:start], *found[start : start + 1]] == circle.split()


def import_circle(imports: Mapping[str, set[str]]) -> list[str]:
    """Modules of which each imports the next, the first one again at the end; empty if none."""
    try:
        TopologicalSorter(imports).prepare()
    except CycleError as error:
        return list(reversed(error.args[1]))  # graphlib names the imported module first
    return []


def _imports() -> dict[str, set[str]]:
    import grimp  # of import-linter

    graph = grimp.build_graph("bitloss", exclude_type_checking_imports=False, cache_dir=None)
    return {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}


def test_every_module_is_on_a_floor() -> None:
    on_floors = {name for floor in floors() for name in floor}
    assert {name for name in top_modules() if name not in on_floors} == set()


def test_the_map_shows_the_floors() -> None:
    """The map of docs/decisions/0001-floors.md is the contract of pyproject.toml."""
    page = (ROOT / "docs" / "decisions" / "0001-floors.md").read_text(encoding="utf-8")
    (drawing,) = re.findall(r"^```\n(cli .*?)^```", page, re.DOTALL | re.MULTILINE)
    drawn = [set(line.partition("   ")[0].split()) for line in drawing.splitlines()]
    assert drawn == floors()


def floors() -> list[set[str]]:
    """Names under `bitloss` by layer of the import-linter contract, from the top down."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (contract,) = settings["tool"]["importlinter"]["contracts"]
    return [set(re.findall(r"bitloss\.(\w+)", layer)) for layer in contract["layers"]]


def top_modules() -> set[str]:
    """Modules and packages directly under `bitloss`; folders of data are neither."""
    modules = {path.stem for path in SOURCE.glob("*.py") if not path.name.startswith("_")}
    return modules | {path.parent.name for path in SOURCE.glob("*/__init__.py")}


def test_contributing_names_files_that_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:src|tests|docs)/[\w./-]+)`", text)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_contributing_explains_every_kind_of_plug() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert [table for table in TABLES if f"`{table}`" not in text] == []


def test_contributing_shows_every_floor() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {name for floor in floors() for name in floor if f"`{name}`" not in text} == set()


def test_files_can_be_read_in_one_go() -> None:
    sizes = {name_of(path): len(path.read_text().splitlines()) for path in [*MODULES, *TESTS]}
    assert {name: lines for name, lines in sizes.items() if lines >= 400} == {}


def test_functions_can_be_read_at_a_glance() -> None:
    sizes = {
        f"{name_of(path)}: {node.name}": _lines(node)
        for path in [*MODULES, *TESTS]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: lines for name, lines in sizes.items() if lines >= 60} == {}


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the body: arguments and docstring are read apart from it."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    assert body[-1].end_lineno is not None
    return body[-1].end_lineno - body[0].lineno + 1


def test_public_modules_say_what_they_are_and_offer() -> None:
    silent = [
        name_of(path)
        for path in MODULES
        if path.name == "__init__.py" or not path.name.startswith("_")
        if not _speaks(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def _speaks(tree: ast.Module) -> bool:
    if ast.get_docstring(tree) is None:
        return False
    names = {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return len(tree.body) == 1 or "__all__" in names


def test_light_import() -> None:
    loaded = _modules_loaded_by("import bitloss")
    assert loaded.isdisjoint(HEAVY)


def test_help_is_light() -> None:
    loaded = _modules_loaded_by("from bitloss.cli.main import main; main(['--help'])")
    assert loaded.isdisjoint(HEAVY)


def test_list_needs_no_torch() -> None:
    loaded = _modules_loaded_by("from bitloss.cli.main import main; main(['list'])")
    assert loaded.isdisjoint({*HEAVY} - {"pydantic"})


def _modules_loaded_by(statement: str) -> set[str]:
    program = f"import sys; before = set(sys.modules); {statement}; print()\n"
    program += "print(' '.join({name.partition('.')[0] for name in set(sys.modules) - before}))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    ("table", "name"), [(table, name) for table in TABLES for name in getattr(registry, table)]
)
def test_plug_is_there(table: str, name: str) -> None:
    plugs: MappingProxyType[str, str] = getattr(registry, table)
    module, _, attribute = plugs[name].partition(":")
    assert find_spec(module) is not None
    plug = importlib.import_module(module)
    assert not attribute or hasattr(plug, attribute)


@pytest.mark.parametrize("table", TABLES)
def test_every_plug_describes_itself(table: str) -> None:
    assert all(registry.describe(getattr(registry, table)).values())


def test_a_plug_in_one_file_describes_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is in no package is found, and not imported."""
    (tmp_path / "lonely_plug.py").write_text('"""A lonely plug."""\nraise SystemExit\n')
    monkeypatch.syspath_prepend(tmp_path)
    assert registry.describe({"a": "lonely_plug:PLUG"}) == {"a": "A lonely plug"}
    assert registry.describe({"a": "no_such_module:PLUG"}) == {"a": ""}


def test_all_of_the_package_can_be_had() -> None:
    assert bitloss.__all__ == sorted(bitloss.__all__)
    assert all(hasattr(bitloss, name) for name in bitloss.__all__)
    with pytest.raises(AttributeError, match="no_such_thing"):
        _ = bitloss.no_such_thing


def test_typed() -> None:
    assert (SOURCE / "py.typed").is_file()


def test_no_paths_of_one_machine() -> None:
    machine = re.compile(r"(?<![\w.])/(?:home|root|work|Users|mnt|opt)/\w")
    texts = [
        *MODULES, *TESTS, *ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "Makefile",
        ROOT / "pyproject.toml", ROOT / ".ci" / "run",
    ]  # fmt: skip
    found = [
        f"{name_of(path)}: {match.group()}"
        for path in texts
        for match in machine.finditer(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_make_install_builds_the_version_that_is_required() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    pyproject = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (torch,) = re.findall(r"^TORCH := torch==(\d+\.\d+)\.\d+$", makefile, re.MULTILINE)
    assert f'"torch>={torch},' in pyproject
    assert re.search(r'"llama-cpp-python==[\d.]+"', pyproject)
