"""A path that leads nowhere is a wrong command, whatever was to be there: exit code 2."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.cli.main import main


@pytest.mark.parametrize(
    "words",
    [
        "perplexity ./nope --corpus pocket-prose",
        "perplexity pocket --corpus ./nope.txt",
        "perplexity pocket --corpus wikitext-2 --data ./nope",
        "compare pocket ./nope --corpus pocket-prose --plan",
        "compare pocket gguf-q8_0 --tasks ./nope.yaml --plan",
        "compare pocket gguf-q8_0 --suite ./nope.yaml --plan",
        "compare pocket gguf-q8_0 --corpus pocket-prose --expectations nope.yaml --plan",
        "check ./nope --max-kld 1",
        "report ./nope",
        "card ./nope",
        "quantize ./nope out --recipe gguf-q8_0",
    ],
)
def test_exit_code(
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(words.split()) == 2
    assert "nope" in capsys.readouterr().err
