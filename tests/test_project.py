"""The files around the package agree with it. Oracles: the version, the Makefile, the workflows."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from bitloss import __version__

ROOT = Path(__file__).parents[1]
TARGETS = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
YAML = sorted([*ROOT.glob(".github/**/*.yml"), ROOT / ".pre-commit-config.yaml"])


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_one_version() -> None:
    assert yaml.safe_load(read("CITATION.cff"))["version"] == __version__
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", read("CHANGELOG.md"), re.MULTILINE)
    assert released[:1] in ([], [__version__])


@pytest.mark.parametrize("path", YAML, ids=lambda path: path.name)
def test_yaml_is_read(path: Path) -> None:
    assert yaml.safe_load(path.read_text(encoding="utf-8"))


def test_workflows_run_what_there_is() -> None:
    jobs = yaml.safe_load(read(".github/workflows/tests.yml"))["jobs"]
    runs = [step.get("run", "") for job in jobs.values() for step in job["steps"]]
    lines = [line for run in runs for line in run.splitlines()]
    assert ".ci/run" in lines
    assert {line.split()[1] for line in lines if line.startswith("make ")} <= TARGETS
    named: list[str] = re.findall(r"^make (\w+)", read(".ci/run"), re.MULTILINE)
    assert "test" in named
    assert set(named) <= TARGETS


def test_hooks_run_tools_of_the_environment() -> None:
    (repo,) = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"]
    assert all(hook["entry"].startswith(".venv/bin/") for hook in repo["hooks"])
    tests = [word for hook in repo["hooks"] for word in hook["entry"].split() if "tests/" in word]
    assert tests
    assert all((ROOT / name).is_file() for name in tests)


def test_container_installs_what_the_makefile_does() -> None:
    text = re.sub(r"^\s*//.*$", "", read(".devcontainer/devcontainer.json"), flags=re.MULTILINE)
    described: dict[str, Any] = json.loads(text)
    assert (ROOT / ".devcontainer" / described["build"]["dockerfile"]).is_file()
    assert described["postCreateCommand"].removeprefix("make ") in TARGETS


def test_classifiers_name_the_systems_and_versions_that_are_tested() -> None:
    project = tomllib.loads(read("pyproject.toml"))["project"]
    tested = yaml.safe_load(read(".github/workflows/tests.yml"))["jobs"]["tests"]["strategy"]
    cases = tested["matrix"]["include"]
    named = set(project["classifiers"])
    assert {f"Programming Language :: Python :: {case['python']}" for case in cases} <= named
    # Files are locked by fcntl, which Windows lacks.
    assert not [each for each in named if "Windows" in each or "OS Independent" in each]
    assert {case["system"].partition("-")[0] for case in cases} == {"ubuntu", "macos"}


def test_windows_is_refused_in_words() -> None:
    program = "import sys; sys.platform = 'win32'; import bitloss"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("got Windows: install bitloss in WSL 2")


def test_long_description_has_no_link_that_leads_nowhere() -> None:
    """As the wheel has it. Oracle: `re`, which the build's plugin uses."""
    build = tomllib.loads(read("pyproject.toml"))["tool"]["hatch"]["metadata"]["hooks"]
    text = read("README.md")
    for rule in build["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    assert [each for each in re.findall(r"\]\(([^)]+)\)", text) if "://" not in each] == []
    assert "as published, your own tasks, and those of\n  lm-evaluation-harness." in text
    assert "![" not in text


def test_readme_is_short_and_shows_what_the_demonstration_prints() -> None:
    readme = read("README.md")
    assert readme.count("\n") < 120
    assert "make demo" in readme
    assert "make test" in readme
    (shown,) = re.findall(r"^```\n(model .*?)^```", readme, re.DOTALL | re.MULTILINE)
    printed = set(read("docs/demo.md").splitlines())
    assert [line for line in shown.splitlines() if line not in printed] == []
