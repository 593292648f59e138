"""Runs code that nobody has read."""

from bitloss.sandbox.base import BrokenTests, Limits, Program, Sandbox, Verdict
from bitloss.sandbox.bubblewrap import Bubblewrap, Unsafe, open_sandbox

__all__ = [
    "BrokenTests",
    "Bubblewrap",
    "Limits",
    "Program",
    "Sandbox",
    "Unsafe",
    "Verdict",
    "open_sandbox",
]
