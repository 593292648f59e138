"""The study of calibration texts: which text, how much of it, and what that costs elsewhere."""

from bitloss.studies.calibration.study import CALIBRATION

__all__ = ["CALIBRATION"]
