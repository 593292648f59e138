"""Does `lm-eval-wikitext` give lm-evaluation-harness's own numbers?

    python benchmarks/parity_perplexity.py [--model DIR] [--data DIR] [--pages N]

Makes an environment of its own (`.venv-lm-eval`, kept for the next time), runs the harness 0.4.13
with `hf` in float32 on the pages of WikiText-2, and compares word and byte perplexity with those
of `bitloss perplexity`. Prints both and the relative difference; ends with 1 where it is above
1e-5.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import harness
from bitloss.datasets import load_corpus

ROOT = Path(__file__).resolve().parents[1]
METRICS = ("word_perplexity", "byte_perplexity")
TOLERANCE = 1e-5


def main() -> int:
    arguments = _parse()
    interpreter = harness.python(arguments.environment)
    with tempfile.TemporaryDirectory() as folder:
        text = harness.first_pages(arguments.data, arguments.pages, Path(folder))
        ours = bitloss_perplexity(arguments.model, text)
        pages = load_corpus(str(text), data=None).documents
    theirs, _ = harness.wikitext(interpreter, arguments.model, pages, model_args="dtype=float32")
    worst = 0.0
    print(f"{'':16} {'bitloss':>16} {'lm-eval ' + harness.VERSION:>16} {'difference':>12}")
    for metric in METRICS:
        expected = theirs[f"{metric},none"]
        difference = abs(ours[metric] / expected - 1)
        worst = max(worst, difference)
        print(f"{metric:16} {ours[metric]:16.8f} {expected:16.8f} {difference:12.1e}")
    return int(worst > TOLERANCE)


def bitloss_perplexity(model: Path, text: Path) -> dict[str, float]:
    """What the command line prints for this text."""
    command = [
        sys.executable, "-m", "bitloss", "perplexity", str(model), "--corpus", str(text),
        "--protocol", "lm-eval-wikitext", "--dtype", "fp32", "--json", "--out", text.parent / "run",
    ]  # fmt: skip
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    (scored,) = json.loads(done.stdout)["reference"]["corpora"].values()
    return {metric: float(scored[metric]) for metric in METRICS}


def _directory(text: str) -> Path:
    return Path(text).resolve()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--model", type=_directory, default=shared / "models" / "scribe-4m")
    parser.add_argument("--data", type=Path, default=shared / "data", help="local data directory")
    parser.add_argument("--pages", type=int, help="only the first so many of 62 pages")
    parser.add_argument("--environment", type=Path, default=harness.ENVIRONMENT)
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
