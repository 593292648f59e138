"""Does `lm-eval-wikitext` give lm-evaluation-harness's own numbers?

    python benchmarks/parity_perplexity.py [--model DIR] [--data DIR] [--pages N]

Makes an environment of its own (`.venv-lm-eval`, kept for the next time), runs the harness 0.4.13
with `hf` in float32 on the pages of WikiText-2, and compares word and byte perplexity with ours:
our windows, through a plain transformers forward in float32. Prints both and the relative
difference; ends with 1 where it is above 1e-5.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import subprocess
import sys
import tempfile
import venv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.datasets import load_corpus
from bitloss.errors import BitlossError
from bitloss.metrics.perplexity import byte_perplexity, word_perplexity
from bitloss.protocols import make_protocol
from bitloss.types import Corpus, IntArray, WindowPlan

ROOT = Path(__file__).resolve().parents[1]
HARNESS = "0.4.13"
TOLERANCE = 1e-5

TASK = """\
task: wikitext_local
dataset_path: json
dataset_kwargs:
  data_files:
    test: {pages}
output_type: loglikelihood_rolling
test_split: test
doc_to_text: ""
doc_to_target: !function preprocess_wikitext.wikitext_detokenizer
process_results: !function preprocess_wikitext.process_results
metric_list:
  - metric: word_perplexity
  - metric: byte_perplexity
  - metric: bits_per_byte
metadata:
  version: 2.0
"""


def main() -> int:
    arguments = _parse()
    corpus = load_corpus("wikitext-2", data=arguments.data)
    if arguments.pages is not None:
        corpus = replace(corpus, documents=corpus.documents[: arguments.pages])
    ours = bitloss_perplexity(arguments.model, corpus)
    theirs = harness_perplexity(harness_python(arguments.environment), arguments.model, corpus)
    worst = 0.0
    print(f"{'':16} {'bitloss':>16} {'lm-eval ' + HARNESS:>16} {'difference':>12}")
    for metric, expected in theirs.items():
        difference = abs(ours[metric] / expected - 1)
        worst = max(worst, difference)
        print(f"{metric:16} {ours[metric]:16.8f} {expected:16.8f} {difference:12.1e}")
    return int(worst > TOLERANCE)


def bitloss_perplexity(model: Path, corpus: Corpus) -> dict[str, float]:
    """Word and byte perplexity of our plan, scored by transformers in float32."""
    from transformers import AutoConfig, AutoTokenizer

    # The harness reads as much as the model can (lm_eval/models/utils.py, resolve_max_length).
    length = AutoConfig.from_pretrained(model).max_position_embeddings
    tokenizer = _Tokenizer(AutoTokenizer.from_pretrained(model))
    plan = make_protocol("lm-eval-wikitext", {"max_length": length}).plan(corpus, tokenizer)
    mean = mean_loss(model, plan)
    assert plan.n_words is not None
    return {
        "word_perplexity": word_perplexity(mean, plan.n_tokens, plan.n_words),
        "byte_perplexity": byte_perplexity(mean, plan.n_tokens, plan.n_bytes),
    }


def mean_loss(model: Path, plan: WindowPlan) -> float:
    """Mean loss in nats of the scored tokens, one window at a time."""
    import torch
    from transformers import AutoModelForCausalLM

    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    total = 0.0
    for window in plan.windows:
        ids = torch.from_numpy(window.ids.astype(np.int64))
        with torch.inference_mode():
            logits = network(ids[None, :-1]).logits[0, window.first - 1 :]
            losses = torch.nn.functional.cross_entropy(
                logits, ids[window.first :], reduction="none"
            )
        total += float(losses.double().sum())
    return total / plan.n_scored


def harness_python(environment: Path) -> Path:
    """The harness's interpreter; its environment is made where it is absent."""
    python = environment / "bin" / "python"
    check = [str(python), "-c", f"import lm_eval; assert lm_eval.__version__ == '{HARNESS}'"]
    if not python.exists() or subprocess.run(check, capture_output=True).returncode != 0:
        print(f"installing lm_eval {HARNESS} into {environment} ...", file=sys.stderr)
        venv.create(environment, with_pip=True, clear=True)
        versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
        packages = [
            f"torch=={versions['torch'].partition('+')[0]}",
            f"transformers=={versions['transformers']}",
            f"lm_eval[hf]=={HARNESS}",
        ]
        subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def harness_perplexity(python: Path, model: Path, corpus: Corpus) -> dict[str, float]:
    """Run the harness's task `wikitext` on the corpus's pages."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        # JSON escapes are kept: a line of the file is a page whatever characters it holds.
        pages = "".join(json.dumps({"page": page}) + "\n" for page in corpus.documents)
        (work / "pages.jsonl").write_text(pages, encoding="utf-8")
        (work / "task.yaml").write_text(TASK.format(pages=work / "pages.jsonl"))
        # The harness's own detokenizer, from its own installation.
        found = subprocess.run(
            [python, "-c", "import lm_eval.tasks.wikitext as t; print(list(t.__path__)[0])"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        source = Path(found.stdout.strip().splitlines()[-1]) / "preprocess_wikitext.py"
        (work / source.name).write_bytes(source.read_bytes())
        command = [
            python, "-m", "lm_eval", "run", "--model", "hf",
            "--model_args", f"pretrained={model},dtype=float32",
            "--tasks", "wikitext_local", "--include_path", work, "--device", "cpu",
            "--batch_size", "1", "--output_path", work / "results",
        ]  # fmt: skip
        offline = {"HF_DATASETS_CACHE": str(work / "cache"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [str(part) for part in command],
            env=os.environ | offline, cwd=work, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode != 0:
            raise SystemExit(f"lm_eval ended with {done.returncode}:\n{done.stderr[-4000:]}")
        (result,) = (work / "results").rglob("results*.json")
        values: dict[str, Any] = json.loads(result.read_text())["results"]["wikitext_local"]
    return {name: values[f"{name},none"] for name in ("word_perplexity", "byte_perplexity")}


class _Tokenizer:
    """A transformers tokenizer with the facts that a protocol asks for."""

    def __init__(self, peer: Any) -> None:
        self.peer = peer
        self.bos_id: int | None = peer.bos_token_id
        self.eos_id: int | None = peer.eos_token_id
        self.adds_bos: bool = self.bos_id is not None and peer("a").input_ids[0] == self.bos_id

    def encode(self, text: str, *, special: bool) -> IntArray:
        ids = self.peer(text, add_special_tokens=special, verbose=False).input_ids
        return np.array(ids, dtype=np.int32)


def _directory(text: str) -> Path:
    return Path(text).resolve()


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    shared = ROOT.parent / "shared"
    parser.add_argument("--model", type=_directory, default=shared / "models" / "scribe-4m")
    parser.add_argument("--data", type=Path, default=shared / "data", help="local data directory")
    parser.add_argument("--pages", type=int, help="only the first so many of 62 pages")
    parser.add_argument("--environment", type=Path, default=ROOT / ".venv-lm-eval")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except BitlossError as error:
        sys.exit(f"error: {error}")
