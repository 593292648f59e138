"""What every engine that writes has to pass: functions ``(model, facts)`` of a loaded text model.

An engine's own test opens a small model, states the facts about it, and runs all `TEXT_CHECKS`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from bitloss.engines.base import TextModel
from bitloss.errors import CorpusError
from bitloss.requests import Decoding, Generated, GenerateRequest, Thinking
from bitloss.types import IntArray

__all__ = ["TEXT_CHECKS", "Facts", "some_prompts"]


@dataclass(frozen=True)
class Facts:
    """Of the model under test.

    Attributes:
        vocabulary: tokens it knows, at least 32.
        context: tokens it reads at once, at least 64.
        logits: its full next-token logits by another implementation, ids to
            ``[len(ids), vocabulary]`` in float64; None where there is none.
        decode: ids to text, as the model was told; None where it decodes by itself.
        eos_ids: tokens that end a generated text.
    """

    vocabulary: int
    context: int
    logits: Callable[[IntArray], np.ndarray] | None = None
    decode: Callable[[Sequence[int]], str] | None = None
    eos_ids: Collection[int] = ()


def some_prompts(facts: Facts) -> list[IntArray]:
    """Prompts of one token and more; some share 40 tokens, two are equal."""
    rng = np.random.default_rng(3)

    def some(n: int) -> IntArray:
        return rng.integers(2, facts.vocabulary, n).astype(np.int32)

    preamble = some(40)
    questions = [np.concatenate([preamble, some(n)]) for n in (4, 1, 9)]
    return [some(1), questions[0], some(23), questions[1], questions[0], some(5), questions[2]]


def _texts(
    model: TextModel, prompts: Sequence[IntArray], decoding: Decoding, seed: int = 0
) -> list[Generated]:
    requests = [GenerateRequest(ids, decoding, seed + n) for n, ids in enumerate(prompts)]
    answers = dict(model.generate(requests))
    assert sorted(answers) == list(range(len(prompts)))
    return [answers[n] for n in range(len(prompts))]


def check_greedy_texts_are_the_likeliest_tokens(model: TextModel, facts: Facts) -> None:
    """Token by token the largest of the full logits, up to the end-of-sequence token."""
    if facts.logits is None or facts.decode is None:
        pytest.skip("no other implementation of this model")
    prompts = some_prompts(facts)
    for prompt, found in zip(prompts, _texts(model, prompts, Decoding(8)), strict=True):
        ids = list(prompt)
        reason = "length"
        while len(ids) < len(prompt) + 8:
            token = int(facts.logits(np.array(ids, np.int32))[-1].argmax())
            if token in facts.eos_ids:
                reason = "eos"
                break
            ids.append(token)
        written = ids[len(prompt) :]
        n_tokens = len(written) + (reason == "eos")
        assert found == Generated(facts.decode(written), n_tokens, reason)


def check_company_changes_no_text(model: TextModel, facts: Facts) -> None:
    """Greedy and sampled, a prompt alone gets the text that it gets among others."""
    prompts = some_prompts(facts)
    for decoding in (Decoding(8), Decoding(8, temperature=1.0, top_p=0.9)):
        together = _texts(model, prompts, decoding)
        for n, prompt in enumerate(prompts):
            assert _texts(model, [prompt], decoding, seed=n) == [together[n]]


def check_drafts_change_no_text(model: TextModel, facts: Facts) -> None:
    """What another model wrote here is tried at most: whether it is right, wrong, or nonsense."""
    prompts = some_prompts(facts)
    rng = np.random.default_rng(5)
    drafts = [rng.integers(0, facts.vocabulary, 12).astype(np.int32) for _ in prompts]
    if facts.logits is not None and len(set(facts.eos_ids)) < 2:  # what it is going to write
        for prompt, draft in zip(prompts[::2], drafts[::2], strict=False):
            ids = list(prompt)
            for _ in range(6):
                ids.append(int(facts.logits(np.array(ids, np.int32))[-1].argmax()))
            draft[:6] = ids[-6:]
    for decoding in (Decoding(8), Decoding(8, temperature=1.0)):
        requests = [GenerateRequest(ids, decoding, n) for n, ids in enumerate(prompts)]
        drafted = [replace(r, draft=ids) for r, ids in zip(requests, drafts, strict=True)]
        assert dict(model.generate(drafted)) == dict(model.generate(requests))


def check_seeds_make_the_difference(model: TextModel, facts: Facts) -> None:
    """One prompt, hot: the same seed writes the same again, eight seeds do not all."""
    prompt = some_prompts(facts)[1]
    decoding = Decoding(8, temperature=2.0)
    requests = [GenerateRequest(prompt, decoding, seed) for seed in (*range(8), 3)]
    answers = dict(model.generate(requests))
    assert answers[8] == answers[3]
    assert len({answers[n].text for n in range(8)}) > 1


def check_stop_strings_end_a_text(model: TextModel, facts: Facts) -> None:
    """What is written up to a piece of its own text is what is written without stopping, cut."""
    prompts = some_prompts(facts)
    for prompt, free in zip(prompts, _texts(model, prompts, Decoding(8)), strict=True):
        stop = free.text[len(free.text) // 2 :][:3]
        if not stop:
            continue
        (found,) = _texts(model, [prompt], Decoding(8, stop=(stop, "no such text")))
        assert found.text == free.text[: free.text.index(stop)]
        assert found.reason == "stop"
        assert found.n_tokens <= free.n_tokens


def check_a_decided_text_ends_early(model: TextModel, facts: Facts) -> None:
    """A regular expression that always matches leaves one token."""
    for found in _texts(model, some_prompts(facts), Decoding(8, decided="")):
        assert found.n_tokens == 1
        assert found.reason in ("decided", "eos")


def check_a_text_ends_with_the_context(model: TextModel, facts: Facts) -> None:
    """Prompt and text together fill the context; a prompt that leaves no room is refused."""
    ids = (np.arange(facts.context) % (facts.vocabulary - 2) + 2).astype(np.int32)
    (found,) = _texts(model, [ids[:-2]], Decoding(8))
    assert found.n_tokens <= 2
    assert found.reason in ("length", "eos")
    good = GenerateRequest(ids[:5], Decoding(2))
    with pytest.raises(CorpusError, match="request 1 "):
        list(model.generate([good, GenerateRequest(ids, Decoding(1))]))


def check_thinking_has_tokens_of_its_own(model: TextModel, facts: Facts) -> None:
    """Marks that are never written: all of an opened text is thinking, and spends its budget; a
    text that does not begin with the mark is an answer. A mark that is: what follows it is one.
    """
    prompts = some_prompts(facts)
    never = Thinking("no such begin", "no such end", budget=12)
    for free, thought, answer in zip(
        _texts(model, prompts, Decoding(12)),
        _texts(model, prompts, Decoding(2, thinking=replace(never, opened=True))),
        _texts(model, prompts, Decoding(12, thinking=replace(never, budget=None))),
        strict=True,
    ):
        assert (thought.text, thought.answered) == ("", False)
        assert (thought.n_tokens, thought.reason) == (free.n_tokens, free.reason)
        assert thought.n_thinking == thought.n_tokens
        assert (answer.text, answer.thinking, answer.n_thinking) == (free.text, "", 0)
    for prompt, free in zip(prompts, _texts(model, prompts, Decoding(12)), strict=True):
        mark = free.text[len(free.text) // 2 :][:1]
        if not mark.strip() or "\ufffd" in free.text:
            continue
        thinking = Thinking("no such begin", mark, budget=12, opened=True)
        (found,) = _texts(model, [prompt], Decoding(4, thinking=thinking))
        before, _, after = free.text.partition(mark)
        assert found.thinking == before.strip()
        assert 0 < found.n_thinking <= found.n_tokens
        assert found.n_tokens - found.n_thinking <= 4
        assert after.lstrip("\n").startswith(found.text) or found.text.startswith(
            after.lstrip("\n")
        )


def check_nothing_is_to_be_written(model: TextModel, facts: Facts) -> None:
    """No requests."""
    assert list(model.generate([])) == []


TEXT_CHECKS = (
    check_greedy_texts_are_the_likeliest_tokens,
    check_company_changes_no_text,
    check_drafts_change_no_text,
    check_seeds_make_the_difference,
    check_stop_strings_end_a_text,
    check_a_decided_text_ends_early,
    check_a_text_ends_with_the_context,
    check_nothing_is_to_be_written,
    check_thinking_has_tokens_of_its_own,
)
