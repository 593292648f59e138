"""Who has what, told and asked for again and again: where a small model learns to look back.

A story (`pocket.prose`) has one word in thirty that can only be copied from its beginning, which
is too seldom for copying to be learnt from stories alone: in a first attempt it was not, in eight
million tokens. Here it is every third word; what forms here (the induction heads of Olsson et al.,
2022, arXiv:2209.11895) then serves stories, orders and requests.

Kept apart: as in stories, who has what.
"""

from __future__ import annotations

import random

from pocket.prose import cast, closing, opening

__all__ = ["recall"]

_ANSWER_WEIGHT = 2.0
_Piece = tuple[str, float]


def recall(rng: random.Random) -> list[_Piece]:
    """One text for training: pairs, then each of them asked for about twice."""
    kind = rng.choice(("thing", "thing", "name", "town"))
    n = rng.randint(2, 6)
    names, owned, _ = cast(rng, "train", n, kind)
    pairs = list(zip(names, owned, strict=True))
    plain = n > 4 or rng.random() < 0.5
    asked = [rng.choice(pairs) for _ in range(2 * n)]
    pieces: list[_Piece] = []
    if plain:
        turned = kind == "name"
        listed = [pair[::-1] if turned else pair for pair in pairs]
        pieces.append((" ".join(f"{key}: {value}." for key, value in listed), 0.0))
        for name, thing in asked:
            key, value = (thing, name) if turned else (name, thing)
            pieces += [(f" {key}:", 0.0), (f" {value}", _ANSWER_WEIGHT), (".", 0.0)]
    else:
        pieces.append((opening(rng, kind, names, owned), 0.0))
        for name, thing in asked:
            last = closing(rng, kind, name, thing)
            answer = name if kind == "name" else thing
            pieces += [(f" {last}", 0.0), (f" {answer}", _ANSWER_WEIGHT), (".", 0.0)]
    return [*pieces, ("\n\n", 0.0)]
