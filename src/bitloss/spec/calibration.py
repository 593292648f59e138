"""The text that recipes are calibrated on, as one value."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_CALIBRATION", "Calibration"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which text a recipe is calibrated on, and how much of it.

    Attributes:
        corpus: a registered name or the path of a text.
        samples: sequences taken from it.
        length: tokens per sequence.
    """

    corpus: str = "web"
    samples: int = 128
    length: int = 512


DEFAULT_CALIBRATION = Calibration()
