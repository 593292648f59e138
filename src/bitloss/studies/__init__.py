"""Studies: one factor of quantization varied, everything else held."""

from bitloss.studies.base import FactorLevel, Study
from bitloss.studies.entry import study
from bitloss.studies.result import StudyResult

__all__ = ["FactorLevel", "Study", "StudyResult", "study"]
