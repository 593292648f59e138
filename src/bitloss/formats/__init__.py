"""Model files of every format, opened as dense weights."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bitloss import registry
from bitloss.contents.encodings import require_kind
from bitloss.contents.kinds import MODEL, folder_kind
from bitloss.errors import CheckpointError, UnsupportedModel, not_there
from bitloss.formats.base import Checkpoint
from bitloss.formats.storage.directory import quant_method
from bitloss.formats.undecoded import why_undecoded

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["Checkpoint", "open_checkpoint"]


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
        raise not_there(
            CheckpointError(
                f"no model at `{path}`: no such file or directory", hint="check the path"
            )
        )
    for kind in registry.FORMATS:
        plug: ModuleType = registry.load("format", registry.FORMATS, kind)
        if plug.matches(path):
            checkpoint: Checkpoint = plug.open_checkpoint(path, name)
            return checkpoint
    raise _why_not(path)


def _why_not(path: Path) -> CheckpointError | UnsupportedModel:
    if not path.is_dir():
        require_kind(path, CheckpointError, door=MODEL)
    if not (path / "config.json").is_file():
        if kind := folder_kind(path):
            return CheckpointError(
                f"expected a model's directory, got {kind.name} in `{path}`",
                hint=kind.hint or "give a model directory as transformers saves it",
            )
        ggufs = sorted(path.glob("*.gguf"))
        return CheckpointError(
            f"{path}: a directory without config.json",
            hint=f"give one file, for example {ggufs[0]}"
            if ggufs
            else "give a model directory as transformers saves it, or a .gguf file",
        )
    method = quant_method(path) or "unknown"
    reason, hint = why_undecoded(method)
    return UnsupportedModel(
        f"{path}: quantization method `{method}` is not supported{f': {reason}' if reason else ''}",
        hint=hint or f"convert it to a supported format: {', '.join(registry.FORMATS)}",
    )
