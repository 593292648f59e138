"""Model files of every format, opened as dense weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats._directory import quant_method
from bitloss.formats._shards import weight_files
from bitloss.formats.base import Checkpoint
from bitloss.registry import FORMATS, load

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Checkpoint", "open_checkpoint"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt")


def open_checkpoint(path: Path, *, name: str | None = None) -> Checkpoint:
    """Open a model directory or a ``.gguf`` file with the first format that takes it.

    Args:
        path: of the directory or file.
        name: how the user called the model, for tables and messages; the path where None.

    Raises:
        CheckpointError: nothing is there, or it is incomplete, damaged or made of pickles.
        UnsupportedModel: the weights are quantized with a method that is not known here.
    """
    if not path.exists():
        raise CheckpointError(
            f"no model at `{path}`: no such file or directory", hint="check the path"
        )
    for kind in FORMATS:
        plug: ModuleType = load("format", FORMATS, kind)
        if plug.matches(path):
            if path.is_dir() and kind != "gguf":
                _require_weights(path)
            checkpoint: Checkpoint = plug.open_checkpoint(path, name)
            return checkpoint
    raise _why_not(path)


def _require_weights(path: Path) -> None:
    if weight_files(path)[1]:
        return
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
    if pickles:
        raise CheckpointError(
            f"{path}: the weights are pickled ({pickles[0]}); expected safetensors, because "
            "loading a pickle runs code from the file",
            hint="convert it where you trust it: AutoModelForCausalLM.from_pretrained(...)"
            ".save_pretrained(...) writes safetensors",
        )
    raise CheckpointError(
        f"{path}: config.json is there, weights are not: expected model.safetensors or shards "
        "with an index",
        hint="download the rest of the checkpoint",
    )


def _why_not(path: Path) -> CheckpointError | UnsupportedModel:
    if not path.is_dir():
        return CheckpointError(
            f"`{path}` is not a model: expected a .gguf file or a directory, "
            f"got a file `*{path.suffix}`",
            hint="for safetensors give the directory with config.json",
        )
    if not (path / "config.json").is_file():
        ggufs = sorted(path.glob("*.gguf"))
        return CheckpointError(
            f"{path}: a directory without config.json",
            hint=f"give one file, for example {ggufs[0]}"
            if ggufs
            else "expected a model directory as transformers saves it, or a .gguf file",
        )
    known = ", ".join(kind for kind in FORMATS if kind != "safetensors")
    return UnsupportedModel(
        f"{path}: quantization method `{quant_method(path)}` is not supported",
        hint=f"supported: {known}, and unquantized safetensors",
    )
