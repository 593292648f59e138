"""`BitlossLM` over the stand-in of the harness; the oracle is transformers' own forward pass, and
`bitloss.compare`'s writer for texts.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import bitloss
from bitloss.errors import MissingDependency, UsageError
from peers.harness import stand_in

POCKET = Path(bitloss.__file__).parent / "models" / "pocket"


@pytest.fixture(autouse=True)
def harness() -> Iterator[None]:
    with stand_in():
        yield


@pytest.fixture
def model() -> Any:
    return make()


def make(**settings: Any) -> Any:
    from bitloss.lm_eval.model import BitlossLM

    return BitlossLM(str(POCKET), **settings)


def asked(kind: str, *arguments: Any) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, own, 0, ("t", at, 1)) for at, own in enumerate(arguments)]


def expected(ids: list[int], first: int) -> tuple[float, bool]:
    """Log-probability of ``ids[first:]`` and whether they are greedy, by transformers."""
    oracle = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32)
    with torch.no_grad():
        rows = oracle(torch.tensor([ids[:-1]])).logits[0, first - 1 :].log_softmax(-1)
    targets = torch.tensor(ids[first:])
    own = rows.gather(1, targets[:, None])[:, 0]
    return float(own.sum()), bool((rows.argmax(-1) == targets).all())


def test_loglikelihood(model: Any) -> None:
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    pairs = [("2 + 3 =", " 5"), ("2 + 3 =", " 51"), ("two and ", "three"), ("", "three")]
    found = model.loglikelihood(asked("loglikelihood", *pairs))
    for (context, continuation), (logprob, greedy) in zip(pairs, found, strict=True):
        whole = tokenizer.encode(context + continuation)
        first = len(tokenizer.encode(context.rstrip()))
        if not context:
            own = tokenizer.encode(continuation, add_special_tokens=False)
            whole, first = [model.prefix_token_id, *own], 1
        theirs = expected(whole, first)
        assert logprob == pytest.approx(theirs[0], abs=1e-4)
        assert greedy == theirs[1]
    assert [kept[1] for kept in model.cache_hook.kept] == pairs


def test_what_does_not_fit_is_cut_from_the_left() -> None:
    model = make(max_length=6)
    ids = model.tok_encode("one two three four five six seven eight nine")
    context = "one two three four five six seven eight"
    ((logprob, _),) = model.loglikelihood(asked("loglikelihood", (context, " nine")))
    own = len(ids) - len(model.tok_encode(context))
    assert logprob == pytest.approx(expected(ids[-7:], 7 - own)[0], abs=1e-4)


@pytest.mark.parametrize("length", [4, 9, 1024])
def test_loglikelihood_rolling(length: int) -> None:
    model = make(max_length=length)
    text = "The baker sells bread. The smith makes nails for the town."
    (found,) = model.loglikelihood_rolling(asked("loglikelihood_rolling", (text,)))
    ids = [model.prefix_token_id, *model.tok_encode(text)]
    total = 0.0
    for at in range(1, len(ids), length):
        stop = min(at + length, len(ids))
        begin = max(0, stop - 1 - length)
        total += expected(ids[begin:stop], at - begin)[0]
    assert found == pytest.approx(total, rel=3e-5)  # float32 sums in another order


def test_generate_until(model: Any) -> None:
    settings = {"until": ["\n"], "max_gen_toks": 12, "do_sample": False}
    prompts = ["The baker", "2 + 3 ="]
    found = model.generate_until(asked("generate_until", *((text, settings) for text in prompts)))
    oracle = AutoModelForCausalLM.from_pretrained(POCKET, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(POCKET)
    for prompt, text in zip(prompts, found, strict=True):
        ids = torch.tensor([tokenizer.encode(prompt)])
        written = oracle.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=12, do_sample=False,
            pad_token_id=0,
        )[0, ids.shape[1] :]  # fmt: skip
        assert text == tokenizer.decode(written, skip_special_tokens=True).split("\n")[0]


def test_an_engine_that_gives_logits(monkeypatch: pytest.MonkeyPatch, model: Any) -> None:
    """The way of llama.cpp and other engines without a scorer of their own."""
    from dataclasses import replace

    pairs = [("2 + 3 =", " 5"), ("The baker", " sells bread")]
    fast = model.loglikelihood(asked("loglikelihood", *pairs))
    engine = replace(model._asked.engine, scorer=None)
    monkeypatch.setattr(model, "_asked", replace(model._asked, engine=engine))
    slow = model.loglikelihood(asked("loglikelihood", *pairs))
    np.testing.assert_allclose([a for a, _ in slow], [a for a, _ in fast], atol=1e-4)
    assert [b for _, b in slow] == [b for _, b in fast]


def test_it_is_registered(model: Any) -> None:
    from lm_eval.api.registry import MODELS

    assert MODELS["bitloss"] is type(model)
    assert model.get_model_info()["bitloss_engine"]["engine"] == "dense"
    assert model.tokenizer_name.startswith("bitloss-")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_length": 5000}, "expected `max_length` of 2 to 1024"),
        ({"pretrained": "other"}, "expected one model"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        make(**settings)


def test_a_continuation_longer_than_the_context() -> None:
    model = make(max_length=3)
    with pytest.raises(UsageError, match="expected a continuation of 1 to 3 tokens"):
        model.loglikelihood(asked("loglikelihood", ("a", " b c d e f g h i j k")))


def test_the_command_line_without_the_harness(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from bitloss.lm_eval import __main__ as command

    def missing(name: str) -> None:
        raise ModuleNotFoundError("No module named 'lm_eval'", name="lm_eval")

    monkeypatch.setattr(command.importlib, "import_module", missing)
    assert command.main() == MissingDependency.exit_code
    assert 'hint: pip install "bitloss[lm-eval]"' in capsys.readouterr().err
    assert sys.exc_info() == (None, None, None)


def test_the_harness_s_default_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """It passes ``cuda:0`` unless told otherwise; its own `hf` then takes the CPU."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make(device="cuda:0")._asked.candidate.device == "cpu"
