"""What a run's choices need of each other."""

from __future__ import annotations

from bitloss.errors import UsageError
from bitloss.spec.chat import MARKERS, parse_markers
from bitloss.spec.run import RunSpec

__all__ = ["require_chat", "require_decidable"]


def require_decidable(spec: RunSpec) -> None:
    """Refuse a run that is to stop once something is decided, and cannot decide it.

    Raises:
        UsageError: there are no variants, or only tasks for a precision, which is of a text's
            perplexity, or replicates, which are put together window by window and would stop each
            at a window of its own.
    """
    if not spec.sequential:
        return
    if spec.replicates > 1:
        raise UsageError(
            "expected replicates that are scored on the same windows, got --until or --precision, "
            "which stop each at a window of its own",
            hint="drop --until and --precision, or --replicates",
        )
    if not spec.variants:
        raise UsageError(
            "expected variants for --until or --precision, got only the reference",
            hint="add variants, or drop --until and --precision",
        )
    if not spec.corpora and spec.until != "decided":
        raise UsageError(
            "expected a corpus for --precision, which is of the perplexity, got only tasks",
            hint="add a --corpus, or drop --precision",
        )


def require_chat(spec: RunSpec) -> None:
    """Refuse options that say how a chat is led in a run without the chat template.

    Raises:
        UsageError: names the first of them; or see `parse_markers`.
    """
    parse_markers(spec.thinking_markers)
    given = {
        "--template-arg": bool(spec.template_args),
        "--thinking-budget": spec.thinking_budget is not None,
        "--thinking-markers": spec.thinking_markers != MARKERS,
    }
    for name, is_given in given.items():
        if is_given and not spec.chat:
            raise UsageError(
                f"{name} is for the chat template, which this run does not apply",
                hint="add --chat (in Python: chat=True), or remove it",
            )
