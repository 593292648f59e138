"""A reference that is an unquantized GGUF file already: llama.cpp's quantizer gets it as it is.

It is not rewritten, so the architecture need not be one that bitloss can read; scoring
and importance matrices need one that it can.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bitloss.errors import QuantizationError
from bitloss.formats.gguf.checkpoint import open_checkpoint
from bitloss.formats.gguf.files import GgufFiles, find_file, open_files

__all__ = ["GivenGguf", "open_given"]

_DENSE = ("F32", "F16", "BF16", "F64", "I8", "I16", "I32", "I64")


@dataclass(frozen=True, slots=True)
class GivenGguf:
    """An unquantized GGUF model.

    Attributes:
        path: as the user named it, a file or the directory that holds it.
        files: headers of all its parts.
    """

    path: Path
    files: GgufFiles

    @property
    def first_file(self) -> Path:
        """The file, or the first part, which is what llama.cpp opens."""
        return self.files.paths[0]

    @property
    def tensors(self) -> int:
        """How many tensors it has."""
        return len(self.files.tensors)

    def stored_parameters(self) -> dict[str, tuple[str, ...]]:
        """llama.cpp's names of the tensors of each parameter of transformers' module graph.

        Raises:
            UnsupportedModel: an architecture that bitloss cannot read.
        """
        checkpoint = open_checkpoint(self.first_file)
        return {name: parameter.stored for name, parameter in checkpoint.parameters.items()}

    def load(self) -> Any:
        """transformers' model with the file's weights, in bfloat16 if most of the file is.

        Raises:
            UnsupportedModel: an architecture that bitloss cannot read.
        """
        from transformers import AutoConfig, AutoModelForCausalLM

        checkpoint = open_checkpoint(self.first_file)
        config = AutoConfig.for_model(**checkpoint.config)
        model: Any = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        model = model.float().eval()
        model.load_state_dict({n: checkpoint.read(n) for n in checkpoint.names()}, strict=False)
        model.tie_weights()
        sizes: Counter[str] = Counter()
        for tensor in self.files.tensors.values():
            sizes[tensor.type] += tensor.nbytes
        return model.bfloat16() if sizes.most_common(1)[0][0] == "BF16" else model


def open_given(model: Path) -> GivenGguf:
    """Open a GGUF file, any part of a split one, or the directory that holds it.

    Raises:
        CheckpointError: the file is missing, truncated or damaged.
        QuantizationError: it is quantized.
    """
    file = find_file(model)
    assert file is not None
    files = open_files(file)
    quantized = Counter(t.type for t in files.tensors.values() if t.type not in _DENSE)
    if quantized:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in quantized.most_common())
        raise QuantizationError(
            f"expected an unquantized GGUF file (F32, F16 or BF16) as the reference of a recipe, "
            f"got `{model}` with tensors of {kinds}",
            hint="give the F32, F16 or BF16 file that it was made from: to quantize rounded "
            "weights again measures another loss",
        )
    return GivenGguf(model, files)
