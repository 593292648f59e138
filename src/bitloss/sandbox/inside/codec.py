"""Plain data as bytes, and back: what crosses the pipes between tests and solution.

Nothing here can name a type, call a function or build an object that is not listed below or in
`kinds`, so a decoder may be fed whatever untrusted code wrote. Sizes are checked before anything is
allocated, and nesting is bounded.

    None, True, False                       N T F
    int within 64 bits, any other           q (8 bytes)  i (length, bytes)
    float, complex                          f (8 bytes)  c (16 bytes)
    str (lone surrogates too), bytes        s b (length, bytes)
    list, tuple, set, frozenset             l t S Z (count, items)
    dict                                    d (count, key and value in turn)
    list of only 64-bit ints, only floats   Q D (count, 8 bytes each)
    list of only str                        U (count, characters of each, all of them as one str)
    an iterator                             g (count, items): `iter` of a list on the other side
    a type of `kinds` (range, Decimal ...)  x (its name as str, its parts as tuple)
    a builtin type or function              B (its name as str)
    anything else, where both sides agree   H (number, flags as str, name as str): the sender's
                                            h (number): the receiver's own
    one of the arguments, in a reply        r (number)

Numbers are little-endian, lengths and counts 32 bits. Instances of other subclasses (enums of ints,
a list with methods) become what they are made of.
"""

from __future__ import annotations

from .decoding import Reader, decode
from .encoding import Writer, encode
from .sizes import MAX_BYTES, MAX_DEPTH, Malformed, Unsupported

__all__ = [
    "MAX_BYTES",
    "MAX_DEPTH",
    "Malformed",
    "Reader",
    "Unsupported",
    "Writer",
    "decode",
    "encode",
]
