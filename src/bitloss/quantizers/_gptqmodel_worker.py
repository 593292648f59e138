"""The process in which GPTQModel runs; `bitloss.quantizers.gptqmodel` starts it."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bitloss.errors import QuantizationError
from bitloss.quantizers.gptqmodel_sizes import check_sizes
from bitloss.quantizers.grouped import GroupedOptions
from bitloss.quantizers.workers import serve

__all__ = ["run_job"]

# Sequences in one forward: more gains nothing on a CPU and only takes memory.
_BATCH = 8


def run_job(spec: dict[str, Any], report: Callable[[int, int], None]) -> dict[str, Any]:
    """Quantize ``spec["model"]`` into ``spec["out"]``; reports blocks done.

    The spec is what `bitloss.quantizers.gptqmodel.quantize` sends.
    """
    check_sizes(spec["method"], GroupedOptions(**spec["options"]), Path(spec["model"]))
    import numpy as np
    import torch
    from gptqmodel import BACKEND, GPTQModel
    from gptqmodel.models.auto import SUPPORTED_MODELS
    from gptqmodel.quantization.config import AWQConfig, GPTQConfig

    config = json.loads((Path(spec["model"]) / "config.json").read_text())
    if config["model_type"].lower() not in SUPPORTED_MODELS:
        raise QuantizationError(
            f"GPTQModel does not know the model type `{config['model_type']}`",
            hint="try a gguf recipe, for example `gguf-q4_k_m`",
        )
    # Also where the library counts the cores that are free to it, as a batch system limits them.
    torch.set_num_threads(spec["threads"])
    # The library may draw from any of the global generators.
    random.seed(spec["seed"])
    np.random.seed(spec["seed"])
    torch.manual_seed(spec["seed"])

    kind = {"gptq": GPTQConfig, "awq": AWQConfig}[spec["method"]]
    settings = kind(
        **spec["arguments"],
        device=spec["device"],
        meta={"calibration": spec["calibration_name"], "seed": spec["seed"]},
    )
    model = GPTQModel.load(spec["model"], settings, dtype=getattr(torch, spec["dtype"]))
    model.layer_callback = _Layers(int(model.model.config.num_hidden_layers), report)
    model.quantize(
        [{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in spec["calibration"]],
        calibration_sort=None,
        batch_size=_BATCH,
        # The portable kernels: the others want a GPU, or are compiled at first use.
        backend=BACKEND.AWQ_TORCH if spec["method"] == "awq" else BACKEND.GPTQ_TORCH,
    )
    model.save(spec["out"])
    return {}


class _Layers:
    """GPTQModel's hook: blocks may be finished out of order, and are announced twice."""

    def __init__(self, total: int, report: Callable[[int, int], None]) -> None:
        self._total, self._report = total, report
        self._finished: set[int] = set()

    def layer_complete(self, *, layer_idx: int, submodule_finalized: bool) -> None:
        """Called when a block's weights are decided, and again when they are packed."""
        if submodule_finalized:
            self._finished.add(layer_idx)
            self._report(len(self._finished), self._total)


if __name__ == "__main__":
    serve(run_job)
