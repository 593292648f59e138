"""The engine against models behind servers that behave, and some that do not. Oracle: the logits
that the server itself has.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bitloss.engines.evaluate import evaluate, load_engine, make_scorer
from bitloss.engines.values import Setup, TextSetup, Work
from bitloss.errors import (
    BitlossError,
    Incomparable,
    NumericalError,
    ServerError,
    UnsupportedModel,
    UsageError,
)
from bitloss.requests import Decoding, GenerateRequest
from bitloss.runner.store import RunStore
from bitloss.types import SilentProgress
from engines import text_checks
from peers.model_server import Answer, ModelServer, serve
from peers.served_engine import (
    Words,
    candidate,
    encode,
    running,
    score,
    served,
    some_windows,
    text_model,
)
from peers.tiny import VOCABULARY, save_pair


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_pair(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder / "variant", dtype=torch.float32).eval()


@pytest.mark.parametrize("style", ["vllm", "text", "llama-server"])
def test_it_scores(model: Any, folder: Path, tmp_path: Path, style: str) -> None:
    given = served(model, style=style)
    with running(given) as (_, engine):
        assert engine.abilities == {"score", "generate"}
        found = score(engine, folder, tmp_path / "run")
    theirs = np.concatenate([given.logs(w.ids.tolist())[w.first - 1 : -1] for w in some_windows()])
    targets = np.concatenate([w.ids[w.first :] for w in some_windows()])
    dense = load_engine("dense")
    reference = candidate(folder, "reference", "dense")
    setup = Setup(RunStore(tmp_path / "dense"), reference, SilentProgress(), batch_tokens=64)
    scorer = make_scorer(setup, "dense")
    own = candidate(folder, "variant", "dense")
    records = evaluate(scorer, scorer.pieces(some_windows()), [own]).records_of(own)
    names = ("nll", "kl_divergence", "same_top1", "delta_p", "reference_nll")
    exact = setup.store.read_records(records, names)
    assert dense.name == "dense"
    np.testing.assert_allclose(found["nll"], -theirs[np.arange(len(targets)), targets], rtol=1e-5)
    for name in ("nll", "delta_p", "reference_nll"):
        np.testing.assert_allclose(found[name], exact[name], rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(found["same_top1"], exact["same_top1"])
    assert (found["kl_divergence_topk"] <= exact["kl_divergence"] + 1e-6).all()
    assert found["kl_divergence_topk"].mean() > 0.2 * exact["kl_divergence"].mean()
    np.testing.assert_array_equal(found["token"], targets)


def test_faults_of_the_server_are_never_scores(model: Any, folder: Path, tmp_path: Path) -> None:
    """Faults that pass change nothing; those that stay are errors, and nothing is written."""
    with running(served(model)) as (server, engine):
        expected = score(engine, folder, tmp_path / "a")
        server.faults += [Answer({}, 429, {"retry-after": "0"}), None, Answer(b"{"), None]
        again = score(engine, folder, tmp_path / "b")
        for name, column in expected.items():
            np.testing.assert_array_equal(again[name], column)
        server.routes["/v1/completions"] = lambda body: Answer({"error": "broken"}, 400)
        with pytest.raises(ServerError, match="broken"):
            score(engine, folder, tmp_path / "c")


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"answers_as": "other"}, ServerError, "expected an answer of `variant`, got one of `oth"),
        ({"context": 60}, ServerError, "fits the served model's context"),
        ({"name": "another"}, UnsupportedModel, "expected a model that server .* are `another`"),
        ({"constant": 0.5}, NumericalError, "log-probability of at most 0, got 0.5"),
        ({"constant": -0.01}, Incomparable, "add up to at most 1"),
    ],
)
def test_what_is_wrong_is_refused_in_a_line(
    model: Any, folder: Path, tmp_path: Path, change: Any, error: type[BitlossError], match: str
) -> None:
    given = served(model)
    for name, value in change.items():
        setattr(given, name, value)
    with running(given) as (_, engine), pytest.raises(error, match=match) as raised:
        score(engine, folder, tmp_path)
    assert "\n" not in raised.value.message
    assert raised.value.hint


def test_addresses_and_names(model: Any, folder: Path) -> None:
    with pytest.raises(UsageError, match="expected an address"):
        load_engine("server")
    with pytest.raises(UsageError, match="has no address"):
        load_engine("dense=http://127.0.0.1:1")
    locked = serve(served(model).server(key="sk-secret"))
    with locked as server, pytest.raises(ServerError, match="API key"):
        load_engine(f"server={server.url}")
    with running(served(model)) as (server, engine):
        alias = load_engine(f"server={server.url}#variant")
        assert (engine.only, alias.only) == ("", "variant")
        with pytest.raises(UnsupportedModel, match="serves, which are `variant`"):
            load_engine(f"server={server.url}#absent")
        given = candidate(folder, "variant", engine.name)
        setup = TextSetup(given.model.identity.config, Words().text, (1,), tokenizer=Words())
        with pytest.raises(UnsupportedModel, match="cannot run the reference"):
            engine.text_model(replace(given, alone=True), setup)
        same = engine.identity(given, batch_tokens=64)
        with running(served(model, style="text")) as (_, other):
            assert same["settings"] != other.identity(given, batch_tokens=64)["settings"]


def test_a_server_without_log_probabilities_says_so(model: Any) -> None:
    with running(served(model, style="writes")) as (_, engine):
        assert engine.abilities == {"generate"}
        assert engine.lacks == ("no prompts of token ids", "no log-probabilities of a prompt")


@pytest.mark.parametrize("check", text_checks.TEXT_CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("style", ["vllm", "text", "llama-server"])
def test_it_writes(model: Any, folder: Path, check: Any, style: str) -> None:
    if style == "text" and check is text_checks.check_a_decided_text_ends_early:
        pytest.skip("of a text alone it is not known where a token ends")
    given = served(model, style=style)
    with running(given) as (_, engine):
        writer, context = text_model(engine, folder)
        given.context = context
        facts = text_checks.Facts(VOCABULARY, context, given.logits, Words().text, (1,))
        check(writer, facts)


def test_llama_server_is_known_by_what_it_answers(model: Any, folder: Path) -> None:
    """A bias that is part of the log-probabilities would make every token certain."""
    with running(served(model, style="llama-server")) as (server, engine):
        offers = engine.settings["offers"]
        assert (offers["scoring"], offers["native"], offers["top"]) == ("positions", True, 20)
        assert engine.lacks == ()
        whole = server.routes["/completion"]
    for change in (
        {"completion_probabilities": []},
        {"tokens": [3]},
        {"completion_probabilities": [{"id": 41, "logprob": -1.0}]},
    ):
        server = served(model, style="llama-server").server()
        server.routes["/completion"] = lambda body, change=change: {**whole(body), **change}
        with serve(server):
            assert load_engine(f"server={server.url}").abilities == {"generate"}
    with running(served(model, style="llama-server", biased=True)) as (_, engine):
        assert engine.abilities == {"generate"}


@pytest.mark.parametrize(
    "change", [{"tokens_evaluated": 3}, {"truncated": True}, {"tokens": [2]}, {"tokens": []}]
)
def test_a_position_of_another_prompt_is_no_score(
    model: Any, folder: Path, tmp_path: Path, change: Any
) -> None:
    with running(served(model, style="llama-server")) as (server, engine):
        whole = server.routes["/completion"]
        server.routes["/completion"] = lambda body: {**whole(body), **change}
        with pytest.raises(ServerError, match=r"expected (a prompt of|the log-probability)"):
            score(engine, folder, tmp_path)


@pytest.mark.parametrize("style", ["vllm", "text", "llama-server"])
def test_a_text_that_ends_where_the_served_context_is_full_is_an_error(
    model: Any, folder: Path, style: str
) -> None:
    """llama-server calls it `limit`, as if all tokens that were asked for had been written."""
    with running(served(model, style=style, room=14)) as (_, engine):
        writer, _ = text_model(engine, folder)
        request = GenerateRequest(np.arange(5, 14, dtype=np.int32), Decoding(12))
        with pytest.raises(ServerError, match="room for 12 tokens after a prompt of 9, got a text"):
            list(writer.generate([request]))


@pytest.mark.parametrize("style", ["vllm", "text", "llama-server", "writes"])
def test_a_plan_times_requests(model: Any, folder: Path, style: str) -> None:
    """Twice the work takes twice the time; nothing is asked of the server without a plan."""
    with running(served(model, style=style)) as (server, engine):
        facts = {"arithmetic": "fp32", "device": "cpu"}
        identity = candidate(folder, "variant", engine.name).model.identity
        asked = len(server.requests)
        assert engine.cost(Work(read=9), identity, measure=False, **facts).seconds is None
        assert len(server.requests) == asked
        once, twice = (
            engine.cost(Work(read=n, scored=n, written=n), identity, measure=True, **facts).seconds
            for n in (100, 200)
        )
        written = engine.cost(Work(written=100), identity, measure=True, **facts).seconds
    assert len(server.requests) - asked <= 3
    assert written is not None
    assert written > 0
    if style == "writes":
        assert once is None
    else:
        assert once > written
        assert twice == pytest.approx(2 * once)
    assert "timed" in engine.timing


def test_faults_while_writing(model: Any, folder: Path) -> None:
    prompts = np.random.default_rng(5).integers(2, VOCABULARY, (12, 9)).astype(np.int32)
    requests = [GenerateRequest(ids, Decoding(6), seed) for seed, ids in enumerate(prompts)]
    with running(served(model)) as (server, engine):
        writer, _ = text_model(engine, folder)
        expected = dict(writer.generate(requests))
        server.faults += [Answer({}, 429, {"retry-after": "0"}), Answer({"a": 1}, cut=3), None]
        assert dict(writer.generate(requests)) == expected
        whole = server.routes["/v1/completions"]
        for change in ({"finish_reason": None}, {"finish_reason": "content_filter"}):

            def changed(body: Any, change: Any = change) -> Any:
                answer = whole(body)
                answer["choices"][0] |= change
                return answer

            server.routes["/v1/completions"] = changed
            with pytest.raises(ServerError, match="ended by `stop` or `length`"):
                dict(writer.generate(requests))
        server.routes["/v1/completions"] = lambda body: {**whole(body), "choices": []}
        with pytest.raises(ServerError, match="got `no choice`"):
            dict(writer.generate(requests))


def test_settings_of_the_server_do_not_decide_how_tokens_are_drawn(
    model: Any, folder: Path
) -> None:
    given = served(model)
    with running(given) as (_, engine):
        writer, _ = text_model(engine, folder)
        decoding = Decoding(3, stop=("a", "b", "c", "d", "e"), temperature=0.7, top_p=0.9)
        list(writer.generate([GenerateRequest(np.array([5, 6], np.int32), decoding, 1 << 40)]))
    body = given.seen[-1]
    assert body["prompt"] == [5, 6]
    assert (body["temperature"], body["top_p"], body["max_tokens"]) == (0.7, 0.9, 3)
    assert (body["top_k"], body["min_p"], body["repetition_penalty"]) == (0, 0, 1.0)
    assert len(body["stop"]) == 4
    assert 0 <= body["seed"] < 1 << 31


def test_chat_is_used_where_there_is_nothing_else(model: Any, folder: Path) -> None:
    def chat(body: Any) -> Any:
        message = {"role": "assistant", "content": f" {body['messages'][0]['content']} stop 9"}
        return {
            "model": "variant",
            "choices": [{"message": message, "finish_reason": "stop"}],
            "usage": {"completion_tokens": 4},
        }

    server = served(model).server()
    del server.routes["/v1/completions"]
    server.routes["/v1/chat/completions"] = chat
    with serve(server):
        engine = load_engine(f"server={server.url}")
        assert engine.abilities == {"generate"}
        assert engine.lacks[0] == "no completions, only chat"
        writer, _ = text_model(engine, folder)
        request = GenerateRequest(np.array([5, 6], np.int32), Decoding(9, stop=("stop",)))
        ((_, found),) = writer.generate([request])
        assert found.text.split() == ["5", "6"]
        assert "with its own chat template" in engine.notes[0]
        del server.routes["/v1/chat/completions"]
    for models, match in (
        ([{"id": "m"}], "expected completions or chat for `m`, got neither"),
        ([], "expected a list of models"),
    ):
        bare = ModelServer({"/v1/models": lambda body, models=models: {"data": models}})
        with serve(bare), pytest.raises(ServerError, match=match):
            load_engine(f"server={bare.url}")


def test_other_tokens_are_refused(model: Any, folder: Path, tmp_path: Path) -> None:
    """A text-only server that tells what it reads, and reads something else."""
    server = served(model, style="text").server()
    server.routes["/tokenize"] = lambda body: {"tokens": [3, *encode(body["content"])]}
    with serve(server):
        engine = load_engine(f"server={server.url}")
        with pytest.raises(
            Incomparable, match=r"has a different tokenizer: of .* expected .* at 0, got"
        ):
            score(engine, folder, tmp_path)


@pytest.mark.parametrize("style", ["text", "llama-server"])
def test_texts_of_tokens_are_compared_where_texts_are_all_that_is_had(
    model: Any, folder: Path, style: str
) -> None:
    """Where ids are had, the run's own tokenizer makes the texts."""
    server = served(model, style=style).server()
    asked: list[str] = []

    def tokenize(body: Any) -> Any:
        asked.append(body["content"])
        return {"tokens": encode(body["content"])}

    server.routes["/tokenize"] = tokenize
    server.routes["/detokenize"] = lambda body: {"content": " other"}
    with serve(server):
        engine = load_engine(f"server={server.url}")
        if style == "llama-server":
            text_model(engine, folder)
        else:
            with pytest.raises(Incomparable, match=r"decodes tokens to other text: of .* expected"):
                text_model(engine, folder)
    assert "" in asked
    assert any("\r\n" in text for text in asked)
    assert "reference's on texts and tokens" in engine.notes[0]
    with running(served(model, style=style)) as (_, engine):
        assert engine.notes == (
            "the server does not return token ids: only their number is compared",
        )
