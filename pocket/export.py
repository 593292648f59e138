"""Ship what was trained: ``python -m pocket.export --run DIR``.

Writes the weights in bf16 with tokenizer and configuration, makes the quantized models of the
demonstration, measures all of them on the pocket suite, writes the model card from what was
measured, and says whether the targets were met.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from bitloss.demo import RECIPES
from pocket.card import card, misses
from pocket.items import PACKAGE
from pocket.model import Shape
from pocket.tokenizer import BOS, EOS, PAD, write_tokenizer

__all__ = ["export", "main", "measure"]

_MOST_BYTES = 16 << 20


def export(run: Path, out: Path) -> dict[str, Any]:
    """Write the model's directory.

    Args:
        run: folder of the training.
        out: made where it is not there.

    Returns:
        What the training did: its arguments, steps, tokens and seconds.

    Raises:
        ValueError: the weights are larger than may be shipped.
    """
    saved = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)
    weights = {name: value.to(torch.bfloat16) for name, value in saved["model"].items()}
    shape = Shape(**saved["shape"])
    out.mkdir(parents=True, exist_ok=True)
    save_file(weights, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # safetensors lets nobody else read it
    size = (out / "model.safetensors").stat().st_size
    if size > _MOST_BYTES:
        raise ValueError(f"expected at most {_MOST_BYTES:,} bytes of weights, got {size:,}")
    write_tokenizer(Tokenizer.from_file(str(run / "tokenizer.json")), out)
    _write_json(out / "config.json", shape.config())
    ids = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    _write_json(out / "generation_config.json", ids)
    return {
        "parameters": sum(value.numel() for value in weights.values()),
        "bytes": size,
        "arguments": saved["arguments"],
        "shape": saved["shape"],
        **saved["state"],
    }


def measure(model: Path, folder: Path, recipes: tuple[str, ...]) -> dict[str, Any]:
    """What `bitloss demo` finds, as in its ``comparison.json``.

    Raises:
        RuntimeError: a library or the sandbox is missing here.
    """
    from bitloss import api, demo

    planned = demo.plan_demo(recipes)
    if planned.left_out:
        raise RuntimeError(f"not all can be measured here: {'; '.join(planned.left_out)}")
    result = api.run(replace(planned.spec, reference=str(model)), folder)
    print(result)
    found: dict[str, Any] = json.loads(result.to_json())
    return found


def digests(model: Path) -> dict[str, str]:
    """Sha256 (hex) of the files that decide what the model says, by name."""
    names = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    return {name: hashlib.sha256((model / name).read_bytes()).hexdigest() for name in names}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def main() -> None:
    """Export, measure, and write the card."""
    parser = argparse.ArgumentParser(prog="python -m pocket.export", description=__doc__)
    parser.add_argument("--run", type=Path, required=True, help="folder of the training")
    parser.add_argument("--out", type=Path, default=PACKAGE.parent / "models" / "pocket")
    parser.add_argument("--recipes", nargs="*", default=list(RECIPES), help="quantized models")
    parser.add_argument("--keep", type=Path, help="run directory; else a temporary one")
    args = parser.parse_args()
    facts = export(args.run, args.out)
    _write_json(args.out / "digests.json", digests(args.out))
    with tempfile.TemporaryDirectory(prefix="pocket-") as folder:
        found = measure(args.out, args.keep or Path(folder), tuple(args.recipes))
    (args.out / "README.md").write_text(card(facts, found), encoding="utf-8")
    told = misses(found)
    for line in told:
        print(f"missed: {line}")
    print(f"{args.out}: {facts['bytes']:,} bytes; {'all targets met' if not told else 'see above'}")


if __name__ == "__main__":
    main()
