"""llama-cpp-python's own server, on loopback. Oracle: the llama.cpp engine on the same file, which
runs the same kernels.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from bitloss.cli.main import main
from bitloss.datasets.pocket import prose
from bitloss.engines.evaluate import load_engine
from bitloss.engines.server.client import Client, Patience
from bitloss.errors import ServerError
from bitloss.results import Comparison

NEEDED = ("llama_cpp", "fastapi", "uvicorn", "sse_starlette", "starlette_context")
missing = [name for name in (*NEEDED, "pydantic_settings") if find_spec(name) is None]
pytestmark = pytest.mark.skipif(
    bool(missing), reason=f"llama-cpp-python[server] is not installed: {', '.join(missing)}"
)

KEY = "sk-of-a-real-server"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gguf") / "q8_0.gguf"
    assert main(["quantize", "pocket", str(path), "--recipe", "gguf-q8_0", "-q"]) == 0
    return path


@pytest.fixture(scope="module")
def url(file: Path) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "model": file, "host": "127.0.0.1", "port": port, "api_key": KEY, "n_ctx": 512,
        "logits_all": True, "n_threads": 1, "n_threads_batch": 1, "type_k": 0, "type_v": 0,
    }  # fmt: skip
    words = [f"--{name}={value}" for name, value in settings.items()]
    log = (file.parent / "log").open("w")
    # The package prints a warning of its own for each of several fields when it is imported.
    command = [sys.executable, "-W", "ignore", "-m", "llama_cpp.server", *words]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(300):
            try:
                Client(address, KEY, Patience(attempts=1, connect=1)).get("/v1/models")
            except ServerError:
                assert process.poll() is None, (file.parent / "log").read_text()[-2000:]
                time.sleep(0.1)
            else:
                break
        yield address
    finally:
        process.kill()
        process.wait()
        log.close()


def test_it_scores_and_writes_what_llama_cpp_does(
    file: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """A text whose windows are read alike from their text: no line ends where windows part."""
    monkeypatch.setenv("BITLOSS_API_KEY", KEY)
    text = tmp_path / "text.txt"
    text.write_text(" ".join(prose(None).raw.split())[:1800])
    out = tmp_path / "run"
    words = ["compare", "pocket", str(file), "--engine", f"dense,llama.cpp,server={url}",
             "--corpus", str(text), "--protocol", "llama.cpp", "--max-length", "128",
             "--tasks", "pocket_math", "--limit", "4", "--out", str(out), "-q"]  # fmt: skip
    assert main(words) == 0, capsys.readouterr().err
    capsys.readouterr()
    (variant,) = Comparison.load(out).variants
    native, served = variant.served
    assert served.error is None, served.error
    ((name, found),) = served.corpora.items()
    exact = native.corpora[name].result
    assert found.top_k.perplexity == pytest.approx(exact.perplexity, rel=1e-5)
    assert found.top_k.n_scored == exact.n_scored
    lower = found.top_k.kl_divergence_topk.value
    assert 0.2 * exact.kl_divergence.mean < lower < exact.kl_divergence.mean * (1 + 1e-4)
    assert served.tasks["pocket_math"].score == native.tasks["pocket_math"].score
    files = [path for path in out.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


def test_what_it_offers(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLOSS_API_KEY", KEY)
    engine = load_engine(f"server={url}")
    offers = engine.settings["offers"]
    assert (offers["scoring"], offers["top"], offers["token_ids"]) == ("echo", 20, False)
    assert engine.lacks == ("no prompts of token ids",)
    monkeypatch.setenv("BITLOSS_API_KEY", "sk-wrong")
    with pytest.raises(ServerError, match="expected an API key that it accepts, got one that it"):
        load_engine(f"server={url}")


def test_other_tokens_are_refused(
    file: Path, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Windows that part two line ends, which are one token when they are read together."""
    monkeypatch.setenv("BITLOSS_API_KEY", KEY)
    words = ["compare", "pocket", str(file), "--engine", f"dense,server={url}", "--corpus",
             "pocket-prose", "--protocol", "llama.cpp", "--max-length", "128", "--limit", "20",
             "--out", str(tmp_path), "-q"]  # fmt: skip
    main(words)
    capsys.readouterr()
    (served,) = Comparison.load(tmp_path).variants[0].served
    assert "takes only text, and tokenizes it differently" in served.error.message
    assert not served.corpora
