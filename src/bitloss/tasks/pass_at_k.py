"""The chance that one of k samples is right, from n samples of which c are."""

from __future__ import annotations

from math import prod

__all__ = ["metrics_of_samples", "pass_at_k", "pass_at_ks"]

_KS = (1, 10, 100)


def metrics_of_samples(n: int) -> tuple[str, ...]:
    """Names of what `n` samples give: pass@1, pass@10 and pass@100, as far as k <= n."""
    return tuple(f"pass@{k}" for k in _KS if k <= n)


def pass_at_ks(n: int, c: int) -> dict[str, float]:
    """Every pass@k of `metrics_of_samples`; see `pass_at_k` for arguments and errors."""
    return {f"pass@{k}": pass_at_k(n, c, k) for k in _KS if k <= max(n, 1)}


def pass_at_k(n: int, c: int, k: int) -> float:
    """The unbiased estimate ``1 - C(n - c, k) / C(n, k)``, best value 1.0.

    Computed as a product, which neither overflows nor cancels.

    Source: Chen et al. 2021, "Evaluating Large Language Models Trained on Code", section 2.1.

    Args:
        n: samples.
        c: samples that are right.
        k: samples that one may draw.

    Raises:
        ValueError: unless ``0 <= c <= n`` and ``1 <= k <= n``.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"expected 0 <= c <= n and 1 <= k <= n, got {n=}, {c=}, {k=}")
    if n - c < k:
        return 1.0
    return 1.0 - prod(1.0 - k / i for i in range(n - c + 1, n + 1))
