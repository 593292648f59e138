"""What a run's manifest says of a task, for records made by hand."""

from __future__ import annotations

from typing import Any

ENTRY: dict[str, Any] = {
    "capability": "logic",
    "metrics": ("acc",),
    "license": "MIT",
    "source": "file",
    "digest": "d",
    "identity": "i",
    "version": 1,
    "chance": 0.25,
    "samples": 1,
    "shots": 0,
    "groups": {"one": "G", "two": "G", "three": "H"},
    "gold": "option",
    "n_items": 6,
    "n_total": 9,
    "notes": (),
    "dtype": "fp32",
    "noise_floor": None,
    "questions": "q",
    "items": {},
}
