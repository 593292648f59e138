"""How often a 95 % interval holds the true value (``docs/decisions/0005-intervals.md``).

    python benchmarks/interval_coverage.py [--runs N]
    python benchmarks/interval_coverage.py --drawn [--runs N]
    python benchmarks/interval_coverage.py --records RUN [--runs N]
    python benchmarks/interval_coverage.py --documents [--runs N]
    python benchmarks/interval_coverage.py --few [--runs N]
    python benchmarks/interval_coverage.py --rescored RUN [--runs N]

Corpora are simulated: a token's divergence is lognormal, its window shares a lognormal level that
follows an AR(1) process, so the true mean is known. Three intervals are taken from the same blocks
of windows: percentiles of the bootstrap, Student's t, and that of `bitloss.metrics.intervals`.

`--drawn` simulates texts of 300 windows and draws some of them at random, as a limit does. The
target is the mean of the process, not of the text, so drawing nearly all of a text whose windows
depend on each other is the hard case. Blocks of one window, blocks of as many drawn windows as of
neighbors, and those of `block_length`.

`--records` takes the records of a run that scored a whole text, such as

    bitloss compare pocket gguf-q4_k_m gguf-q2_k --corpus wikitext-2 --max-length 128 --stride 128

and limits it again and again: to neighboring windows from a random place on, as a limit to the
first windows has them, and to windows drawn at random. It prints how often the intervals hold the
whole text's value, aim 95%, and how often the upper limit is below it, aim 2.5%.

`--documents` simulates texts whose documents differ, with blocks of neighbors and with documents as
blocks; `--few` simulates short texts, read through; `--rescored` takes the same RUN as `--records`
and scores windows at random look by look, until the divergence is known to a tenth, by the width of
a plain interval and by a confidence sequence."""

from __future__ import annotations

import argparse
import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bitloss.analysis.window_intervals import window_intervals
from bitloss.metrics.divergence import mean_divergence, relative_perplexity
from bitloss.metrics.intervals import Interval, Series, block_length, bootstrap
from bitloss.metrics.sequential import sequential
from bitloss.runner import RunStore

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


def simulated(runs: int) -> None:
    """Print the table of neighboring windows in Markdown."""
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


def drawn(runs: int, of: int = 300) -> None:
    """Print the table of windows drawn from simulated texts in Markdown."""
    print(f"| text | of {of} windows | block of one | as of neighbors | of the text (used) |")
    print("|---|---|---|---|---|")
    for name, text in TEXTS.items():
        for n_windows in (30, 100, 200, 290):
            generator = np.random.default_rng(1)
            means, true = simulate(generator, runs, of, text)
            places = [np.sort(generator.permutation(of)[:n_windows]) for _ in range(runs)]
            ones = np.ones(n_windows)
            series = {str(i): Series(means[i][places[i]], ones) for i in range(runs)}
            cells = []
            for block in (1, block_length(n_windows), block_length(n_windows, drawn_from=of)):
                found = bootstrap(series, seed=2, resamples=RESAMPLES, block=block).values()
                width = float(np.median([one.high - one.low for one in found]))
                cells.append(f"{_shares(list(found), true)[0]:.1%} ({block}), width {width:.3g}")
            print(f"| {name} | {n_windows} | {' | '.join(cells)} |", flush=True)


def of_records(run: Path, runs: int) -> None:
    """Print the table of a run's own windows in Markdown."""
    store = RunStore(run)
    manifest = store.read_manifest()
    print("| corpus, variant | statistic | windows | neighbors | drawn |")
    print("|---|---|---|---|---|")
    for corpus, entry in manifest.corpora.items():
        facts = entry.facts
        if facts.n_windows < facts.n_windows_total:
            raise SystemExit(f"{run}: expected all of the corpus `{corpus}`, got some of it")
        for variant, scored in entry.variants.items():
            records = store.read_token_records(scored.records)
            divergence = mean_divergence(records.kl_divergence, records.window)
            relative = relative_perplexity(
                records.reference_nll, records.nll, records.window, facts.averaging, facts.valid
            )
            for title, series in (("KLD", divergence), ("relative PPL", relative)):
                total = len(series.means)
                for n in (20, 50, 100, 300, 1000):
                    if n > total // 2:
                        break
                    generator = np.random.default_rng(n)
                    first = generator.integers(0, total - n + 1, runs)
                    neighbors = first[:, None] + np.arange(n)
                    chosen = np.stack([generator.permutation(total)[:n] for _ in range(runs)])
                    block = block_length(n, drawn_from=total)
                    cells = [
                        _limited(series, neighbors, block_length(n)),
                        _limited(series, np.sort(chosen), block),
                    ]
                    where = f"{corpus} ({total:,} windows), {variant}"
                    print(f"| {where} | {title} | {n} | {' | '.join(cells)} |", flush=True)


def _limited(series: Series, places: NDArray[np.int64], block: int) -> str:
    """Coverage of the whole series' value from some of its windows, ``[runs, n]``, as text."""
    whole = next(iter(bootstrap({"": series}, seed=2, resamples=10).values())).value
    some = {
        str(index): Series(series.means[own], series.weights[own], series.scale, series.bounds)
        for index, own in enumerate(places)
    }
    found = list(bootstrap(some, seed=2, resamples=RESAMPLES, block=block).values())
    held, below = _shares(found, whole)
    width = float(np.median([one.high - one.low for one in found]))
    return f"{held:.1%}, upper limit too low {below:.1%}, width {width:.2g}"


def _shares(found: list[Interval], true: float) -> tuple[float, float]:
    """How often an interval holds the truth, and how often it lies below."""
    low, high = (np.array([getattr(one, end) for one in found]) for end in ("low", "high"))
    return float(np.mean((low <= true) & (true <= high))), float(np.mean(high < true))


def documents(runs: int) -> None:
    """Print the table of texts in documents; their levels have twice the windows' own spread."""
    print("| documents | windows of each | blocks of neighbors | documents |")
    print("|---|---|---|---|")
    for count, length in ((3, 40), (5, 20), (8, 20), (20, 10), (60, 5), (60, 1), (200, 2)):
        generator = np.random.default_rng([count, length])
        held: list[list[Interval]] = [[], []]
        for seed in range(runs):
            sizes = 1 + generator.poisson(length - 1, count)
            places = np.repeat(np.arange(count), sizes)
            level = 0.26 * generator.normal(size=count)[places]
            level += 0.13 * generator.normal(size=len(places))
            noise = generator.lognormal(0.0, 1.4, (len(places), TOKENS)).mean(1)
            means = {"": Series(np.exp(level) * noise, np.ones(len(places)))}
            windows = np.arange(len(places), dtype=np.int32)
            for found, own in zip(held, ((), tuple(places.tolist())), strict=True):
                found += window_intervals(
                    means, windows, documents=own, drawn_from=None, seed=seed
                ).values()
        true = math.exp((1.4**2 + 0.26**2 + 0.13**2) / 2)
        cells = [_with_none(found, true) for found in held]
        print(f"| {count} | {length} | {' | '.join(cells)} |", flush=True)


def few(runs: int) -> None:
    """Print the table of short texts, read through."""
    print("| autocorrelation | windows | blocks of one | blocks of two | as used |")
    print("|---|---|---|---|---|")
    for autocorrelation in (0.0, 0.2, 0.4):
        for n in (5, 8, 9, 10, 12, 20):
            generator = np.random.default_rng(n)
            noise = generator.normal(size=(runs, n))
            for i in range(1, n):
                noise[:, i] *= math.sqrt(1 - autocorrelation**2)
                noise[:, i] += autocorrelation * noise[:, i - 1]
            means = np.exp(0.5 * noise - 0.125)
            series = {str(i): Series(row, np.ones(n)) for i, row in enumerate(means)}
            cells = [
                _with_none(
                    list(bootstrap(series, seed=2, block=block, resamples=RESAMPLES).values())
                )
                for block in (1, 2)
            ]
            used = window_intervals(
                series, np.arange(n, dtype=np.int32), documents=(), drawn_from=None, seed=2
            )
            cells.append(_with_none(list(used.values())))
            print(f"| {autocorrelation} | {n} | {' | '.join(cells)} |", flush=True)


def _with_none(found: list[Interval], true: float = 1.0) -> str:
    known = [one for one in found if not math.isnan(one.low)]
    if not known:
        return "none"
    held, below = _shares(known, true)
    width = float(np.median([one.high - one.low for one in known]))
    return f"{held:.1%}, upper limit too low {below:.1%}, width {width / true:.2f}"


def rescored(run: Path, runs: int) -> None:
    """Print how well the interval at the end of looks holds the whole text's divergence."""
    store = RunStore(run)
    print("| variant | stopped by | windows | interval then | coverage |")
    print("|---|---|---|---|---|")
    for entry in store.read_manifest().corpora.values():
        for variant, scored in entry.variants.items():
            records = store.read_token_records(scored.records)
            whole = mean_divergence(records.kl_divergence, records.window)
            true = float(np.average(whole.means, weights=whole.weights))
            for by in ("plain", "sequence"):
                found: dict[str, list[Interval]] = {"plain": [], "sequence": []}
                counts = []
                for seed in range(runs):
                    order = np.random.default_rng(seed).permutation(len(whole.means))
                    size = 16
                    while True:
                        both = _at_look(whole, np.sort(order[:size]), seed)
                        half = max(both[by].high - both[by].value, both[by].value - both[by].low)
                        if half <= 0.1 * both[by].value or size >= len(order):
                            break
                        size *= 2
                    counts.append(min(size, len(order)))
                    for name, one in both.items():
                        found[name].append(one)
                for name, ones in found.items():
                    held = _shares(ones, true)[0]
                    windows = f"{np.median(counts):.0f}"
                    print(f"| {variant} | {by} | {windows} | {name} | {held:.1%} |", flush=True)


def _at_look(whole: Series, places: NDArray[np.int64], seed: int) -> dict[str, Interval]:
    """The plain interval of some windows, and that of the sequence."""
    one = {"": Series(whole.means[places], whole.weights[places], bounds=(0.0, math.inf))}
    total = len(whole.means)
    block = block_length(len(places), drawn_from=total)
    return {
        "plain": bootstrap(one, seed=seed, block=block, resamples=RESAMPLES)[""],
        "sequence": sequential(one, places.astype(np.int32), range(total))[""],
    }


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=2000, help="samples for each line")
    parser.add_argument("--drawn", action="store_true", help="windows drawn from simulated texts")
    parser.add_argument("--records", type=Path, help="a run directory")
    parser.add_argument("--documents", action="store_true", help="texts in documents")
    parser.add_argument("--few", action="store_true", help="short texts")
    parser.add_argument("--rescored", type=Path, help="a run directory, scored look by look")
    arguments = parser.parse_args()
    if arguments.records:
        of_records(arguments.records, arguments.runs)
    elif arguments.rescored:
        rescored(arguments.rescored, arguments.runs)
    elif arguments.documents:
        documents(arguments.runs)
    elif arguments.few:
        few(arguments.runs)
    elif arguments.drawn:
        drawn(arguments.runs)
    else:
        simulated(arguments.runs)


if __name__ == "__main__":
    main()
