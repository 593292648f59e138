"""How often a 95 % interval holds the true value (``docs/decisions/0005-intervals.md``).

    python benchmarks/interval_coverage.py

Corpora are simulated: a token's divergence is lognormal, its window shares a lognormal level that
follows an AR(1) process, so the true mean is known. Three intervals are taken from the same blocks
of windows: percentiles of the bootstrap, Student's t, and that of `bitloss.metrics.intervals`.
"""

from __future__ import annotations

import argparse
import math

import numpy as np
from numpy.typing import NDArray

from bitloss.metrics.intervals import Series, block_length, bootstrap

TOKENS = 255
RESAMPLES = 1500
# Log sd of tokens, log sd of windows, autocorrelation of windows.
TEXTS = {
    "as measured": (1.4, 0.13, 0.2),
    "more dependent": (1.4, 0.13, 0.5),
    "heavier tails": (2.0, 0.3, 0.4),
    "extreme tails": (2.5, 0.2, 0.3),
}
# Two-sided 95 % quantiles of Student's t by degrees of freedom (printed tables).
STUDENT = {4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 10: 2.228, 22: 2.074}

Array = NDArray[np.float64]


def simulate(
    generator: np.random.Generator, runs: int, n_windows: int, text: tuple[float, float, float]
) -> tuple[Array, float]:
    """Window means of simulated corpora, ``[runs, n_windows]``, and the true mean."""
    token_sd, window_sd, autocorrelation = text
    level = generator.normal(size=(runs, n_windows))
    for i in range(1, n_windows):
        level[:, i] *= math.sqrt(1 - autocorrelation**2)
        level[:, i] += autocorrelation * level[:, i - 1]
    means = np.exp(window_sd * level)
    for column in means.T:
        column *= generator.lognormal(0.0, token_sd, (runs, TOKENS)).mean(1)
    return means, math.exp((token_sd**2 + window_sd**2) / 2)


def simple_intervals(generator: np.random.Generator, means: Array) -> tuple[Array, Array]:
    """Percentile and Student intervals from blocks, each ``[2, runs]``."""
    n_windows = means.shape[1]
    n_blocks = n_windows // block_length(n_windows)
    starts = np.arange(n_blocks) * n_windows // n_blocks
    u = np.add.reduceat(means, starts, axis=1)
    v = np.diff(np.append(starts, n_windows)).astype(np.float64)
    counts = generator.multinomial(n_blocks, np.full(n_blocks, 1 / n_blocks), size=RESAMPLES)
    percentile = np.quantile((counts @ u.T) / (counts @ v)[:, None], (0.025, 0.975), axis=0)
    average = means.mean(1)
    residual = u - average[:, None] * v
    error = np.sqrt((residual**2).sum(1) * n_blocks / (n_blocks - 1)) / n_windows
    half = STUDENT[n_blocks - 1] * error
    return percentile, np.stack([average - half, average + half])


def main() -> None:
    """Print the table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="simulated corpora for each line")
    runs: int = parser.parse_args().runs
    print("| text | windows | blocks | percentile | Student | bootstrap-t, limited |")
    print("|---|---|---|---|---|---|")
    for name, text in TEXTS.items():
        for n_windows in (5, 8, 20, 50, 100, 300):
            generator = np.random.default_rng(1)
            means, true = simulate(generator, runs, n_windows, text)
            ones = np.ones(n_windows)
            series = {str(i): Series(row, ones) for i, row in enumerate(means)}
            found = bootstrap(series, seed=2, resamples=RESAMPLES).values()
            ours = np.array([[one.low for one in found], [one.high for one in found]])
            shares = [
                f"{np.mean((low <= true) & (true <= high)):.1%}"
                for low, high in (*simple_intervals(generator, means), ours)
            ]
            blocks = n_windows // block_length(n_windows)
            print(f"| {name} | {n_windows} | {blocks} | {' | '.join(shares)} |", flush=True)


if __name__ == "__main__":
    main()
