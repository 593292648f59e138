"""What libraries raise: that they have no kernels for a model, or that its files are damaged."""

from __future__ import annotations

import re

__all__ = ["lacks_kernels", "points_outside"]

# How the libraries say that they do not run something, in words of their own; there is no type for
# it. Whatever else they raise may be a fault of the files, and is never passed over as not run.
_LACKS = re.compile(
    r"not (?:yet )?(?:support|implement|available|compatible)|unsupport|doesn'?t support"
    r"|incompatible|no (?:valid|suitable|compatible|available) |only support(?:s|ed)?\b"
    r"|cannot be run|requires? (?:a |an )?(?:cuda|gpu|triton|compute capability)|not compiled with"
    r"|no kernel|expected .* divisible|must be divisible",
    re.IGNORECASE,
)


def lacks_kernels(error: BaseException) -> bool:
    """Whether what a library raised says that it does not run such a model here."""
    return isinstance(error, NotImplementedError) or _LACKS.search(str(error)) is not None


def points_outside(error: BaseException) -> bool:
    """Whether what a kernel raised is that numbers of the file point outside of a tensor."""
    return isinstance(error, IndexError) or "out of bounds" in str(error)
