"""Typing errors are reported before the libraries that models need are loaded.

Oracle: the modules of a process of its own.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

_CODE = """
import sys
from bitloss.cli.main import main
code = main(sys.argv[1:])
print(sorted({"torch", "transformers", "pyarrow"} & set(sys.modules)))
sys.exit(code)
"""


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("compare pocket gptq-9 --corpus pocket-prose", "GPTQ is made with 2, 3, 4, 8 bits"),
        ("compare pocket gguf-q4_k_n --corpus pocket-prose", "unknown recipe `gguf-q4_k_n`"),
        ("compare pocket ./nothing.gguf --corpus pocket-prose", "no model at `./nothing.gguf`"),
        ("compare pocket gguf-q8_0 --tasks mmul", "unknown task `mmul`"),
        ("compare pocket gguf-q8_0 --tasks bad.yaml", "bad.yaml:2: not YAML"),
        ("compare pocket gguf-q8_0 --tasks bad.yaml --plan", "bad.yaml:2: not YAML"),
    ],
)
def test_it_is_told_at_once(tmp_path: Path, words: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text("name: [\n")
    done = subprocess.run(
        [sys.executable, "-c", _CODE, *words.split()],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode in (1, 2)
    assert said in done.stderr
    assert done.stdout.strip() == "[]"
