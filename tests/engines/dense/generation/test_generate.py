"""Oracle: transformers' own `generate`, greedy, in float32, one prompt at a time."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitloss.engines.dense import precision
from bitloss.engines.dense.generation import decoder, kv_rows, one_by_one
from bitloss.engines.dense.generation import generate as module
from bitloss.engines.dense.generation.generate import generate, slots_within
from bitloss.engines.dense.generation.prefixes import share_prefixes
from bitloss.engines.generation.stopping import cut_at_stop
from bitloss.errors import CorpusError, NumericalError
from bitloss.formats import open_checkpoint
from bitloss.formats.tokenizers.loading import eos_ids, load_tokenizer
from bitloss.requests import Decoding, Generated, GenerateRequest
from bitloss.tasks.find import resolve_task
from peers.random_models import CONFIGS
from peers.writing import CONTEXT, NARROW, loaded, prompts, requests, run, talker, words

__all__ = ["talker"]


def of_transformers(model, all_prompts, count=12, eos=None):
    texts = []
    for prompt in all_prompts:
        ids = torch.from_numpy(prompt.astype(np.int64)).unsqueeze(0)
        made = model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=min(count, CONTEXT - len(prompt)),
            eos_token_id=eos,
            pad_token_id=0,
        )
        texts.append(words(made[0, len(prompt) :].tolist()))
    return texts


@pytest.mark.parametrize("architecture", [*CONFIGS, "gemma2-narrow"])
def test_greedy_ids_are_those_of_transformers(talker, architecture, monkeypatch):
    """Fewer slots than prompts, prompts read in pieces, and two that share 35 tokens of them."""
    monkeypatch.setitem(CONFIGS, "gemma2-narrow", NARROW)
    model, checkpoint = talker(architecture)
    asked = [*prompts([1, 3, 20, 45, 9]), *prompts([2, 8, 15], shared=35)]
    expected = of_transformers(model, asked)
    answers = run(loaded(checkpoint), requests(asked), slots=3, batch_tokens=16)
    assert [answer.text for answer in answers] == expected
    assert {answer.reason for answer in answers} == {"length"}
    assert len({token for text in expected for token in text.split()}) >= 8


@pytest.fixture
def forwards(monkeypatch):
    """Of each forward, the sequences that decode and the tokens of prompts."""
    seen = []

    def counted(graph, ids, positions, plan):
        seen.append((plan.sequences, len(ids) - len(plan.rows)))
        return real(graph, ids, positions, plan)

    real = decoder.packed_states
    monkeypatch.setattr(decoder, "packed_states", counted)
    return seen


@pytest.mark.parametrize("architecture", ["llama", "qwen2", "gemma2-narrow"])
def test_drafts_save_forwards_and_change_nothing(talker, architecture, forwards, monkeypatch):
    """Drafts that are right, that part and meet again, of another text, and of nothing."""
    monkeypatch.setitem(CONFIGS, "gemma2-narrow", NARROW)
    model, checkpoint = talker(architecture)
    asked = [*prompts([1, 20, 9]), *prompts([2, 8], shared=35)]
    expected = of_transformers(model, asked, 16)
    right = [np.array(text.split(), np.int32) for text in expected]
    parted = [np.insert(ids[:12], 4, [7, 8]) for ids in right]
    engine, counts = loaded(checkpoint), []
    for drafts in ([None] * 5, right, parted, right[::-1], [np.arange(3)] * 5):
        forwards.clear()
        given = [
            dataclasses.replace(request, draft=draft)
            for request, draft in zip(requests(asked, 16), drafts, strict=True)
        ]
        assert [answer.text for answer in run(engine, given)] == expected
        counts.append(len(forwards))
    # A token a forward takes 16; with no draft, or another one, what repeats itself is tried.
    assert counts[1] <= 16 / 3
    assert counts[1] < counts[2] < 16


def test_a_text_may_end_among_its_drafts(talker):
    """By an end-of-sequence token, a stop string, what is decided, and the number of tokens."""
    model, checkpoint = talker("qwen2")
    asked = prompts([5, 9])
    free = of_transformers(model, asked, 20)
    ids = [np.array(text.split(), np.int32) for text in free]
    engine = loaded(checkpoint)
    stop = f" {free[1].split()[7]} "
    for options, eos in (
        ({}, {int(ids[0][6])}),
        ({"stop": (stop,)}, ()),
        ({"decided": rf"{free[0].split()[5]} $"}, ()),
    ):
        plain = requests(asked, 13, **options)
        drafted = [dataclasses.replace(one, draft=own) for one, own in zip(plain, ids, strict=True)]
        assert run(engine, drafted, eos_ids=eos) == run(engine, plain, eos_ids=eos)


@pytest.fixture
def llama(talker):
    return loaded(talker("llama")[1])


def test_eos_ends_a_text_and_is_no_part_of_it(talker):
    model, checkpoint = talker("qwen2")
    asked = prompts([5, 9, 13, 30])
    free = of_transformers(model, asked, count=20)
    eos = int(free[1].split()[6])
    expected = [
        words(text.split(f" {eos} ")[0].split())
        for text in of_transformers(model, asked, count=20, eos=eos)
    ]
    answers = run(loaded(checkpoint), requests(asked, 20), eos_ids={eos, 100_000})
    assert [answer.text for answer in answers] == expected
    assert (answers[1].reason, answers[1].n_tokens) == ("eos", len(expected[1].split()) + 1)
    assert {"eos", "length"} >= {answer.reason for answer in answers}


@pytest.mark.parametrize("architecture", ["llama", "gemma2-narrow", "mistral"])
def test_sharing_changes_nothing_but_the_work(talker, monkeypatch, forwards, architecture):
    """A preamble, below it questions, below one of them four samples; against nothing shared."""
    monkeypatch.setitem(CONFIGS, "gemma2-narrow", NARROW)
    model = loaded(talker(architecture)[1])
    preamble = prompts([36])[0]
    asked = [np.concatenate([preamble, p]) for p in prompts([3, 5, 9, 2], seed=1)]
    asked[2:2] = [np.concatenate([asked[0], prompts([40])[0]])[:50]] * 4
    shared = run(model, requests(asked, 10))
    read_shared = sum(tokens for _, tokens in forwards)
    forwards.clear()
    monkeypatch.setattr(module, "share_prefixes", lambda p: share_prefixes(p, least=1000))
    assert run(model, requests(asked, 10)) == shared
    assert read_shared < sum(tokens for _, tokens in forwards) / 3


@pytest.mark.parametrize("growth", [1, 7, 64])
def test_slots_pieces_and_growth_change_nothing(llama, monkeypatch, growth):
    monkeypatch.setattr(kv_rows, "_GROWTH", growth)
    asked = requests(prompts([4, 30, 1, 17, 8, 3, 21, 40], seed=4), 15)
    expected = run(llama, asked, slots=1, batch_tokens=1)
    for count, tokens in [(64, 2048), (3, 5), (4, 4), (8, 64)]:
        assert run(llama, asked, slots=count, batch_tokens=tokens) == expected


def test_a_free_slot_is_refilled_at_once(llama, forwards):
    """12 texts of 2 to 24 tokens in 4 slots; the oracle is their sum."""
    counts = [24, 2, 2, 3, 2, 5, 2, 2, 8, 2, 2, 2]
    asked = [
        GenerateRequest(p, Decoding(n)) for p, n in zip(prompts([6] * 12), counts, strict=True)
    ]
    order = [index for index, _ in generate(
        *llama, asked, decode=words, eos_ids=(), context=CONTEXT, slots=4)]  # fmt: skip
    assert sum(rows for rows, _ in forwards) == sum(counts)
    assert sum(tokens for _, tokens in forwards) == 12 * 5
    assert max(rows for rows, _ in forwards) == 4
    # One forward reads the first four prompts. A text's first token comes in the forward after the
    # one that read its prompt, which the others need for their own next tokens.
    assert len(forwards) == 1 + counts[0]
    assert order[:2] == [1, 2]
    assert order[-1] == 0


def test_prompts_are_read_in_pieces_beside_the_decoding_ones(llama, forwards):
    run(llama, requests(prompts([40, 40, 40]), 6), slots=2, batch_tokens=16)
    assert all(rows + tokens <= 16 for rows, tokens in forwards)
    assert any(rows and tokens for rows, tokens in forwards)


def test_answers_come_as_they_are_done(llama, forwards):
    asked = [GenerateRequest(p, Decoding(n)) for p, n in zip(prompts([5, 5]), [9, 2], strict=True)]
    stream = generate(*llama, asked, decode=words, eos_ids=(), context=CONTEXT)
    assert not forwards
    assert next(stream)[0] == 1
    assert len(forwards) == 3
    assert next(stream)[0] == 0


def test_sampled_texts_depend_on_their_seed_alone(llama):
    options = {"temperature": 0.9, "top_p": 0.95}
    asked = requests([*prompts([7, 12, 40]), *[prompts([41])[0]] * 6], 12, **options)
    expected = run(llama, asked)
    assert len({answer.text for answer in expected}) == len(asked)
    assert run(llama, asked, slots=2, batch_tokens=8) == expected
    assert [run(llama, [request])[0] for request in asked] == expected
    assert run(llama, asked[::-1])[::-1] == expected
    again = [GenerateRequest(request.prompt, request.decoding, seed=3) for request in asked[3:]]
    assert {answer.text for answer in run(llama, again)} == {expected[3].text}


def test_sampled_tokens_follow_the_models_distribution(talker):
    """Chi-square of 600 seeds' first tokens against the softmax of transformers' logits."""
    model, checkpoint = talker("llama")
    prompt = prompts([6])[0]
    with torch.no_grad():
        logits = model(torch.from_numpy(prompt.astype(np.int64))[None]).logits[0, -1].double()
    p = (logits / 3).softmax(0).numpy()
    asked = [GenerateRequest(prompt, Decoding(1, temperature=3.0), seed) for seed in range(600)]
    found = np.bincount([int(a.text) for a in run(loaded(checkpoint), asked)], minlength=101)
    # Rare tokens are counted together; 99.9 % of a chi-square with k degrees of freedom lies below
    # k + 3.1 sqrt(2 k) + 6 for all k.
    common = p * 600 >= 5
    counts = np.append(found[common], found[~common].sum())
    expected = 600 * np.append(p[common], p[~common].sum())
    k = len(counts) - 1
    assert k >= 3
    assert ((counts - expected) ** 2 / expected).sum() < k + 3.1 * (2 * k) ** 0.5 + 6


@given(data=st.data())
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_stop_strings_cut_the_text_that_was_never_stopped(llama, data):
    asked = prompts([5, 9, 2, 14])
    whole = [answer.text for answer in run(llama, requests(asked))]
    pieces = st.builds(
        lambda text, at, size: text[at : at + size],
        st.sampled_from(whole), st.integers(0, 30), st.integers(1, 6),
    ).filter(bool)  # fmt: skip
    stop = tuple(data.draw(st.lists(pieces, min_size=1, max_size=3)))
    answers = run(llama, requests(asked, stop=stop), slots=data.draw(st.integers(1, 5)))
    for text, answer in zip(whole, answers, strict=True):
        assert answer.text == text[: cut_at_stop(text, stop)]
        assert answer.reason == ("length" if cut_at_stop(text, stop) is None else "stop")


def test_a_decided_text_ends_after_the_token_that_decides(llama):
    asked = prompts([5])
    whole = run(llama, requests(asked))[0].text.split()
    answer = run(llama, requests(asked, decided=rf"{whole[3]} $"))[0]
    n = whole.index(whole[3]) + 1
    assert answer == Generated("".join(f"{t} " for t in whole[:n]), n, "decided")


def test_the_context_ends_a_text(llama):
    answers = run(llama, requests(prompts([60, 63, 5]), 30))
    assert [answer.n_tokens for answer in answers] == [4, 1, 30]
    assert {answer.reason for answer in answers} == {"length"}


def test_no_tokens_and_no_requests(llama, forwards):
    assert run(llama, []) == []
    assert run(llama, requests(prompts([5]), 0)) == [Generated("", 0, "length")]
    assert not forwards


def test_prompts_that_do_not_fit_are_named_before_anything_runs(llama, forwards):
    for size, match in [(64, r"llama-0: request 1 has a prompt of 64 tokens"), (0, "of 0 tokens")]:
        with pytest.raises(CorpusError, match=match):
            generate(*llama, requests(prompts([5, size])), decode=words, eos_ids=(), context=64)
    bad = prompts([5])
    bad[0][2] = 101
    with pytest.raises(CorpusError, match="request 0 has token 101; the model knows 0 to 100"):
        generate(*llama, requests(bad), decode=words, eos_ids=(), context=64)
    assert not forwards


@pytest.mark.parametrize("cached", [True, False])
def test_models_that_cannot_be_packed_write_one_text_after_the_other(talker, cached, monkeypatch):
    """With a cache, and where a cache changes anything, without one."""
    model, checkpoint = talker("llama")
    graph, head = loaded(checkpoint)
    graph.packs = False
    asked = prompts([1, 9, 20])
    if not cached:
        monkeypatch.setattr(one_by_one, "_CACHES", ())
    answers = run((graph, head), requests(asked))
    assert [answer.text for answer in answers] == of_transformers(model, asked)
    short = run((graph, head), requests(asked), context=21)
    assert [answer.n_tokens for answer in short] == [12, 12, 1]


def test_a_cache_that_changes_states_is_not_used(talker, monkeypatch):
    _, checkpoint = talker("llama")
    graph, _ = loaded(checkpoint)
    assert one_by_one._Reader(graph)._name is not None
    monkeypatch.setattr(
        one_by_one._Reader, "_cached", lambda self, ids: 1.1 * torch.ones(len(ids), 32)
    )
    assert one_by_one._Reader(graph)._name is None


def test_rows_that_only_pad_the_head_are_never_chosen(llama):
    graph, head = llama
    asked = requests(prompts([5, 9]))
    padding = 1000 * head.weight[:1].sign() * torch.ones(3, 1)
    padded = dataclasses.replace(head, weight=torch.cat([head.weight, padding, -padding]))
    assert run((graph, padded), asked) == run(llama, asked)


def test_nan_names_the_model(talker):
    _, checkpoint = talker("llama")
    checkpoint.tensors["model.layers.1.mlp.up_proj.weight"][3, 5] = torch.nan
    with pytest.raises(NumericalError, match="llama-0"):
        run(loaded(checkpoint), requests(prompts([5])))


def test_slots_follow_the_memory():
    """By hand: rows of 30 tokens, one prefix of 40, 10 + 30 tokens passing, 2 bytes each."""
    tasks = share_prefixes([np.append(np.arange(40), n).astype(np.int32) for n in (50, 51, 52)])
    options = {"token_bytes": 2, "batch_tokens": 10}
    fits = (3 * 30 + 40 + 40) * 2
    assert slots_within(fits, 64, tasks, 30, **options) == 3
    assert slots_within(fits, 2, tasks, 30, **options) == 2
    assert slots_within(fits - 1, 64, tasks, 30, **options) == 2
    assert slots_within(0, 64, tasks, 30, **options) == 1


def test_memory_changes_nothing_but_the_slots(llama, forwards):
    asked = requests(prompts([9, 12, 30, 5]))
    expected = run(llama, asked)
    # 2 layers, 2 key heads of 8 in float32: 256 bytes a token, 64 tokens a row that has 41.
    forwards.clear()
    assert run(llama, asked, memory=256 * (2 * 64 + 64 + 16), batch_tokens=16) == expected
    assert max(rows for rows, _ in forwards) == 2


@pytest.mark.parametrize("amx", [True, False])
def test_bf16_attends_in_float32_without_amx(talker, monkeypatch, amx):
    monkeypatch.setattr(precision, "has_amx", lambda: amx)
    model = loaded(talker("mistral")[1], precision="bf16")
    kept = []
    monkeypatch.setattr(
        kv_rows.SequenceKVCache,
        "insert",
        lambda self, row, prefix: kept.append(prefix.layers[0][0].dtype),
    )
    run(model, requests(prompts([20]), 1))
    assert kept == [torch.bfloat16 if amx else torch.float32]


@pytest.mark.parametrize("name", ["pocket_math", "pocket_code"])
def test_real_text_of_a_trained_model(pocket, name):
    """Greedy, with the task's own prompts and stop strings; its answers have a beginning to match.

    Oracle: transformers' `generate`, its text cut at the first stop string.
    """
    from transformers import AutoModelForCausalLM

    task = resolve_task(name)
    items = task.load(None).items[:8]
    tokenizer = load_tokenizer(pocket)
    asked = [tokenizer.encode(item.prompt.text, special=True) for item in items]
    stop = task.facts.decoding.stop
    model = AutoModelForCausalLM.from_pretrained(pocket, dtype=torch.float32).eval()
    expected = []
    for ids in asked:
        whole = model.generate(
            torch.from_numpy(ids.astype(np.int64))[None], do_sample=False, max_new_tokens=40,
            attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        )  # fmt: skip
        text = tokenizer.hf.decode(whole[0, len(ids) :], skip_special_tokens=True)
        for string in stop:
            text = text.split(string)[0]
        expected.append(text)
    answers = run(
        loaded(open_checkpoint(pocket)),
        requests(asked, 40, stop=stop),
        decode=tokenizer.decode,
        eos_ids=eos_ids(tokenizer, pocket),
        context=1024,
    )
    assert [answer.text for answer in answers] == expected
