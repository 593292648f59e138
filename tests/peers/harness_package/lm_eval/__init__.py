"""Stands in for lm-evaluation-harness 0.4.13 where it is not installed.

It has exactly the names that bitloss uses (`bitloss.tasks.lm_eval.harness` lists them), with the
harness's behavior as far as the tests need it: task files are YAML, their templates are Python's
format strings (the harness's are Jinja's), and their documents stand in them (``documents``).
"""
