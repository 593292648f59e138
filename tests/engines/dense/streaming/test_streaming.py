"""Models read a layer at a time; oracle: the same bytes from models that are read as a whole."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import pytest
import torch

from bitloss.engines import devices
from bitloss.engines.dense.batches import hidden_states
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring import scorer as scorer_module
from bitloss.engines.dense.scoring import shards as shards_module
from bitloss.engines.dense.scoring.shards import shards
from bitloss.engines.dense.streaming import can_stream, read_by_layers, reading
from bitloss.engines.dense.streaming import layers as layers_module
from bitloss.engines.dense.text_model import DenseTextModel
from bitloss.engines.evaluate import make_scorer
from bitloss.engines.values import Candidate, Setup, TextSetup
from bitloss.errors import NumericalError, UnsupportedModel
from bitloss.runner import RunStore
from bitloss.spec.serving import Serving
from bitloss.types import SilentProgress
from peers.random_models import CONFIGS, opened
from peers.scoring import contents, question_windows, score


class Memory(NamedTuple):
    """As psutil says it."""

    available: int
    total: int


@pytest.fixture
def questions():
    """Two preambles and six questions each, of several options."""
    return question_windows(12)


@pytest.fixture
def whole_only(monkeypatch):
    """A function that makes every model too large to be read as a whole, or not."""

    def too_large(large: bool) -> None:
        monkeypatch.setattr(scorer_module, "fits_in_memory", lambda candidate, room: not large)

    return too_large


def streamed(graph, checkpoint, windows, candidate):
    """The states of all windows."""
    found = read_by_layers(
        graph, checkpoint, shards(windows, 64), candidate,
        batch_tokens=64, memory=1 << 30, progress=SilentProgress(),
    )  # fmt: skip
    return torch.cat([states for _, states in found])


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("architecture", CONFIGS)
def test_states_are_those_of_the_whole_model(random_model, windows, architecture, precision):
    _, checkpoint = random_model(architecture)
    graph = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    assert can_stream(graph, checkpoint.config), architecture
    candidate = Candidate(opened(checkpoint), arithmetic=precision)
    found = streamed(graph, checkpoint, windows, candidate)
    whole = ModelGraph(checkpoint.config, precision=precision, device="cpu")
    whole.load(checkpoint)
    assert torch.equal(found, torch.cat(list(hidden_states(whole, windows, 64))))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("memory", [1, 40_000, 1 << 30])
def test_records_have_the_same_bytes(
    tmp_path, monkeypatch, whole_only, models, windows, questions, shared, memory
):
    """Whatever the waves; with the variants that are at fault, and their errors."""
    monkeypatch.setattr(shards_module, "SHARD_TOKENS", 150)
    text = questions if shared else windows
    options = {"share_prefixes": shared, "memory": memory}
    found = {}
    for name, large in (("whole", False), ("streamed", True)):
        whole_only(large)
        scores = score(RunStore(tmp_path / name), models, text, *models, **options)
        found[name] = sorted(scores.failed), contents(tmp_path / name)
    assert found["streamed"] == found["whole"]
    assert found["whole"][0]


def test_a_model_that_cannot_be_packed_is_found_out(
    tmp_path, whole_only, monkeypatch, models, questions
):
    """The probe is read in the same passes as the text, and then all of it again."""
    from bitloss.engines.dense.prefix_tree import states as states_module

    monkeypatch.setattr(states_module.Probe, "agrees", lambda self, flat, packed: False)
    whole_only(False)
    score(RunStore(tmp_path / "whole"), models, questions, "a", share_prefixes=True)
    whole_only(True)
    score(RunStore(tmp_path / "streamed"), models, questions, "a", share_prefixes=True)
    assert contents(tmp_path / "streamed") == contents(tmp_path / "whole")

    monkeypatch.undo()
    whole_only(True)
    monkeypatch.setattr(reading.Probe, "packed", lambda self: None)
    score(RunStore(tmp_path / "refused"), models, questions, "a", share_prefixes=True)
    assert contents(tmp_path / "refused") == contents(tmp_path / "whole")


def test_two_layers_at_most_have_weights(random_model, windows, monkeypatch):
    _, checkpoint = random_model("llama")
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    held = []
    run = layers_module.LayerPasses._pass

    def watched(self, index, works):
        layers = [sum(p.numel() for p in layer.parameters()) for layer in graph.body.layers]
        held.append(sum(size > 0 for size in layers))
        return run(self, index, works)

    monkeypatch.setattr(layers_module.LayerPasses, "_pass", watched)
    candidate = Candidate(opened(checkpoint), arithmetic="fp32")
    streamed(graph, checkpoint, windows, candidate)
    assert len(held) == len(graph.body.layers)
    assert max(held) <= 2
    assert all(not p.numel() for layer in graph.body.layers for p in layer.parameters())


def test_nan_names_its_layer(tmp_path, whole_only, models, windows):
    whole_only(True)
    scores = score(RunStore(tmp_path), models, windows, *models)
    faults = [error.message for error in scores.failed.values()]
    assert any("first in layer `model.layers.1" in message for message in faults), faults
    assert all(isinstance(e, NumericalError) or "layer" not in e.message
               for e in scores.failed.values())  # fmt: skip


def large(model):
    """The model, said to have seven billion parameters."""
    info = replace(model.identity.info, parameters=7 * 10**9)
    return replace(model, identity=replace(model.identity, info=info))


def test_simulations_need_the_whole_model(tmp_path, models, windows):
    """They are tried on all layers before a text is read."""
    reference = Candidate(models["reference"], arithmetic="fp32")
    setup = Setup(RunStore(tmp_path), reference, SilentProgress(), memory=8 * 10**9)
    scorer = make_scorer(setup, "dense")
    pieces = scorer.pieces(windows)
    serving = Serving(keys="fp8", values="fp8")
    stored = Candidate(large(models["a"]), arithmetic="fp32", serving=serving)
    with pytest.raises(UnsupportedModel, match=r"28\.0 GB in fp32 and have 8\.0 GB"):
        scorer.prepare(pieces, stored, [stored])


def test_memory_that_others_use_now_refuses_nothing(tmp_path, monkeypatch, models, windows):
    """What cannot be read a layer at a time is read as a whole unless the device is too small."""
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: Memory(10**9, 64 * 10**9))
    monkeypatch.setattr(reading, "ARCHITECTURES", {})
    reference = Candidate(models["reference"], arithmetic="fp32")
    scorer = make_scorer(Setup(RunStore(tmp_path), reference, SilentProgress()), "dense")
    pieces = scorer.pieces(windows)
    variant = Candidate(large(models["a"]), arithmetic="fp32")
    scorer.prepare(pieces, variant, [variant])
    monkeypatch.setattr(devices.psutil, "virtual_memory", lambda: Memory(10**9, 16 * 10**9))
    other = Candidate(large(models["b"]), arithmetic="fp32")
    with pytest.raises(UnsupportedModel, match=r"have 16\.0 GB"):
        scorer.prepare(pieces, other, [other])


def test_a_graph_is_whole_again_afterwards(random_model, windows):
    _, checkpoint = random_model("gemma2")
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    candidate = Candidate(opened(checkpoint), arithmetic="fp32")
    found = streamed(graph, checkpoint, windows, candidate)
    graph.load(checkpoint)
    assert torch.equal(torch.cat(list(hidden_states(graph, windows, 64))), found)


def test_layers_that_share_keys_are_not_taken_apart(random_model):
    _, checkpoint = random_model("llama")
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    assert can_stream(graph, checkpoint.config)
    assert not can_stream(graph, {**checkpoint.config, "model_type": "of-tomorrow"})
    graph.body.config.num_kv_shared_layers = 1
    assert not can_stream(graph, checkpoint.config)


def test_writing_needs_the_whole_model(models):
    reference = models["reference"]
    candidate = Candidate(large(reference), arithmetic="fp32")
    setup = TextSetup(reference.identity.config, str, (), memory=8 * 10**9)
    with pytest.raises(UnsupportedModel, match=r"take 28\.0 GB in fp32 and have 8\.0 GB") as error:
        DenseTextModel(candidate, setup)
    assert error.value.hint.startswith("raise --memory")
