"""The command line of lm-evaluation-harness with the model ``bitloss`` registered."""

from __future__ import annotations

import importlib
import sys

from bitloss.errors import BitlossError, MissingDependency

__all__ = ["main"]


def main() -> int:
    """Run ``lm_eval`` on this process's arguments; returns the exit code."""
    try:
        try:
            importlib.import_module("bitloss.lm_eval.model")
            from lm_eval.__main__ import cli_evaluate
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] != "lm_eval":
                raise
            raise MissingDependency(
                "lm-eval", "`python -m bitloss.lm_eval`", extra="lm-eval"
            ) from error
        cli_evaluate()
    except BitlossError as error:
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"hint: {error.hint}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
