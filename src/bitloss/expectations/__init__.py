"""What formats lose as a rule, and how much loss is acceptable: data that a user may override."""

from bitloss.expectations.axes import ACCEPTABLE, AXES, LEVELS, Axis, AxisName, Level, LevelRange
from bitloss.expectations.load import load_expectations
from bitloss.expectations.table import Expectations, FormatRow, Levels, Published

__all__ = [
    "ACCEPTABLE",
    "AXES",
    "LEVELS",
    "Axis",
    "AxisName",
    "Expectations",
    "FormatRow",
    "Level",
    "LevelRange",
    "Levels",
    "Published",
    "load_expectations",
]
