"""Studies: one factor of quantization varied, everything else held."""

from bitloss.studies.base import FactorLevel, Study
from bitloss.studies.result import StudyResult
from bitloss.studies.run import study

__all__ = ["FactorLevel", "Study", "StudyResult", "study"]
