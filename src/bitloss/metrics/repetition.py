"""Whether a text has run into a loop: the same words again and again, up to its end."""

from __future__ import annotations

__all__ = ["LONGEST", "REPEATS", "SHORTEST", "ends_in_loop"]

REPEATS = 4
"""How often a unit has to stand at the end, one after the other."""
SHORTEST = 48
"""Characters that the repeats have to take up together: a rule of dashes is shorter, as a rule."""
LONGEST = 4096
"""Characters of the end that are looked at."""


def ends_in_loop(text: str) -> bool:
    """Whether the text ends with `REPEATS` or more copies of one unit, the last perhaps cut off.

    Copies are exact, so a text that counts on (``Step 17: ...``) is none. White space at both ends
    is left out, so the last copy may lack a blank. Whether a loop is a fault depends on why the
    text ended: one that stopped by itself did not run on.

    The unit's length is a period of the end; periods are found by the Z algorithm (Gusfield 1997,
    section 1.4) on the reversed text, in time linear in `LONGEST`.
    """
    end = text.strip()[-LONGEST:][::-1]
    n = len(end)
    if n + 1 < SHORTEST:  # the blank that the last copy may lack
        return False
    # matched[p]: characters that the text shares with itself p further on.
    matched = [0] * n
    left = right = 0
    for at in range(1, n):
        if at < right:
            matched[at] = min(right - at, matched[at - left])
        while at + matched[at] < n and end[matched[at]] == end[at + matched[at]]:
            matched[at] += 1
        if at + matched[at] > right:
            left, right = at, at + matched[at]
    return any(
        period + matched[period] + 1 >= max(REPEATS * period, SHORTEST)
        for period in range(1, (n + 1) // REPEATS + 1)
    )
