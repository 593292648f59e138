"""The package `lm_eval`: imported when a task of it is asked for, silenced, its errors translated.

What bitloss uses of the harness, release 0.4.13, is here and in the modules beside this one; the
package in ``tests/peers/lm_eval`` has exactly these names.

- ``lm_eval.tasks.TaskManager(include_path=, include_defaults=)``: ``all_tasks``, ``all_subtasks``,
  ``load(name)``.
- a group: ``name``, ``child_names``, iteration over its children, ``get_all_tasks``,
  ``has_aggregation``, ``aggregate_metric_list``.
- a task: ``config``, ``task_name``, ``VERSION``, ``OUTPUT_TYPE``, ``MULTIMODAL``, ``UNSAFE_CODE``,
  ``eval_docs``, ``get_config``, ``set_config``, ``set_fewshot_seed``, ``build_all_requests``,
  ``instances``, ``fewshot_context``, ``build_qa_turn``, ``multiple_input``, ``doc_to_text``,
  ``doc_to_target``, ``doc_to_choice``, ``process_results``, ``aggregation``, ``higher_is_better``,
  ``dump_config``, and ``_filters``: `apply_filters` takes all items at once, and here they are
  graded one by one.
- a request: a dataclass with ``request_type``, ``doc``, ``arguments``, ``args``, ``doc_id``,
  ``repeats``, ``resps`` and ``filtered_resps``.
"""

from __future__ import annotations

import io
import logging
import random
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import Any

import numpy as np

from bitloss.errors import BitlossError, HubError, MissingDependency, TaskDataError, UsageError

__all__ = [
    "FEWSHOT_SEED",
    "harness_version",
    "loading",
    "require_harness",
    "silenced",
    "translated",
]

FEWSHOT_SEED = 1234
"""What solved examples are drawn with: the harness's default, as are the two seeds below."""
_RANDOM_SEED = 0
_NUMPY_SEED = 1234

_ADDRESS = re.compile(r"https?://\S+")


def require_harness(name: str) -> None:
    """Refuse a task if the harness is not installed; nothing is imported.

    Raises:
        MissingDependency: it is not.
    """
    spec = find_spec("lm_eval")
    if spec is None or spec.origin is None:  # a folder of that name is no package
        raise MissingDependency("lm-eval", f"task `lm-eval:{name}`", extra="lm-eval")


def harness_version() -> str:
    """The harness's release."""
    try:
        return version("lm_eval")
    except PackageNotFoundError:
        return "unknown"


@contextmanager
def silenced() -> Iterator[None]:
    """Drop what the harness and `datasets` print: bars, warnings, and prints to stdout."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with (
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def loading(name: str) -> Iterator[None]:
    """Load a task: in silence, with the seeds that `lm_eval` itself sets, errors translated.

    Some tasks shuffle their options with Python's or numpy's own generator; their states are
    restored.

    Raises:
        BitlossError: see `translated`.
    """
    states = random.getstate(), np.random.get_state()
    random.seed(_RANDOM_SEED)
    np.random.seed(_NUMPY_SEED)
    try:
        with silenced(), translated(name):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


@contextmanager
def translated(name: str, doing: str = "load") -> Iterator[None]:
    """Turn what the harness, a task's own code or `datasets` raise into one line about the task.

    Args:
        name: of the task.
        doing: what the harness could not do, a verb before the task.

    Raises:
        UsageError: the task needs a package that is not installed.
        HubError: its data is neither in the cache nor on a hub that answers.
        TaskDataError: anything else.
    """
    try:
        yield
    except BitlossError:
        raise
    except ImportError as error:
        raise _missing_package(name, error) from error
    except Exception as error:  # a task file may hold any code
        if _is_of_hub(error):
            raise HubError(
                f"cannot get the data of task `lm-eval:{name}`: {_first_line(error)}",
                hint="load the task once where the hub is reachable (the cache of `datasets` is "
                "used later), or give a task file whose data is local: --include-path DIR",
            ) from error
        raise TaskDataError(
            f"lm-eval cannot {doing} task `lm-eval:{name}`: {type(error).__name__}: "
            f"{_first_line(error)}",
            hint="check the task's YAML file and its data; `lm-eval validate --tasks NAME` checks "
            "it, too",
        ) from error


def _missing_package(name: str, error: ImportError) -> BitlossError:
    package = (error.name or "").partition(".")[0]
    if not package:
        return UsageError(
            f"task `lm-eval:{name}` needs a package that is not installed: {_first_line(error)}",
            hint="install the package, or the extra of lm-eval that has it",
        )
    return UsageError(
        f"task `lm-eval:{name}` needs the package `{package}`, which is not installed",
        hint=f"install it: pip install {package}",
    )


def _is_of_hub(error: BaseException) -> bool:
    """Whether an error, or one that it came from, says that a hub did not answer or has no such
    data.
    """
    at: BaseException | None = error
    while at is not None:
        names = {kind.__name__ for kind in type(at).__mro__}
        if isinstance(at, ConnectionError) or names & _HUB_ERRORS:
            return True
        at = at.__cause__ or at.__context__
    return False


# By name: they are `huggingface_hub`'s, httpx's and `datasets`'s, none of which is imported here.
_HUB_ERRORS = frozenset(
    {
        "DatasetNotFoundError", "HfHubHTTPError", "LocalEntryNotFoundError",
        "OfflineModeIsEnabled", "TransportError",
    }
)  # fmt: skip


def _first_line(error: BaseException) -> str:
    lines: list[Any] = [line for line in str(error).splitlines() if line.strip()]
    return _ADDRESS.sub("the hub", lines[0].strip()) if lines else type(error).__name__
