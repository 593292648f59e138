"""From the command line to the report, through a server of the bundled model on loopback. Oracle:
the dense engine on the same model, and for real servers llama.cpp's own engine.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.cli.main import main
from bitloss.engines.server.plug import connect
from bitloss.results import Comparison
from bitloss.runner.store import RunStore
from peers.model_server import serve
from peers.served_model import ServedModel

KEY = "sk-very-secret-0123456789"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundled model with noise on its weights."""
    from transformers import AutoModelForCausalLM

    from bitloss.formats.location.builtin import builtin_model

    source = builtin_model("pocket")
    model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    torch.manual_seed(1)
    with torch.no_grad():
        for weight in model.parameters():
            weight += 0.15 * weight.std() * torch.randn_like(weight) if weight.dim() > 1 else 0.0
    folder = tmp_path_factory.mktemp("models") / "damaged"
    model.save_pretrained(folder)
    for file in source.glob("token*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def served(folder: Path, **options: Any) -> ServedModel:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    return ServedModel(
        "damaged",
        logits,
        lambda text: tokenizer(text, add_special_tokens=False)["input_ids"],
        lambda ids: tokenizer.decode(ids, skip_special_tokens=True),
        eos=int(tokenizer.eos_token_id),
        bos=int(tokenizer.bos_token_id),
        **options,
    )


def run(variant: str, engine: str, out: Path, *more: str) -> int:
    words = ["compare", "pocket", variant, "--engine", engine, "--out", str(out), "-q"]
    return main([*words, *more])


TEXT = ("--corpus", "pocket-prose", "--max-length", "64", "--stride", "64", "--limit", "12")


def test_a_server_beside_the_weights(
    damaged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("BITLOSS_API_KEY", KEY)
    with serve(served(damaged).server(key=KEY)) as server:
        tasks = ("--tasks", "pocket_math")
        code = run(str(damaged), f"dense,server={server.url}", tmp_path / "run", *TEXT, *tasks)
    output = capsys.readouterr()
    assert code == 0, output.err
    (variant,) = Comparison.load(tmp_path / "run").variants
    ((name, own),) = variant.corpora.items()
    (way,) = variant.served
    found = way.corpora[name]
    assert found.result is None
    assert found.top_k.perplexity == pytest.approx(own.perplexity, rel=1e-4)
    assert found.top_k.reference_perplexity == pytest.approx(own.reference_perplexity, rel=1e-6)
    assert found.top_k.top1_agreement == own.top1_agreement
    assert found.top_k.delta_p.mean == pytest.approx(own.delta_p.mean, rel=1e-3)
    lower = found.top_k.kl_divergence_topk.value
    assert 0.3 * own.kl_divergence.mean < lower < own.kl_divergence.mean
    assert found.added.kl_divergence is None
    assert found.added.relative_perplexity.value == pytest.approx(1, abs=1e-5)
    # The same texts are written, token by token, so the scores are the same.
    assert way.tasks["pocket_math"].score == variant.tasks["pocket_math"].score
    assert "as a server runs it (KLD over likely tokens" in output.out
    assert f"server={server.url} has no noise floor" in output.out.replace("\n", " ")
    page = (tmp_path / "run" / "report.html").read_text()
    assert "KLD over likely tokens" in page
    for file in (tmp_path / "run").rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes()
    assert KEY not in output.out + output.err


def test_a_server_alone(damaged: Path, tmp_path: Path, capsys: Any) -> None:
    """A name that only the server knows: no files, no verdict of what was not measured."""
    with serve(served(damaged).server()) as server:
        tasks = ("--tasks", "pocket_math")
        assert run("damaged", f"server={server.url}", tmp_path / "run", *TEXT, *tasks) == 0
        asked = len(server.requests)
        assert run("damaged", f"server={server.url}", tmp_path / "run", *TEXT, *tasks) == 0
        assert len(server.requests) == asked  # all of it is there
    capsys.readouterr()
    document = json.loads((tmp_path / "run" / "comparison.json").read_text())
    (variant,) = document["variants"]
    assert (variant["status"], variant["digest"], variant["corpora"]) == ("ok", None, {})
    (way,) = variant["served"]
    (found,) = way["corpora"].values()
    assert found["top_k"]["relative_perplexity"]["value"] > 1
    assert "result" not in found
    assert "kl_divergence" not in found["top_k"]
    assert variant["tasks"]["pocket_math"]["score"]["value"] is not None
    assert variant["tasks"]["pocket_math"]["kl_divergence"] is None
    axes = (variant.get("verdict") or {}).get("axes") or {}
    assert not axes


OPTIONS = ("--tasks", "pocket_logic,pocket_completion,pocket_math", "--limit", "3")


@pytest.mark.parametrize("style", ["vllm", "text", "llama-server"])
def test_options_and_gold_answers_are_scored(
    damaged: Path, tmp_path: Path, capsys: Any, style: str
) -> None:
    """Oracle: the dense engine's scores of the same model on the same tokens."""
    with serve(served(damaged, style=style).server()) as server:
        engine = f"dense,server={server.url}"
        assert run(str(damaged), engine, tmp_path, *OPTIONS) == 0, capsys.readouterr().err
    capsys.readouterr()
    (variant,) = Comparison.load(tmp_path).variants
    (way,) = variant.served
    assert (way.error, way.not_measured) == (None, None)
    store = RunStore(tmp_path)
    for name, entry in store.read_manifest().tasks.items():
        own, there = (
            store.read_records([entry.items[model]], (*EXACT, *LIKE, *UNKNOWN))
            for model in (variant.name, f"{variant.name} [{way.way.label}]")
        )
        for column in EXACT:
            np.testing.assert_array_equal(own[column], there[column])
        for column in LIKE:
            np.testing.assert_allclose(own[column], there[column], rtol=2e-4, atol=2e-5)
        for column in UNKNOWN:
            assert np.isnan(there[column]).all()
            assert np.isfinite(own[column]).all()
        assert way.tasks[name].score.value == variant.tasks[name].score.value
        assert (
            way.tasks[name].expected_added is None
            or abs(way.tasks[name].expected_added.value) < 1e-4
        )


# Columns of items: the same for the same model, alike, and never known of likely tokens.
EXACT = ("item", "detail", "gold_tokens")
LIKE = ("gold_nll", "right")
UNKNOWN = ("gold_kl", "gold_overlap", "gold_affinity")


def test_options_are_absent_by_name_where_a_server_cannot_score_them(
    damaged: Path, tmp_path: Path, capsys: Any
) -> None:
    """Never as zero: in a way beside the weights, and where the server is all there is."""
    with serve(served(damaged, style="writes").server()) as server:
        engine = f"server={server.url}"
        assert run(str(damaged), f"dense,{engine}", tmp_path / "p", *OPTIONS, "--plan") == 0
        planned = " ".join(capsys.readouterr().out.split())
        assert f"{engine} does not measure pocket_logic and pocket_completion: no p" in planned
        assert run(str(damaged), f"dense,{engine}", tmp_path / "a", *OPTIONS) == 0
        said = capsys.readouterr().out.replace("\n", " ")
        assert run("damaged", engine, tmp_path / "b", *OPTIONS) == 0
        alone = " ".join(capsys.readouterr().out.split())
    (variant,) = Comparison.load(tmp_path / "a").variants
    (way,) = variant.served
    assert sorted(variant.tasks) == ["pocket_completion", "pocket_logic", "pocket_math"]
    assert list(way.tasks) == ["pocket_math"]
    assert sorted(way.not_measured) == ["pocket_completion", "pocket_logic"]
    assert (
        "cannot score options: no prompts of token ids; no log-prob"
        in (way.not_measured["pocket_logic"])
    )
    assert "not measured" in said
    assert variant.not_measured is None
    (only,) = Comparison.load(tmp_path / "b").variants
    assert only.status == "ok"
    assert list(only.tasks) == ["pocket_math"]
    assert sorted(only.not_measured) == ["pocket_completion", "pocket_logic"]
    assert "Not measured: pocket_logic on damaged and pocket_completion on damaged" in alone
    document = json.loads((tmp_path / "b" / "comparison.json").read_text())
    assert "logic" not in document["variants"][0]["capabilities"]


def test_what_a_server_writes_stays_where_it_scores_wrongly(
    damaged: Path, tmp_path: Path, capsys: Any
) -> None:
    """Log-probabilities read one position too late would be scores at chance."""
    with serve(served(damaged, shift=1).server()) as server:
        engine = f"dense,server={server.url}"
        assert run(str(damaged), engine, tmp_path, *OPTIONS) == 0
    capsys.readouterr()
    (way,) = Comparison.load(tmp_path).variants[0].served
    assert list(way.tasks) == ["pocket_math"]
    assert "expected log-probabilities of the text" in way.not_measured["pocket_logic"]


def test_a_text_that_is_read_without_a_bos_is_no_score(
    damaged: Path, tmp_path: Path, capsys: Any
) -> None:
    """The tokens that are echoed are the same: only their number shows it."""
    given = served(damaged, style="text")
    given.bos = None
    with serve(given.server()) as server:
        assert run("damaged", f"server={server.url}", tmp_path, *OPTIONS) == 1
    capsys.readouterr()
    (variant,) = Comparison.load(tmp_path).variants
    assert variant.status == "failed"
    assert "expected the server to read" in variant.error.message


@pytest.mark.parametrize("fault", [{"shift": 1}, {"constant": -5.0}])
def test_log_probabilities_of_something_else_are_refused(
    damaged: Path, tmp_path: Path, capsys: Any, fault: Any
) -> None:
    """Read one position too late, or the same for every token (what chance scores)."""
    with serve(served(damaged, **fault).server()) as server:
        run(str(damaged), f"dense,server={server.url}", tmp_path, *TEXT)
    (variant,) = Comparison.load(tmp_path).variants
    assert variant.corpora
    (way,) = variant.served
    assert not way.corpora
    assert way.status == "failed"
    assert way.error.message.startswith(str(damaged))
    assert "expected log-probabilities of the text" in way.error.message
    capsys.readouterr()


def test_what_a_server_cannot_do_is_said_before_the_work(
    damaged: Path, tmp_path: Path, capsys: Any
) -> None:
    with serve(served(damaged, style="writes").server()) as server:
        engine = f"server={server.url}"
        assert run(str(damaged), f"dense,{engine}", tmp_path / "a", *TEXT) == 1
        assert "cannot score texts: no prompts of token ids; no log-" in capsys.readouterr().err
        words = ("--tasks", "pocket_math", "--limit", "2")
        assert run("damaged", engine, tmp_path / "b", *words) == 0
        capsys.readouterr()
        assert run("damaged", engine, tmp_path / "c", "--tasks", "pocket_logic") == 1
        assert "cannot score options, which task `pocket_logic` needs: no prompts" in (
            capsys.readouterr().err
        )
        assert run("absent", engine, tmp_path / "d", *words) == 1
        said = capsys.readouterr()
        assert "expected a model that server" in said.out + said.err
        assert run("damaged", f"{engine}#damaged", tmp_path / "e", "other", *words) == 2
        assert "runs one model" in capsys.readouterr().err
        assert run(str(damaged), f"{engine},dense", tmp_path / "h", *words) == 2
        assert "write it last" in capsys.readouterr().err
        assert main(["perplexity", "pocket", "--engine", engine, *TEXT]) == 1
        assert "cannot score texts" in capsys.readouterr().err
    with serve(served(damaged).server()) as server:
        assert main(["perplexity", "pocket", "--engine", f"server={server.url}", *TEXT]) == 2
        assert "got only the reference" in capsys.readouterr().err
    assert run("damaged", "server=http://127.0.0.1:9", tmp_path / "f", *TEXT) == 1
    assert "cannot be reached" in capsys.readouterr().err
    assert run("damaged", f"server=http://me:{KEY}@h", tmp_path / "g", *TEXT) == 2
    assert KEY not in capsys.readouterr().err


def test_a_connection_is_made_once(damaged: Path) -> None:
    with serve(served(damaged).server()) as server:
        assert connect(server.url) is connect(server.url)
