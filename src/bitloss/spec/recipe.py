"""Recipes: how a variant is made, and the names that stand for it.

    gptq-4                     4 bits, groups of 128, act-order off
    gptq-4-g64-act             groups of 64, act-order on
    gptq-8-row                 one group a row (group size -1)
    gptq-4-aga                 act-group-aware reordering on (off unless said)
    awq-4                      4 bits, groups of 128
    gguf-q4_k_m                llama.cpp's file type of that name
    gguf-q2_k-imatrix          with an importance matrix from the calibration text
    gptq-4@code                calibrated on the corpus `code` instead of the default

A name is short for a `Recipe`; everything that decides the bytes of the result is a field of it,
and nothing is left to a library's default.
"""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass
from typing import Any, Literal

from bitloss.errors import UnknownName, UsageError
from bitloss.spec.calibration import DEFAULT_CALIBRATION, Calibration

__all__ = ["COMMON_RECIPES", "GGUF_TYPES", "Recipe", "is_recipe_name", "parse_recipe"]

Method = Literal["gptq", "awq", "gguf"]

# llama.cpp's file types by name (include/llama.h, enum llama_ftype).
GGUF_TYPES: dict[str, int] = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9,
    "q2_k": 10, "q3_k_s": 11, "q3_k_m": 12, "q3_k_l": 13, "q4_k_s": 14, "q4_k_m": 15,
    "q5_k_s": 16, "q5_k_m": 17, "q6_k": 18, "iq2_xxs": 19, "iq2_xs": 20, "q2_k_s": 21,
    "iq3_xs": 22, "iq3_xxs": 23, "iq1_s": 24, "iq4_nl": 25, "iq3_s": 26, "iq3_m": 27,
    "iq2_s": 28, "iq2_m": 29, "iq4_xs": 30, "iq1_m": 31, "bf16": 32,
}  # fmt: skip

COMMON_RECIPES: tuple[str, ...] = (
    "gptq-8", "gptq-4", "gptq-4-g64-act", "gptq-3", "gptq-2", "awq-4",
    "gguf-q8_0", "gguf-q6_k", "gguf-q5_k_m", "gguf-q4_k_m", "gguf-q4_0", "gguf-q3_k_m",
    "gguf-q2_k", "gguf-iq4_xs",
)  # fmt: skip

_NAME = re.compile(
    r"^(gptq|awq)-(\d+)((?:-[a-z0-9]+)*)(?:@(.+))?$|^gguf-([a-z0-9_]+)(-imatrix)?(?:@(.+))?$"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """Everything that decides the bytes of a quantized model, given the reference.

    Attributes:
        method: ``"gptq"``, ``"awq"`` or ``"gguf"``.
        bits: bits of a quantized weight (GPTQ, AWQ); 0 for GGUF, whose type says it.
        group_size: weights that share a scale; -1 is one group a row; 0 for GGUF.
        desc_act: GPTQ act-order: columns in order of falling activation, with ``g_idx``.
        act_group_aware: GPTQ's reordering within groups; never left to the library.
        gguf_type: llama.cpp's file type, ``""`` for GPTQ and AWQ.
        imatrix: whether an importance matrix is computed from the calibration text (GGUF).
        calibration: name of the calibration corpus, or a path to a text; ``""`` where none is used.
        samples: calibration sequences.
        sample_length: tokens of each (never more than the model's context).
        seed: of the calibration sample's choice and of the libraries.
    """

    method: Method
    bits: int = 0
    group_size: int = 0
    desc_act: bool = False
    act_group_aware: bool = False
    gguf_type: str = ""
    imatrix: bool = False
    calibration: str = ""
    samples: int = 0
    sample_length: int = 0
    seed: int = 0

    @property
    def name(self) -> str:
        """The shortest name that `parse_recipe` turns into this recipe (up to samples and seed)."""
        if self.method == "gguf":
            name = f"gguf-{self.gguf_type}" + ("-imatrix" if self.imatrix else "")
        else:
            name = f"{self.method}-{self.bits}"
            if self.group_size == -1:
                name += "-row"
            elif self.group_size != 128:
                name += f"-g{self.group_size}"
            name += "-act" * self.desc_act + "-aga" * self.act_group_aware
        default = "web" if self.calibration else ""
        return name if self.calibration == default else f"{name}@{self.calibration}"

    @property
    def needs_calibration(self) -> bool:
        """Whether a calibration text has to be at hand."""
        return bool(self.calibration)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as recorded and fingerprinted."""
        return asdict(self)


def is_recipe_name(text: str) -> bool:
    """Whether the text has a recipe's shape (it may still name an unknown one)."""
    return (
        re.match(r"^(gptq|awq|gguf)-[a-z0-9]", text) is not None and "/" not in text.split("@")[0]
    )


def parse_recipe(
    name: str,
    *,
    calibration: Calibration = DEFAULT_CALIBRATION,
    seed: int = 0,
) -> Recipe:
    """Turn a recipe's name into the recipe.

    Args:
        name: as in the module's table.
        calibration: its corpus is used if the name does not say ``@corpus``.
        seed: see `Recipe.seed`.

    Raises:
        UnknownName: the name does not follow the table.
        UsageError: it does, but asks for something that does not exist (GPTQ with 5 bits).
    """
    match = _NAME.match(name)
    if match is None:
        raise UnknownName("recipe", name, COMMON_RECIPES)
    method, bits, options, text, gguf_type, imatrix, gguf_text = match.groups()
    calibrated: dict[str, Any] = {
        "samples": calibration.samples, "sample_length": calibration.length, "seed": seed,
    }  # fmt: skip
    if gguf_type is not None:
        if gguf_type not in GGUF_TYPES:
            raise UnknownName("recipe", name, [f"gguf-{known}" for known in GGUF_TYPES])
        if imatrix is None:
            if gguf_text is not None:
                raise UsageError(
                    f"recipe `{name}` names a calibration text but uses none",
                    hint=f"add `-imatrix`: gguf-{gguf_type}-imatrix@{gguf_text}",
                )
            return Recipe("gguf", gguf_type=gguf_type)
        return Recipe(
            "gguf",
            gguf_type=gguf_type,
            imatrix=True,
            calibration=gguf_text or calibration.corpus,
            **calibrated,
        )
    recipe = Recipe(
        "gptq" if method == "gptq" else "awq",
        bits=int(bits),
        calibration=text or calibration.corpus,
        **calibrated,
        **_options(name, method, options),
    )
    allowed = {"gptq": (2, 3, 4, 8), "awq": (4,)}[recipe.method]
    if recipe.bits not in allowed:
        raise UsageError(
            f"recipe `{name}`: {recipe.method.upper()} is made with "
            f"{', '.join(map(str, allowed))} bits, got {recipe.bits}",
            hint=f"for example `{recipe.method}-{allowed[-1]}`",
        )
    return recipe


def _options(name: str, method: str, options: str) -> dict[str, Any]:
    values: dict[str, Any] = {"group_size": 128}
    for option in filter(None, options.split("-")):
        if option == "row":
            values["group_size"] = -1
        elif re.fullmatch(r"g[1-9]\d*", option):
            values["group_size"] = int(option[1:])
        elif option == "act" and method == "gptq":
            values["desc_act"] = True
        elif option == "aga" and method == "gptq":
            values["act_group_aware"] = True
        else:
            raise UnknownName(
                "recipe", name, COMMON_RECIPES,
                hint=f"`-{option}` is not an option of {method}; there are -g<size>, -row"
                + (", -act, -aga" if method == "gptq" else ""),
            )  # fmt: skip
    if values.get("desc_act") and values.get("act_group_aware"):
        raise UsageError(
            f"recipe `{name}`: `-act` and `-aga` are two answers to the same question",
            hint="choose one of them",
        )
    return values
