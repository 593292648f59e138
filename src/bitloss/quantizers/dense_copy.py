"""An unquantized GGUF model as the directory of safetensors that other libraries read.

The copy lives as long as a recipe is carried out. Its weights are in the type that most of the
file's are; its config and tokenizer are those that bitloss reads the file with.
"""

from __future__ import annotations

import json
import math
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss import formats
from bitloss.errors import QuantizationError
from bitloss.files import storage_errors
from bitloss.formats.base import Checkpoint
from bitloss.formats.gguf.checkpoint import GgufCheckpoint, open_checkpoint
from bitloss.formats.gguf.files import find_file
from bitloss.formats.safetensors import dense
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.quantizers.gguf_given import open_given
from bitloss.spec.fingerprint import sha256_files

if TYPE_CHECKING:
    import torch

__all__ = ["dense_directory", "open_dense", "reference_digest"]

_SHARD_BYTES = 2 << 30


def open_dense(model: Path) -> Checkpoint | None:
    """Open an unquantized model, in a directory or a GGUF file; None for anything else.

    Raises:
        QuantizationError: a GGUF file that is quantized.
        CheckpointError: the files are damaged.
        UnsupportedModel: a GGUF file of an architecture that bitloss cannot read.
    """
    if find_file(model) is not None:
        return open_checkpoint(open_given(model).first_file)
    return dense.open_checkpoint(model) if dense.matches(model) else None


def reference_digest(model: Path, name: str) -> str:
    """`ModelInfo.digest` of a reference; of a GGUF file also where bitloss cannot read its model.

    Raises:
        BitlossError: the model cannot be opened.
    """
    if find_file(model) is not None:
        return sha256_files(list(open_given(model).files.paths))
    return formats.open_checkpoint(model, name=name).info.digest


@contextmanager
def dense_directory(model: Path, near: Path) -> Iterator[Path]:
    """The model's own directory, or while the block runs a copy of a GGUF file in `near`.

    Args:
        model: what `open_dense` opens.
        near: an existing directory on the disk that has room.

    Raises:
        QuantizationError: experts, which other libraries want one by one.
        StorageError: there is no room.
    """
    if find_file(model) is None:
        yield model
        return
    checkpoint = open_checkpoint(open_given(model).first_file)
    folder = near / ".dense" / model.stem
    try:
        with storage_errors(near):
            folder.mkdir(parents=True)
            _write(checkpoint, folder)
            load_tokenizer(model).hf.save_pretrained(folder)
        yield folder
    finally:
        shutil.rmtree(near / ".dense", ignore_errors=True)


def _write(checkpoint: GgufCheckpoint, folder: Path) -> None:
    from safetensors.torch import save_file

    dtype = _most_common_type(checkpoint)
    shard: dict[str, torch.Tensor] = {}
    places: dict[str, int] = {}
    size, number = 0, 1

    def name(index: int) -> str:
        return f"model-{index:05d}.safetensors"

    for parameter in checkpoint.names():
        if len(checkpoint.shape(parameter)) == 3 and ".experts." in parameter:
            raise QuantizationError(
                f"{checkpoint.name}: a GGUF file keeps a layer's experts together "
                f"(`{parameter}`), and this method wants them one by one",
                hint="give the directory of safetensors that the file was made from",
            )
        tensor = checkpoint.read(parameter).to(dtype)
        if shard and size + tensor.nbytes > _SHARD_BYTES:
            save_file(shard, folder / name(number), metadata={"format": "pt"})
            shard, size, number = {}, 0, number + 1
        shard[parameter] = tensor
        places[parameter] = number
        size += tensor.nbytes
    save_file(shard, folder / name(number), metadata={"format": "pt"})
    index = {"metadata": {}, "weight_map": {key: name(n) for key, n in places.items()}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {**checkpoint.config, "dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _most_common_type(checkpoint: GgufCheckpoint) -> torch.dtype:
    import torch

    sizes: Counter[str] = Counter()
    for tensor in checkpoint.files.tensors.values():
        sizes[tensor.type] += math.prod(tensor.shape)
    known = {"F16": torch.float16, "BF16": torch.bfloat16}
    return known.get(sizes.most_common(1)[0][0], torch.float32)
