"""A user's own task: a YAML file that has the questions and says how answers are graded."""

from bitloss.tasks.custom.files import load_task_file

__all__ = ["load_task_file"]
