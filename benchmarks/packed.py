"""What do packed kernels cost: in nats beside the same file decoded densely, and in tokens/s?

    python benchmarks/packed.py MODEL VARIANT ... [--text FILE] [--windows N] [--length N]
        [--rounds N] [--prompt N] [--new-tokens N] [--sequences N] [--only losses,speed]

MODEL is `pocket` or a directory; variants are directories of quantized copies of it.

Losses: the mean KL divergence of a file run by its kernels from the same file decoded densely in
float32 (`engine`), beside the noise floor (`floor`: the same of the unquantized model) and beside
what the arithmetic does without any kernel (`rounded`: the file decoded densely, run by the dense
engine in that arithmetic, which rounds its weights too). In the arithmetic that the kernels are
used in, and in float32 where they have it. Then what a comparison shows: the divergence from the
reference, of the weights alone and as run.

Speed: packed against dense, both in bf16, in turns; medians, and the ratio with its 95% interval.
Threads are those of torch (OMP_NUM_THREADS).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bitloss.datasets import load_corpus
from bitloss.engines.evaluate import evaluate, load_engine, make_scorer
from bitloss.engines.logits import LogitsScorer
from bitloss.engines.speed import measure_speed
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.errors import BitlossError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.formats.location.builtin import builtin_model
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.results.speed import SpeedRate, Workload
from bitloss.runner.store import RunStore
from bitloss.types import SilentProgress, Window

COLUMNS = ("engine", "rounded", "floor", "weights", "as run")


def main() -> None:
    arguments = _parse()
    reference = _model(arguments.model)
    variants = [_model(name) for name in arguments.variants]
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads")
    if "losses" in arguments.only:
        _losses(reference, variants, _windows(reference, arguments))
    if "speed" in arguments.only:
        _speed([reference, *variants], arguments)


def _losses(reference: Model, variants: Sequence[Model], windows: Sequence[Window]) -> None:
    print(f"{sum(window.n_scored for window in windows)} tokens; nats per token")
    print(f"{'':24}{'arithmetic':12}" + "".join(f"{name:>10}" for name in COLUMNS))
    for own in ("bf16", "fp32"):
        floor = _divergence(reference, reference, "packed", own, windows)
        for variant in variants:
            row = (
                _divergence(variant, variant, "packed", own, windows),
                _divergence(variant, variant, "dense", own, windows),
                floor,
                _divergence(reference, variant, "dense", "fp32", windows),
                _divergence(reference, variant, "packed", own, windows),
            )  # fmt: skip
            print(f"{variant.name:24}{own:12}" + "".join(f"{value:>10}" for value in row))


def _divergence(
    reference: Model, variant: Model, engine: str, own: str, windows: Sequence[Window]
) -> str:
    """Of a variant from a reference that is decoded densely in float32; "-" if it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        store = RunStore(Path(folder))
        setup = Setup(store, Candidate(reference), SilentProgress())
        # The general scorer for the dense engine too: its own runs both in one arithmetic.
        home = load_engine("dense")
        scorer = LogitsScorer(setup, load_engine(engine), (home, make_scorer(setup, "dense")))
        candidate = Candidate(variant, engine, own)
        try:
            scores = evaluate(scorer, scorer.pieces(windows), [candidate])
            records = scores.records_of(candidate)
        except BitlossError:
            return "-"
        columns = store.read_records(records, ("kl_divergence",))
        return f"{columns['kl_divergence'].mean(dtype=np.float64):.2g}"


def _speed(models: Sequence[Model], arguments: argparse.Namespace) -> None:
    work = Workload(
        arguments.prompt, arguments.new_tokens, arguments.sequences, rounds=arguments.rounds
    )
    print(f"\n{work}")
    for model in models:
        dense, packed = (Candidate(model, engine, "bf16") for engine in ("dense", "packed"))
        setup = TextSetup(model.identity.config, str, ())  # sent to a child
        found = measure_speed(dense, packed, setup, work)
        print(f"{model.name:24}", end="")
        for name, rate in (("prefill", found.prefill), ("decode", found.decode)):
            print(f"{name} {_rate(rate)}; ", end="")
        print(
            f"load {found.candidate.load_seconds:.1f} s (dense {found.reference.load_seconds:.1f}),"
            f" memory {found.candidate.resident_bytes >> 20} MB "
            f"({found.reference.resident_bytes >> 20})"
        )


def _rate(rate: SpeedRate | None) -> str:
    if rate is None:
        return "-"
    ratio = rate.ratio
    return (
        f"{rate.tokens_per_second:.0f} tokens/s (dense {rate.reference:.0f}; x{ratio.value:.2f}, "
        f"{ratio.low:.2f}-{ratio.high:.2f})"
    )


def _model(name: str) -> Model:
    path = builtin_model("pocket") if name == "pocket" else Path(name)
    checkpoint = open_checkpoint(path, name=path.name[:22])
    return Model(path.name[:22], identify(checkpoint), checkpoint, path)


def _windows(reference: Model, arguments: argparse.Namespace) -> list[Window]:
    text = (
        load_corpus("pocket-prose", data=None).raw
        if arguments.text is None
        else arguments.text.read_text(encoding="utf-8")
    )
    assert reference.path is not None
    size = arguments.length
    ids = np.array(load_tokenizer(reference.path).encode(text, special=False), np.int32)
    count = min(arguments.windows, (len(ids) - 1) // size)
    return [Window(ids[at * size : (at + 1) * size + 1], 1, at) for at in range(count)]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("variants", nargs="*")
    parser.add_argument("--text", type=Path)
    parser.add_argument("--windows", type=int, default=8)
    parser.add_argument("--length", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--new-tokens", type=int, default=16)
    parser.add_argument("--sequences", type=int, default=1)
    parser.add_argument("--only", type=lambda words: words.split(","), default="losses,speed")
    return parser.parse_args()


if __name__ == "__main__":
    main()
