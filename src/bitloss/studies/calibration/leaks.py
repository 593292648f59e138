"""Whether a text for evaluation stands in a text for calibration: 13-grams that both have.

Brown et al., Language Models are Few-Shot Learners (arXiv 2005.14165), appendix C: words in lower
case without punctuation, 13 in a row. A Chinese character counts as a word.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from bitloss import wording
from bitloss.studies.findings import Finding, FindingColumn, FindingRow, FindingTable

__all__ = ["find_leaks", "shared_share", "word_runs"]

LENGTH = 13
_WORD = re.compile(r"[\u3400-\u9fff]|[^\W_]+")
_MUCH = 0.01


def word_runs(text: str) -> set[int]:
    """Hashes of all runs of 13 words; empty for a shorter text."""
    words = [word.lower() for word in _WORD.findall(text)]
    return {hash(tuple(words[start : start + LENGTH])) for start in range(len(words) - LENGTH + 1)}


def shared_share(evaluation: str, calibration: str) -> float | None:
    """The share of the first text's runs that the second one has; None if it is too short."""
    own = word_runs(evaluation)
    return len(own & word_runs(calibration)) / len(own) if own else None


def find_leaks(texts: Mapping[str, tuple[str, str]]) -> Finding:
    """What evaluation and calibration texts share.

    Args:
        texts: by domain, the calibration text and the evaluation text.
    """
    runs = {name: (word_runs(one), word_runs(other)) for name, (one, other) in texts.items()}
    rows, leaking = [], []
    for name, (calibration, _) in runs.items():
        shares = {
            other: len(own & calibration) / len(own) if own else None
            for other, (_, own) in runs.items()
        }
        rows.append(FindingRow(name=name, cells=tuple(shares.values())))
        leaking += [
            f"{share:.0%} of {other} in {name}'s"
            for other, share in shares.items()
            if share is not None and share > _MUCH
        ]
    sentences = (
        (
            f"Calibration texts hold parts of what is evaluated: {wording.join_words(leaking)}. "
            "There, a loss in a text's own domain is partly a loss on text seen in calibration.",
        )
        if leaking
        else (
            f"No evaluation text has more than {_MUCH:.0%} of its 13-grams in a calibration text.",
        )
    )
    return Finding(
        name="leaks between calibration and evaluation",
        sentences=sentences,
        tables=(
            FindingTable(
                title="share of the evaluation text's 13-grams that stand in the calibration text",
                head="calibrated on",
                columns=tuple(FindingColumn(title=name, unit="share") for name in texts),
                rows=tuple(rows),
            ),
        ),
    )
