"""Oracles: numbers computed by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitloss.errors import NumericalError
from bitloss.metrics.perplexity import (
    bits_per_byte,
    byte_perplexity,
    llama_cpp_error,
    perplexity,
    window_losses,
    word_perplexity,
)

# Three windows with losses (1, 2, 3), (4, 5) and (6).
NLL = np.array([1, 2, 3, 4, 5, 6], dtype=np.float32)
WINDOW = np.array([0, 0, 0, 1, 1, 2], dtype=np.int32)


def test_tokens_is_the_mean_over_tokens() -> None:
    assert perplexity(NLL, WINDOW, "tokens") == pytest.approx(math.exp(21 / 6))


def test_windows_is_the_mean_of_means() -> None:
    assert perplexity(NLL, WINDOW, "windows") == pytest.approx(math.exp((2 + 4.5 + 6) / 3))


def test_valid_minus_one_weighs_each_window_one_too_low() -> None:
    expected = math.exp((2 * 3 + 4.5 * 1 + 6 * 0) / (3 + 1 + 0))
    got = perplexity(NLL, WINDOW, "windows-by-valid-minus-one", (4, 2, 1))
    assert got == pytest.approx(expected)


def test_window_losses_gives_means_and_weights() -> None:
    means, weights = window_losses(NLL, WINDOW, "tokens")
    assert means.tolist() == [2.0, 4.5, 6.0]
    assert weights.tolist() == [3.0, 2.0, 1.0]
    assert means.dtype == weights.dtype == np.float64


def test_windows_without_tokens_are_skipped() -> None:
    window = np.array([0, 3], dtype=np.int32)
    means, weights = window_losses(
        np.array([1.0, 2.0]), window, "windows-by-valid-minus-one", (2, 9, 9, 5)
    )
    assert means.tolist() == [1.0, 2.0]
    assert weights.tolist() == [1.0, 4.0]


def test_a_mean_loss_that_no_double_holds_is_infinite() -> None:
    assert perplexity(np.array([800.0]), np.array([0], dtype=np.int32), "tokens") == math.inf


def test_infinite_losses_stay_infinite() -> None:
    losses = np.array([1.0, math.inf])
    assert perplexity(losses, np.array([0, 0], dtype=np.int32), "tokens") == math.inf


def test_bits_per_byte() -> None:
    # 6 tokens of ln 2 nats each are 6 bits; over 12 bytes, half a bit a byte.
    assert bits_per_byte(math.log(2), n_tokens=6, n_bytes=12) == pytest.approx(0.5)


def test_word_and_byte_perplexity() -> None:
    # A total loss of 6 tokens x 2 nats: 4 nats for each of 3 words, 1 for each of 12 bytes.
    assert word_perplexity(2.0, n_tokens=6, n_words=3) == pytest.approx(math.exp(4))
    assert byte_perplexity(2.0, n_tokens=6, n_bytes=12) == pytest.approx(math.e)


def test_llama_cpp_error() -> None:
    # Losses 2 and 4: mean 3, variance over n is 1, so the ± is e^3 * sqrt(1 / (2 - 1)).
    assert llama_cpp_error(np.array([2.0, 4.0])) == pytest.approx(math.exp(3))


@pytest.mark.parametrize(
    ("values", "window", "averaging", "valid", "message"),
    [
        ([], [], "tokens", (), "no scored tokens"),
        ([1.0, math.nan], [0, 0], "tokens", (), "1 of 2 per-token values are NaN"),
        ([1.0], [0], "windows-by-valid-minus-one", (1,), "sum to zero"),
    ],
)
def test_numbers_without_a_mean_are_errors(values, window, averaging, valid, message) -> None:
    with pytest.raises(NumericalError, match=message):
        window_losses(np.array(values), np.array(window, dtype=np.int32), averaging, valid)


def test_shapes_that_do_not_belong_together() -> None:
    with pytest.raises(ValueError, match="one shape"):
        window_losses(NLL, WINDOW[:2], "tokens")
    with pytest.raises(ValueError, match="no entry in `valid`"):
        window_losses(NLL, WINDOW, "windows-by-valid-minus-one", (4, 2))


def test_one_loss_has_no_standard_error() -> None:
    with pytest.raises(NumericalError, match="at least 2"):
        llama_cpp_error(np.array([1.0]))


LOSSES = st.lists(st.floats(0, 50), min_size=1, max_size=40)


@given(LOSSES, st.randoms(use_true_random=False))
def test_tokens_averaging_does_not_see_the_windows(losses, random) -> None:
    window = np.sort(np.array([random.randrange(5) for _ in losses], dtype=np.int32))
    got = perplexity(np.array(losses), window, "tokens")
    assert math.log(got) == pytest.approx(np.mean(losses), abs=1e-9)


@given(LOSSES)
def test_equal_windows_average_alike(losses) -> None:
    values = np.array(losses * 3)
    window = np.repeat(np.arange(3, dtype=np.int32), len(losses))
    assert perplexity(values, window, "windows") == pytest.approx(
        perplexity(values, window, "tokens")
    )
