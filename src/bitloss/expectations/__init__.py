"""What formats lose as a rule, and how much loss is acceptable: data that a user may override."""

from bitloss.expectations.load import load_expectations
from bitloss.expectations.table import Expectations, FormatRow, Level, Levels, Published

__all__ = ["Expectations", "FormatRow", "Level", "Levels", "Published", "load_expectations"]
