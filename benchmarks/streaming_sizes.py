"""What reading large models a layer at a time would take, on paper.

    python benchmarks/streaming_sizes.py [--memory 8 16 64] [--tokens 300000] [--bits 16]
        [--read 2] [--decode 2] [--disk 1] [--compute 1.5] [--config FILE ...]

No weights and no card are needed: sizes are those of transformers' classes without memory, and how
much is read at once is what the engine itself would choose (`plan_stream`). For each model and each
amount of memory in GB, prints the peak (weights and states, without Python's 0.5 GB), how many
experts are held at once, waves, what is read and what states move, and the hours of one pass over a
text at the given rates: GB/s of the file and of states' disk, GB/s of dense weights decoded, and
TFLOP/s of products. Reading and decoding overlap with computing: the slower of them counts. Built
in are the shapes of Llama 3 70B and of DeepSeek V3 (671 billion parameters).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from bitloss.engines.dense.scoring.keys import state_width
from bitloss.engines.dense.streaming.budget import LayerSize, chosen_experts, plan_stream
from bitloss.engines.dense.streaming.shapes import sizes_by_config

LLAMA_70B: dict[str, Any] = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 8192,
    "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": False,
}  # fmt: skip
DEEPSEEK_671B: dict[str, Any] = {
    "model_type": "deepseek_v3", "architectures": ["DeepseekV3ForCausalLM"], "hidden_size": 7168,
    "intermediate_size": 18432, "moe_intermediate_size": 2048, "num_hidden_layers": 61,
    "num_attention_heads": 128, "num_key_value_heads": 128, "q_lora_rank": 1536,
    "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8, "n_group": 8,
    "topk_group": 4, "first_k_dense_replace": 3, "vocab_size": 129280,
    "max_position_embeddings": 163840, "tie_word_embeddings": False,
}  # fmt: skip
BUILT_IN = {"Llama 3 70B": LLAMA_70B, "DeepSeek V3 671B": DEEPSEEK_671B}
SIZE = 2  # bytes of a number in bf16
COLUMNS = "{:18} {:>6} {:>6} {:>5} {:>8} {:>6} {:>9} {:>9} {:>9} {:>6}"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--config", type=Path, nargs="*", default=[])
    parser.add_argument("--memory", type=float, nargs="+", default=[8, 16, 64])
    parser.add_argument("--tokens", type=int, default=300_000)
    parser.add_argument("--bits", type=float, default=16)
    parser.add_argument("--free", type=float, default=500, help="GB free on disk")
    for rate, usual in (("read", 2.0), ("decode", 2.0), ("disk", 1.0), ("compute", 1.5)):
        parser.add_argument(f"--{rate}", type=float, default=usual)
    arguments = parser.parse_args()
    configs = {path.parent.name: json.loads(path.read_text()) for path in arguments.config}
    print(
        COLUMNS.format(
            "model", "dense", "memory", "peak", "of dense", "waves", "experts", "read", "states",
            "hours",
        )
    )  # fmt: skip
    for name, config in (configs or BUILT_IN).items():
        for memory in arguments.memory:
            show(name, config, memory, arguments)


def show(name: str, config: dict[str, Any], memory: float, rates: argparse.Namespace) -> None:
    """One line."""
    layers = sizes_by_config(config, SIZE)
    matrix = SIZE * config["vocab_size"] * config["hidden_size"]
    body = sum(layer.total for layer in layers)
    dense = body + matrix * (1 if config.get("tie_word_embeddings") else 2)
    plan = plan_stream(
        rates.tokens, layers, SIZE * state_width(config), int(memory * 1e9), int(rates.free * 1e9)
    )
    peak = plan.weights + plan.states
    decoded = plan.waves * body
    read = decoded * rates.bits / 16
    products = 2 * rates.tokens * (active(config, layers) + matrix) / SIZE
    seconds = max(
        read / (rates.read * 1e9), decoded / (rates.decode * 1e9), products / (rates.compute * 1e12)
    )
    seconds += 2 * plan.moved / (rates.disk * 1e9)
    groups = max(plan.groups)
    print(
        COLUMNS.format(
            name, f"{dense / 1e9:.0f}", f"{memory:g}", f"{peak / 1e9:.1f}", f"{peak / dense:.3f}",
            plan.waves, groups or "all", f"{read / 1e12:.2f} TB", f"{2 * plan.moved / 1e12:.2f} TB",
            f"{seconds / 3600:.1f}",
        )
    )  # fmt: skip


def active(config: dict[str, Any], layers: list[LayerSize]) -> int:
    """Bytes of the weights that a token meets in the body."""
    chosen = chosen_experts(config)
    return sum(layer.rest + min(layer.experts, chosen) * layer.expert for layer in layers)


if __name__ == "__main__":
    main()
