"""Does bitloss decode what ModelOpt exports as ModelOpt's own tensors do?

    python3 -m venv ENV && ENV/bin/pip install torch==2.13.0 transformers==5.24.0
    ENV/bin/pip install "nvidia-modelopt[hf]==0.47.0" onnx torchprofile
    python benchmarks/oracle_modelopt.py --environment ENV

A tiny llama and a tiny mixture of experts are quantized and exported by each recipe in the
environment (`modelopt_export.py`) and opened here. Printed per recipe: the facts, how many weights
are equal bit for bit to ModelOpt's `dequantize` in float32, their distance from the original
weights (root of mean squares), and the largest difference of logits from transformers' model with
ModelOpt's weights, in parts of the largest logit.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.scoring.head import load_head
from bitloss.errors import BitlossError
from bitloss.formats import open_checkpoint

__all__: list[str] = []

RECIPES = (
    "FP8_DEFAULT_CFG", "FP8_PER_CHANNEL_PER_TOKEN_CFG", "FP8_2D_BLOCKWISE_WEIGHT_ONLY_CFG",
    "MXFP8_DEFAULT_CFG", "NVFP4_DEFAULT_CFG", "W4A16_NVFP4_CFG", "MXFP4_DEFAULT_CFG",
    "W4A8_MXFP4_FP8_CFG", "FP8_DEFAULT_CFG+NVFP4_DEFAULT_CFG",
)  # fmt: skip
_SIZES = {
    "vocab_size": 96, "hidden_size": 256, "intermediate_size": 384, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64,
    "max_position_embeddings": 64, "tie_word_embeddings": False,
}  # fmt: skip
_EXPERTS = {"moe_intermediate_size": 128, "num_experts": 4, "num_experts_per_tok": 2}
IDS = torch.randint(3, 90, (4, 32), generator=torch.Generator().manual_seed(0))
MODELS: dict[str, dict[str, Any]] = {"llama": {}, "qwen3_moe": _EXPERTS}


def save(kind: str, folder: Path) -> None:
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, **_SIZES, **MODELS[kind])
    AutoModelForCausalLM.from_config(config).bfloat16().save_pretrained(folder)


def expected_logits(folder: Path, original: Any, oracle: dict[str, torch.Tensor]) -> torch.Tensor:
    """By transformers, from a dense copy of the model with ModelOpt's weights."""
    from transformers import AutoModelForCausalLM

    dense = folder / "oracle" / "dense"
    dense.mkdir(exist_ok=True)
    tensors = {name: oracle.get(name, original.read(name)).float() for name in original.names()}
    save_file(tensors, dense / "model.safetensors")
    (dense / "config.json").write_text(json.dumps(original.config))
    model = AutoModelForCausalLM.from_pretrained(dense, dtype=torch.float32).eval()
    with torch.no_grad():
        logits: torch.Tensor = model(IDS).logits
    return logits


def logits_of(checkpoint: Any) -> torch.Tensor:
    graph = ModelGraph(checkpoint.config, precision="fp32", device="cpu")
    graph.load(checkpoint)
    head = load_head(checkpoint, precision="fp32", device="cpu")
    return head.logits(graph.hidden(IDS).flatten(0, 1), 0, head.vocabulary).view(*IDS.shape, -1)


def compare(folder: Path, original: Any) -> str:
    try:
        checkpoint = open_checkpoint(folder)
    except BitlossError as error:
        return f"refused: {error.message}"
    oracle = load_file(folder / "oracle" / "oracle.safetensors")
    equal, squares, apart = 0, 0.0, 0.0
    for name, expected in oracle.items():
        found, plain = checkpoint.read(name).float(), original.read(name).float()
        equal += torch.equal(found, expected)
        squares += float(plain.square().sum())
        apart += float((found - plain).square().sum())
    info = checkpoint.info
    line = (
        f"{info.format} {info.bits:g} bits, group {info.group_size}, "
        f"{info.bits_per_weight:.3f} bits/weight: {equal} of {len(oracle)} weights equal, "
        f"{(apart / max(squares, 1e-30)) ** 0.5:.2%} from the original"
    )
    wanted = expected_logits(folder, original, oracle)
    difference = float((logits_of(checkpoint) - wanted).abs().max() / wanted.abs().max())
    return f"{line}; logits {difference:.1e}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--environment", type=Path, required=True, help="with nvidia-modelopt")
    parser.add_argument("--folder", type=Path, help="keep models and files there")
    parser.add_argument("--recipe", action="append", help="one of ModelOpt's, by name")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp())
    recipes = arguments.recipe or RECIPES
    for kind in MODELS:
        save(kind, folder / kind)
        out = folder / f"{kind}-exports"
        script = Path(__file__).with_name("modelopt_export.py")
        command = [arguments.environment / "bin/python", script, folder / kind, out, *recipes]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(done.stderr[-2000:])
        original = open_checkpoint(folder / kind)
        for recipe in recipes:
            made = (out / recipe / "oracle" / "oracle.safetensors").is_file()
            result = compare(out / recipe, original) if made else "ModelOpt does not export it here"
            print(f"{kind:10} {recipe:34} {result}", flush=True)


if __name__ == "__main__":
    main()
