"""The gate: a run's figures against limits, for pipelines that must say yes or no."""

from bitloss.checks.judge import judge
from bitloss.checks.result import CheckResult, Judgment
from bitloss.checks.rules import Rule, read_thresholds, rules_of

__all__ = ["CheckResult", "Judgment", "Rule", "judge", "read_thresholds", "rules_of"]
