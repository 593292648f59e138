"""Suites: the built-in ones (the YAML files here), and files of the user's."""

from bitloss.suites.find import list_suites, load_suite, suite_contents

__all__ = ["list_suites", "load_suite", "suite_contents"]
