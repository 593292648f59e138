"""Training goes on as if never stopped, and what is exported is what was trained.

Oracles: the same training without a stop; transformers' `LlamaForCausalLM` on the exported files.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from bitloss.formats import open_checkpoint
from pocket.card import card, misses, with_scores
from pocket.export import digests, export
from pocket.model import Llama, Shape
from pocket.stream import batch
from pocket.tokenizer import train_tokenizer
from pocket.train import main

SMALL = [
    "--layers",
    "1",
    "--rows",
    "2",
    "--length",
    "24",
    "--steps",
    "6",
    "--validate-items",
    "2",
    "--validate-every",
    "100",
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    train_tokenizer(documents=40).save(str(folder / "tokenizer.json"))
    main([*SMALL, "--out", str(folder)])
    return folder


def test_a_training_that_was_stopped_ends_the_same(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tokenizer.json").write_bytes((trained / "tokenizer.json").read_bytes())
    main([*SMALL, "--out", str(tmp_path), "--stop-at", "3"])
    main([*SMALL, "--out", str(tmp_path)])
    assert "step 3 of 6" in capsys.readouterr().out
    one, other = (
        torch.load(folder / "checkpoint.pt", weights_only=True) for folder in (trained, tmp_path)
    )
    assert one["state"]["step"] == other["state"]["step"] == 6
    assert one["arguments"] == other["arguments"] == "--steps 6 --rows 2 --length 24 --layers 1"
    for name, weight in one["model"].items():
        assert torch.equal(weight, other["model"][name]), name
    logged = (trained / "log.jsonl").read_text().splitlines()
    assert json.loads(logged[-1])["scores"].keys() >= {"completion", "code", "logic"}


def test_training_learns(trained: Path) -> None:
    """A few steps on one batch lower its loss: gradients reach every weight."""
    from tokenizers import Tokenizer

    from pocket.train import _loss, _optimizers

    tokenizer = Tokenizer.from_file(str(trained / "tokenizer.json"))
    model = Llama(Shape(layers=1), 0)
    data = batch(tokenizer, 0, 0, 2, 32)
    ids, weights = torch.from_numpy(data.ids), torch.from_numpy(data.weights).flatten()
    optimizers = _optimizers(model, 0.02, 0.004)
    losses = []
    for _ in range(8):
        loss = _loss(model, ids, weights, "cpu")
        loss.backward()
        losses.append(float(loss.detach()))
        assert all(weight.grad is not None for weight in model.parameters())
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    assert losses[-1] < 0.6 * losses[0]


def test_transformers_computes_the_same(trained: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    facts = export(trained, tmp_path)
    assert facts["bytes"] == (tmp_path / "model.safetensors").stat().st_size
    hf = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenizer("Question: What is 12 + 30?\nAnswer:", return_tensors="pt")["input_ids"]
    assert ids[0, 0] == tokenizer.bos_token_id
    own = Llama(Shape(layers=1), 0)
    saved = torch.load(trained / "checkpoint.pt", weights_only=True)["model"]
    own.load_state_dict({name: value.bfloat16().float() for name, value in saved.items()})
    with torch.no_grad():
        expected = hf(ids).logits
        found = own.lm_head(own(ids))
    # Both in fp32, sums in another order; logits here are of order 1.
    assert torch.allclose(found, expected, atol=2e-5)
    assert open_checkpoint(tmp_path).info.parameters == facts["parameters"]


def test_digests_tell_a_damaged_file(trained: Path, tmp_path: Path) -> None:
    export(trained, tmp_path)
    before = digests(tmp_path)
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(data)
    after = digests(tmp_path)
    assert [name for name in before if before[name] != after[name]] == ["model.safetensors"]


def _found(score: float, losses: dict[str, float]) -> dict[str, object]:
    tasks = {"pocket_math": {"score": {"value": score}}}
    return {
        "reference": {"tasks": tasks, "corpora": {"pocket-prose": {"perplexity": 3.25}}},
        "variants": [
            {
                "name": name,
                "tasks": {
                    "pocket_math": {
                        "score": {"value": score - loss},
                        "difference": {"value": -loss},
                    }
                },
                "corpora": {"pocket-prose": {"perplexity": 3.5}},
            }
            for name, loss in losses.items()
        ],
    }


def test_the_card_has_what_was_measured(trained: Path, tmp_path: Path) -> None:
    facts = export(trained, tmp_path)
    text = card(facts, _found(0.9, {"gguf-q2_k": 0.25}))
    assert "| math | 90.0% | 65.0% |" in text
    assert "| pocket-prose | 3.250 | 3.500 |" in text
    assert f"{facts['parameters']:,} parameters" in text


def test_a_card_takes_the_scores_of_another_run(trained: Path, tmp_path: Path) -> None:
    facts = export(trained, tmp_path)
    one, other = _found(0.9, {"gguf-q2_k": 0.25}), _found(0.8, {"gguf-q2_k": 0.25})
    assert with_scores(card(facts, one), other) == card(facts, other)
    with pytest.raises(ValueError, match="## Limits"):
        with_scores("# bitloss pocket\n", one)


def test_targets() -> None:
    ladder = {"gguf-q8_0": 0.0, "gguf-q4_k_m": 0.01, "gguf-q3_k_m": 0.05, "gguf-q2_k": 0.3}
    assert misses(_found(0.9, ladder)) == []
    assert len(misses(_found(0.99, ladder))) == len(misses(_found(0.5, ladder))) == 1
    assert len(misses(_found(0.9, {**ladder, "gguf-q2_k": 0.05}))) == 1
