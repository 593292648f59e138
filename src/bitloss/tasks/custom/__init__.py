"""A user's own task: a YAML file that has the questions and says how answers are graded."""

from bitloss.tasks.custom.files import load_task_file
from bitloss.tasks.custom.stored import restore_task, store_definition

__all__ = ["load_task_file", "restore_task", "store_definition"]
