"""GGUF recipes, carried out by llama.cpp's own quantizer.

    gguf-q4_k_m                llama.cpp's file type of that name
    gguf-q2_k-imatrix          with an importance matrix from the calibration text

The model is written as an unquantized GGUF, unless it is one, an importance matrix is computed if
the recipe has one, and ``llama_model_quantize`` does the rest, byte for byte as ``llama-quantize``
would. All of
it happens in a process of its own.

Where a tensor's rows do not fit a type's blocks, llama.cpp takes another type, and a file called
Q4_K_M is then largely Q5_0, as published files of small models are. The checkpoint's notes say so
(`bitloss.formats.gguf.fallbacks`), whoever made the file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bitloss.errors import UnknownName, UsageError
from bitloss.formats.base import ModelIdentity
from bitloss.formats.gguf.file_types import FILE_TYPES
from bitloss.formats.shapes import shape_of
from bitloss.quantizers.base import Quantizer
from bitloss.quantizers.workers import Workers, machine_cores, thread_environment
from bitloss.spec.recipe import Recipe
from bitloss.types import Progress

__all__ = ["GGUF", "GgufOptions", "GgufOutput", "quantize", "run_worker"]

_IMATRIX = "-imatrix"
_DENSE = ("f32", "f16", "bf16")
# Types whose mixture has tensors that llama.cpp refuses to make without an importance matrix
# (src/llama-quant.cpp, tensor_requires_imatrix and llama_tensor_get_type_impl).
_NEED_IMATRIX = (
    "iq1_s", "iq1_m", "iq2_xxs", "iq2_xs", "iq2_s", "iq2_m", "iq3_xxs", "iq3_xs", "q2_k_s",
)  # fmt: skip
# Bits per weight of Llama 3.1 8B (llama.cpp, tools/quantize/README.md; the types that it leaves
# out by the sizes of published files).
_BITS_PER_WEIGHT = {
    "f32": 32.0, "f16": 16.0, "bf16": 16.0, "q8_0": 8.5, "q6_k": 6.56, "q5_1": 6.05, "q5_0": 5.58,
    "q5_k_m": 5.7, "q5_k_s": 5.57, "q4_1": 5.11, "q4_0": 4.64, "q4_k_m": 4.89, "q4_k_s": 4.67,
    "iq4_nl": 4.68, "iq4_xs": 4.46, "q3_k_l": 4.3, "q3_k_m": 4.0, "q3_k_s": 3.64, "iq3_m": 3.76,
    "iq3_s": 3.66, "iq3_xs": 3.5, "iq3_xxs": 3.25, "q2_k": 3.16, "q2_k_s": 2.97, "iq2_m": 2.93,
    "iq2_s": 2.74, "iq2_xs": 2.59, "iq2_xxs": 2.38, "iq1_m": 2.15, "iq1_s": 2.0,
}  # fmt: skip
_SIGNAL_HINTS = {
    "SIGILL": "rebuild llama-cpp-python, whose build uses instructions that this machine lacks or "
    'runs wrongly: CMAKE_ARGS="-DGGML_NATIVE=OFF -DGGML_AVX2=ON -DGGML_FMA=ON -DGGML_F16C=ON '
    '-DLLAVA_BUILD=OFF" pip install --force-reinstall --no-cache-dir --no-binary '
    "llama-cpp-python llama-cpp-python",
}


@dataclass(frozen=True, slots=True)
class GgufOptions:
    """What a GGUF recipe's name says.

    Attributes:
        file_type: a name in `bitloss.formats.gguf.file_types.FILE_TYPES`.
        imatrix: whether an importance matrix is computed from the calibration text.
    """

    file_type: str
    imatrix: bool = False


@dataclass(frozen=True, slots=True)
class GgufOutput:
    """A file that the worker writes.

    Attributes:
        file_type: a name in `bitloss.formats.gguf.file_types.FILE_TYPES`.
        tensor_types: llama-quantize's ``--tensor-type``: regular expressions, searched for in the
            tensors' names in this order, and the ggml type (``q6_k``) of what they find. Other
            tensors have the type that the file type's mixture gives them.
        name: of the file, without its ending.
    """

    file_type: str
    tensor_types: tuple[tuple[str, str], ...] = ()
    name: str = "model"


def _parse(text: str) -> GgufOptions:
    options = GgufOptions(text.removesuffix(_IMATRIX), text.endswith(_IMATRIX))
    if options.file_type not in FILE_TYPES:
        raise UnknownName("recipe", f"gguf-{text}", [f"gguf-{known}" for known in FILE_TYPES])
    return options


def _write(options: GgufOptions) -> str:
    return options.file_type + _IMATRIX * options.imatrix


def _describe(options: GgufOptions) -> str:
    matrix = " with an importance matrix" if options.imatrix else ""
    return f"llama.cpp's {options.file_type.upper()}{matrix}"


def _bits_per_weight(recipe: Recipe) -> float:
    options: GgufOptions = recipe.options
    return _BITS_PER_WEIGHT[options.file_type]


def _memory_bytes(recipe: Recipe, model: ModelIdentity) -> int:
    """Tensors are written and quantized one by one, the largest in float32 and as written; for
    an importance matrix the model is loaded and reads the calibration text.
    """
    options: GgufOptions = recipe.options
    parameters, shape = model.info.parameters, shape_of(model)
    largest = 2 * 4 * max(shape.embedding, shape.width * shape.inner)
    if not options.imatrix or recipe.calibration is None:
        return largest
    size = 2 if model.info.format == "safetensors-bf16" else 4
    forward = 4 * recipe.calibration.length * (8 * shape.width + 3 * shape.inner)
    return size * parameters + max(largest, forward)


def _needs_calibration(options: GgufOptions) -> bool:
    return options.imatrix


def quantize(
    recipe: Recipe,
    model: Path,
    out: Path,
    *,
    calibration: Sequence[Sequence[int]],
    device: str,
    progress: Progress,
    workers: Workers,
    threads: int | None = None,
) -> None:
    """Write ``model.gguf`` into the directory `out`; see `bitloss.quantizers.base.Quantize`.

    Args:
        recipe: a GGUF recipe.
        model: directory of the dense reference, or an unquantized GGUF file.
        out: exists and is empty.
        calibration: token ids for the importance matrix; empty if the recipe has none.
        device: the CPU.
        progress: where to report.
        workers: starts the process.
        threads: of the quantizer, None for all; the result does not depend on it.

    Raises:
        QuantizationError: a tokenizer that GGUF cannot express, or a failure of llama.cpp, with its
            last words.
        UnsupportedModel: an architecture that cannot be written as GGUF.
        UsageError: the type needs an importance matrix and the recipe has none, or the reverse.
    """
    del device
    _check_imatrix(recipe, calibration)
    run_worker(
        [GgufOutput(recipe.options.file_type)],
        model,
        out,
        label=f"{recipe.name} of {model.name}",
        calibration=calibration,
        calibration_name="" if recipe.calibration is None else recipe.calibration.corpus,
        progress=progress,
        workers=workers,
        threads=threads,
    )


def run_worker(
    outputs: Sequence[GgufOutput],
    model: Path,
    out: Path,
    *,
    label: str,
    calibration: Sequence[Sequence[int]] = (),
    calibration_name: str = "",
    progress: Progress,
    workers: Workers,
    threads: int | None = None,
) -> None:
    """Write files into the directory `out`, all of them in one process of their own.

    Args:
        outputs: what is written, each under a name of its own.
        model: see `quantize`.
        out: see `quantize`.
        label: what is made, for people.
        calibration: token ids for an importance matrix; empty for none.
        calibration_name: of that text.
        progress: see `quantize`.
        workers: see `quantize`.
        threads: see `quantize`.

    Raises:
        BitlossError: see `quantize`.
    """
    threads = threads or machine_cores()
    workers.run(
        "bitloss.quantizers._llama_cpp_worker",
        {
            "outputs": [asdict(one) for one in outputs],
            "model": str(model.resolve()),
            "out": str(out.resolve()),
            "calibration": [list(ids) for ids in calibration],
            "calibration_name": calibration_name,
            "threads": threads,
        },
        label=label,
        progress=progress,
        env={
            **thread_environment(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "HF_HUB_OFFLINE": "1",
        },
        unit="steps",
        signal_hints=_SIGNAL_HINTS,
    )


def _check(recipe: Recipe, model: Path) -> None:
    """Refuse a model that no GGUF can be made of; see `Quantizer.check`."""
    from bitloss.formats.gguf.files import find_file
    from bitloss.quantizers.gguf_given import open_given
    from bitloss.quantizers.gguf_source import GgufSource
    from bitloss.quantizers.gguf_tokenizer import read_tokenizer
    from bitloss.quantizers.gguf_writer import open_source
    from bitloss.quantizers.imatrix import require_imatrix

    _check_options(recipe)
    source = open_source(model) if find_file(model) is None else open_given(model)
    if recipe.options.imatrix:
        require_imatrix(source)
    if isinstance(source, GgufSource):
        read_tokenizer(model, source.config.vocab_size)


def _fit(recipe: Recipe, model: Path) -> tuple[Recipe, tuple[str, ...]]:
    """Nothing to choose; a note on what the file cannot say; see `Quantizer.fit`."""
    from bitloss.formats import open_checkpoint
    from bitloss.quantizers.gguf_check import window_note

    if not (model / "config.json").is_file():
        return recipe, ()
    note = window_note(open_checkpoint(model).config)
    return recipe, (note,) if note else ()


def _check_options(recipe: Recipe) -> None:
    options: GgufOptions = recipe.options
    kind = options.file_type
    if kind in _NEED_IMATRIX and not options.imatrix:
        raise UsageError(
            f"recipe `{recipe.name}`: {kind} needs an importance matrix",
            hint=f"use `gguf-{kind}-imatrix`, which computes one from the calibration text",
        )
    if kind in _DENSE and options.imatrix:
        raise UsageError(
            f"recipe `{recipe.name}`: an importance matrix has no effect on {kind}",
            hint=f"use `gguf-{kind}`",
        )


def _check_imatrix(recipe: Recipe, calibration: Sequence[Sequence[int]]) -> None:
    _check_options(recipe)
    if recipe.options.imatrix and not any(calibration):
        raise UsageError(
            f"recipe `{recipe.name}`: an importance matrix needs calibration tokens, got none",
            hint="name a calibration corpus: `@web`, `@wiki`, `@code` or a file",
        )


GGUF = Quantizer(
    method="gguf",
    parse=_parse,
    write=_write,
    describe=_describe,
    bits_per_weight=_bits_per_weight,
    quantize=quantize,
    common=(
        "gguf-q8_0", "gguf-q6_k", "gguf-q5_k_m", "gguf-q4_k_m", "gguf-q4_0", "gguf-q3_k_m",
        "gguf-q2_k", "gguf-iq4_xs",
    ),
    grammar=(
        ("gguf-<type>", f"any of {', '.join(FILE_TYPES)}"),
        (_IMATRIX, "with an importance matrix of the calibration text; some types need it"),
    ),
    seconds_per_million=0.04,
    memory_bytes=_memory_bytes,
    packages=("llama-cpp-python", "gguf"),
    extra="gguf",
    suffix=".gguf",
    needs_calibration=_needs_calibration,
    fit=_fit,
    check=_check,
    calibration_option=_IMATRIX,
)  # fmt: skip
