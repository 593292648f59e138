"""From records to figures; expected values by hand or by plain numpy."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from bitloss.analysis.corpora import analyse_corpus, analyse_reference
from bitloss.errors import NumericalError
from bitloss.results import NoiseFloor
from bitloss.types import TokenRecords
from example_run import LENGTH, N_WINDOWS, make_corpus, make_records


def test_figures_are_plain_means() -> None:
    records = make_records()
    found = analyse_corpus(records, make_corpus(), dtype="fp32", seed=0)
    nll, reference = records.nll.astype(float), records.reference_nll.astype(float)
    assert found.perplexity == pytest.approx(math.exp(nll.mean()), rel=1e-12)
    assert found.reference_perplexity == pytest.approx(math.exp(reference.mean()), rel=1e-12)
    assert found.relative_perplexity.value == pytest.approx(
        found.perplexity / found.reference_perplexity, rel=1e-12
    )
    kl = records.kl_divergence.astype(float)
    assert found.kl_divergence.mean == pytest.approx(kl.mean(), rel=1e-12)
    assert found.kl_divergence.p99 == pytest.approx(np.quantile(kl, 0.99), rel=1e-12)
    assert found.kl_divergence.max == kl.max()
    assert found.top1_agreement.value == pytest.approx(records.same_top1.mean(), rel=1e-12)
    assert found.overlap.value == pytest.approx(records.overlap.astype(float).mean(), rel=1e-12)
    delta = records.delta_p.astype(float)
    assert found.delta_p.mean == pytest.approx(delta.mean(), rel=1e-12)
    assert found.delta_p.rms == pytest.approx(np.sqrt((delta**2).mean()), rel=1e-12)
    assert found.entropy.value == pytest.approx(records.entropy.astype(float).mean(), rel=1e-12)
    # 1,700 tokens stand for 6,800 bytes: a quarter of the loss in bits.
    assert found.bits_per_byte == pytest.approx(nll.mean() / math.log(2) / 4, rel=1e-12)
    assert (found.n_scored, found.n_total, found.n_windows) == (384, 1600, 24)
    assert (found.standard_error, found.word_perplexity, found.byte_perplexity) == (None,) * 3
    assert found.kl_divergence.low < found.kl_divergence.mean < found.kl_divergence.high


def test_a_copy_has_lost_exactly_nothing() -> None:
    records = make_records()
    n = len(records.nll)
    copy = dataclasses.replace(
        records,
        nll=records.reference_nll,
        kl_divergence=np.zeros(n, np.float32),
        same_top1=np.ones(n, np.bool_),
        delta_p=np.zeros(n, np.float32),
        overlap=np.ones(n, np.float32),
        entropy=records.reference_entropy,
    )
    found = analyse_corpus(copy, make_corpus(), dtype="bf16", seed=0)
    for estimate, exact in (
        (found.relative_perplexity, 1.0),
        (found.top1_agreement, 1.0),
        (found.overlap, 1.0),
    ):
        assert (estimate.value, estimate.low, estimate.high) == (exact, exact, exact)
    assert set(found.kl_divergence.model_dump().values()) == {0.0}
    assert set(found.delta_p.model_dump().values()) == {0.0}
    assert found.perplexity == found.reference_perplexity


def test_the_same_analysis_gives_the_same_bytes() -> None:
    first, second = (
        analyse_corpus(make_records(), make_corpus(), dtype="fp32", seed=3).model_dump_json()
        for _ in range(2)
    )
    other = analyse_corpus(make_records(), make_corpus(), dtype="fp32", seed=4).model_dump_json()
    assert first == second != other


def test_rescored_rows_say_where_each_figure_is_from() -> None:
    records, exact = make_records(1e-4), make_records(1e-5, n_windows=8, seed=9)
    corpus = make_corpus()
    found = analyse_corpus(records, corpus, dtype="bf16", seed=0, exact=exact, exact_dtype="fp32")
    alone = analyse_corpus(exact, corpus, dtype="fp32", seed=0)
    assert found.perplexity == analyse_corpus(records, corpus, dtype="bf16", seed=0).perplexity
    assert found.kl_divergence == alone.kl_divergence
    assert found.relative_perplexity == alone.relative_perplexity
    assert found.top1_agreement == alone.top1_agreement
    assert found.overlap == alone.overlap
    assert (found.dtype, found.n_scored) == ("bf16", N_WINDOWS * LENGTH)
    assert found.rescored is not None
    assert found.rescored.model_dump() == {
        "dtype": "fp32", "n_scored": 8 * LENGTH, "n_windows": 8,
    }  # fmt: skip


def test_one_window_has_no_limits_and_says_so() -> None:
    found = analyse_corpus(make_records(n_windows=1), make_corpus(), dtype="fp32", seed=0)
    assert found.kl_divergence.mean is not None
    for limits in (found.kl_divergence, found.relative_perplexity, found.perplexity_interval):
        assert (limits.low, limits.high) == (None, None)
    assert any("one window" in note for note in found.notes)


def test_averaging_is_the_protocols_but_divergence_counts_tokens() -> None:
    records = make_records(n_windows=2)
    window = np.array([0] * 24 + [1] * 8, dtype=np.int32)
    records = dataclasses.replace(records, window=window)
    corpus = make_corpus(averaging="windows")
    found = analyse_corpus(records, corpus, dtype="fp32", seed=0)
    nll, kl = records.nll.astype(float), records.kl_divergence.astype(float)
    assert found.perplexity == pytest.approx(
        math.exp((nll[:24].mean() + nll[24:].mean()) / 2), rel=1e-12
    )
    assert found.kl_divergence.mean == pytest.approx(kl.mean(), rel=1e-12)


def test_figures_of_single_protocols() -> None:
    nll = np.array([1.0, 2.0, 3.0, 4.0], dtype=np.float32)
    window = np.array([0, 0, 1, 1], dtype=np.int32)
    llama = analyse_reference(nll, window, make_corpus(protocol="llama.cpp"), dtype="fp32", seed=0)
    # exp(2.5) * sqrt(1.25 / 3), by hand from llama.cpp's formula.
    assert llama.standard_error == pytest.approx(math.exp(2.5) * math.sqrt(1.25 / 3))
    corpus = make_corpus(
        protocol="lm-eval-wikitext", n_words=2, n_tokens=4, n_bytes=8, n_total=4, notes=()
    )
    pages = analyse_reference(nll, window, corpus, dtype="fp32", seed=0, entropy=nll)
    assert pages.word_perplexity == pytest.approx(math.exp(10 / 2))
    assert pages.byte_perplexity == pytest.approx(math.exp(10 / 8))
    assert pages.entropy is not None
    assert pages.entropy.value == 2.5
    assert pages.standard_error is None


def test_noise_floor_is_carried() -> None:
    floor = NoiseFloor(kl_divergence=1e-5, dtype="bf16", n_scored=10)
    records, corpus = make_records(), make_corpus()
    found = analyse_corpus(records, corpus, dtype="bf16", seed=0, noise_floor=floor)
    assert found.noise_floor == floor


@pytest.mark.parametrize("field", ["nll", "kl_divergence", "delta_p", "overlap", "entropy"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_no_figure_is_made_of_nan(field: str, bad: float) -> None:
    records: TokenRecords = make_records()
    values = getattr(records, field).copy()
    values[5] = bad
    with pytest.raises(NumericalError):
        analyse_corpus(
            dataclasses.replace(records, **{field: values}), make_corpus(), dtype="fp32", seed=0
        )


def test_worse_than_guessing_is_out_of_domain() -> None:
    """A uniform guess among n tokens loses log n nats on each."""
    records = make_records()
    mean = float(records.reference_nll.mean(dtype=np.float64))
    for vocabulary, strange in ((int(math.exp(mean)) + 1, None), (int(math.exp(mean)), True)):
        corpus = make_corpus(vocabulary=vocabulary)
        found = analyse_reference(
            records.reference_nll, records.window, corpus, dtype="fp32", seed=0
        )
        assert found.out_of_domain is strange
        assert any(note.startswith("out of domain") for note in found.notes) == bool(strange)
        beside = analyse_corpus(records, corpus, dtype="fp32", seed=0)
        assert beside.out_of_domain is strange
