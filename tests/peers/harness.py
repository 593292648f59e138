"""lm-evaluation-harness for one test: the stand-in of ``peers/harness_package``, and its files.

The stand-in is used whether or not the harness is installed, so that the same tests run everywhere;
``tests/tasks/lm_eval/test_real.py`` holds the real one to the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

__all__ = ["CAPITALS", "SUMS", "stand_in", "write_task"]

CAPITALS: dict[str, Any] = {
    "task": "capitals",
    "output_type": "multiple_choice",
    "doc_to_text": "The capital of {country} is",
    "doc_to_choice": "options",
    "doc_to_target": "gold",
    "metric_list": [{"metric": "acc"}],
    "num_fewshot": 1,
    "description": "Capitals.\n",
    "examples": [{"country": "Spain", "options": ["Rome", "Madrid"], "gold": 1}],
    "documents": [
        {"country": "Italy", "options": ["Rome", "Oslo", "Bern"], "gold": 0},
        {"country": "Norway", "options": ["Rome", "Oslo"], "gold": 1},
    ],
}
SUMS: dict[str, Any] = {
    "task": "sums",
    "output_type": "generate_until",
    "doc_to_text": "{a} + {b} =",
    "doc_to_target": "sum",
    "metric_list": [{"metric": "exact_match"}],
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 5, "do_sample": False},
    "documents": [{"a": 1, "b": 2, "sum": "3"}, {"a": 4, "b": 5, "sum": "9"}],
}


_PACKAGE = Path(__file__).with_name("harness_package")
_OURS = ("bitloss.lm_eval.model",)


@contextmanager
def stand_in() -> Iterator[None]:
    """``import lm_eval`` finds the stand-in."""
    before = {name: module for name, module in sys.modules.items() if _is_of_harness(name)}
    for name in before:
        del sys.modules[name]
    sys.path.insert(0, str(_PACKAGE))
    try:
        yield
    finally:
        sys.path.remove(str(_PACKAGE))
        for name in [name for name in sys.modules if _is_of_harness(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_of_harness(name: str) -> bool:
    return name == "lm_eval" or name.startswith("lm_eval.") or name in _OURS


def write_task(folder: Path, **settings: Any) -> None:
    """A task file, or with ``group`` that of a group."""
    folder.mkdir(parents=True, exist_ok=True)
    name = settings.get("group") or settings["task"]
    text = yaml.safe_dump(settings, allow_unicode=True, sort_keys=False)
    (folder / f"{name}.yaml").write_text(text, encoding="utf-8")
