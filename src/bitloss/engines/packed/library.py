"""Foreign libraries kept from printing, and from changing the process that they are loaded into.

GPTQModel prints a banner and its decisions, and on import sets a dozen environment variables (the
hub's cache among them), the root logger's handler and level, and filters of warnings. All that is
put back. What such a library patches inside transformers stays: see `loading`.
"""

from __future__ import annotations

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from types import MappingProxyType

__all__ = ["ENVIRONMENT", "contained"]

ENVIRONMENT: Mapping[str, str] = MappingProxyType(
    {
        "GPTQMODEL_CPU_WORKERS": "2",  # it refuses to work with one
        "GPTQMODEL_DISABLE_GIL_WARNING": "1",
        "TORCHDYNAMO_DISABLE": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "DEBUG": "0",
    }
)
"""Variables that hold while a library is loaded."""


@contextmanager
def contained() -> Iterator[None]:
    """Keep what is imported and called in the block silent, and put the process back as it was.

    Not for several threads at once: standard output, logging and warnings belong to the process.
    """
    root = logging.getLogger()
    variables, handlers, level = dict(os.environ), list(root.handlers), root.level
    disabled = logging.root.manager.disable
    os.environ.update({k: v for k, v in ENVIRONMENT.items() if k not in os.environ})
    try:
        logging.disable(logging.CRITICAL)
        with (
            warnings.catch_warnings(),
            redirect_stdout(io.StringIO()),
            redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        root.handlers[:] = handlers
        root.setLevel(level)
        for name in set(os.environ) - set(variables):
            del os.environ[name]
        os.environ.update(variables)
