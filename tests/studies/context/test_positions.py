"""Loss by position. Oracle: records whose divergence is a known function of the position."""

from __future__ import annotations

import numpy as np
import pytest

from bitloss.studies.context import positions
from bitloss.studies.context.positions import place_of, ranges
from bitloss.types import TokenRecords


def test_ranges_double() -> None:
    assert ranges(512) == [(1, 64), (64, 128), (128, 256), (256, 512)]
    assert ranges(300) == [(1, 64), (64, 128), (128, 256), (256, 300)]
    assert ranges(128) == [(1, 64), (64, 128)]


def test_the_first_token_is_not_scored() -> None:
    assert place_of(np.array([0, 0, 0, 3, 3], np.int32)).tolist() == [1, 2, 3, 1, 2]


def make(windows: int, length: int, last: int) -> TokenRecords:
    """Divergence is the position; the last window has only so many tokens."""
    counts = [length - 1] * (windows - 1) + [last]
    window = np.repeat(np.arange(windows, dtype=np.int32), counts)
    place = np.concatenate([np.arange(1, count + 1) for count in counts]).astype(np.float32)
    same = np.ones(len(window), np.float32)
    return TokenRecords(
        window=window, reference_nll=same, nll=same, kl_divergence=place,
        same_top1=np.ones(len(window), np.bool_), delta_p=same, overlap=same,
        reference_entropy=same, entropy=same,
    )  # fmt: skip


def test_means_are_of_the_positions() -> None:
    """Of 64 to 127 the mean is 95.5, in every window; the short last window does not count."""
    records = make(12, 256, 40)
    kept = positions._whole(records, 256)
    assert kept.sum() == 11 * 255
    assert positions._means(records, kept, 64, 128).tolist() == pytest.approx([95.5] * 11)
    assert positions._means(records, kept, 1, 64).tolist() == pytest.approx([32.0] * 11)
