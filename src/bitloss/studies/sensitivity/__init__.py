"""Which parts of a model carry the loss of a variant: parts exchanged one by one.

setup     models, text and parts, made ready and checked
subjects  variants with their parts
measure   swaps on windows, look by look, kept on disk
decide    shares of the loss with intervals, and when a ranking is decided
result    ``OUT/sensitivity/<model>/sensitivity.json``
tables    the result as plain tables and sentences
study     the measuring, and what comes of it
run       all of it
"""

from bitloss.studies.sensitivity.result import SensitivityResult
from bitloss.studies.sensitivity.run import sensitivity

__all__ = ["SensitivityResult", "sensitivity"]
