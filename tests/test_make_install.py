"""What `make install` builds, and when. Oracles: make's own answer, and a count of the builds."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools import llama_cpp_wheel

ROOT = Path(__file__).parents[1]


class Pip:
    """Stands in for pip: notes what it is asked, and writes a wheel's file where one is built."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []
        self.cmake_args: list[str] = []
        self.broken = False

    def __call__(self, *arguments: str, **variables: str) -> None:
        self.asked.append(arguments)
        if arguments[0] == "wheel":
            self.cmake_args.append(variables["CMAKE_ARGS"])
            folder = Path(arguments[arguments.index("--wheel-dir") + 1])
            folder.mkdir()
            (folder / "llama.whl.part").touch()
            if self.broken:
                raise subprocess.CalledProcessError(1, "pip")
            (folder / "llama.whl.part").rename(folder / "llama.whl")


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Pip:
    stand_in = Pip()
    monkeypatch.setattr(llama_cpp_wheel, "_pip", stand_in)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return stand_in


def test_a_wheel_is_built_once(pip: Pip) -> None:
    llama_cpp_wheel.install("llama-cpp-python==1.0", "-DA=ON")
    llama_cpp_wheel.install("llama-cpp-python==1.0", "-DA=ON")
    assert pip.cmake_args == ["-DA=ON"]
    installed = [asked for asked in pip.asked if "--force-reinstall" in asked]
    assert len(installed) == 2
    assert Path(installed[0][-1]).name == "llama.whl"
    assert Path(installed[0][-1]).is_file()


@pytest.mark.parametrize(
    "other", [("llama-cpp-python==1.1", "-DA=ON"), ("llama-cpp-python==1.0", "-DA=OFF")]
)
def test_another_version_or_switch_is_another_wheel(pip: Pip, other: tuple[str, str]) -> None:
    first = llama_cpp_wheel.kept_wheel("llama-cpp-python==1.0", "-DA=ON")
    assert llama_cpp_wheel.kept_wheel(*other) != first
    assert len(pip.cmake_args) == 2


def test_a_failed_build_leaves_nothing(pip: Pip) -> None:
    pip.broken = True
    with pytest.raises(subprocess.CalledProcessError):
        llama_cpp_wheel.install("llama-cpp-python==1.0", "-DA=ON")
    assert list(llama_cpp_wheel.cache_folder().iterdir()) == []
    pip.broken = False
    llama_cpp_wheel.install("llama-cpp-python==1.0", "-DA=ON")
    assert len(pip.cmake_args) == 2


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_only_its_own_version_or_switches_build_llama_cpp_again(tmp_path: Path) -> None:
    root = tmp_path / "checkout"
    switches = root / "src" / "bitloss" / "doctor" / "cpu.py"
    python = root / ".venv" / "bin" / "python"
    for path in (switches, python):
        path.parent.mkdir(parents=True)
        path.touch()
    shutil.copy(ROOT / "Makefile", root)
    project = root / "pyproject.toml"
    project.write_text('gguf = ["llama-cpp-python==1.0"]\n')

    def steps() -> str:
        ran = subprocess.run(
            ["make", "-n", "install"], cwd=root, capture_output=True, text=True, check=True,
            env={"PATH": os.environ["PATH"]},
        )  # fmt: skip
        return ran.stdout

    assert "llama_cpp_wheel.py" in steps()
    (root / ".venv" / ".built-llama-cpp-python-1.0").touch()
    assert "llama_cpp_wheel.py" not in steps()
    later = project.stat().st_mtime + 60
    os.utime(project, (later, later))
    assert "llama_cpp_wheel.py" not in steps()
    assert "install -e" in steps()
    os.utime(switches, (later, later))
    assert "llama_cpp_wheel.py" in steps()
    (root / ".venv" / ".built-llama-cpp-python-1.0").touch()
    os.utime(root / ".venv" / ".built-llama-cpp-python-1.0", (later + 60, later + 60))
    assert "llama_cpp_wheel.py" not in steps()
    project.write_text('gguf = ["llama-cpp-python==1.1"]\n')
    assert '"llama-cpp-python==1.1"' in steps()
