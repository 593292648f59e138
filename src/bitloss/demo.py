"""The demonstration: the bundled model, quantized seven ways and run on every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bitloss import api
from bitloss.errors import SandboxError, UsageError
from bitloss.spec.calibration import Calibration
from bitloss.spec.recipe import parse_recipe
from bitloss.types import Progress

if TYPE_CHECKING:
    from bitloss.results import Comparison
    from bitloss.spec.run import RunSpec

__all__ = ["RECIPES", "Demo", "plan_demo", "run_demo"]

RECIPES = (
    "gptq-8", "gguf-q8_0", "gptq-4", "awq-4", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k",
)  # fmt: skip
_MODEL, _SUITE = "pocket", "pocket"
# Nine of ten training steps of the pocket model had rows as long as this: what it loses on longer
# ones is rather a matter of positions that it hardly knows.
_TRAINED_LENGTH = 256
# A sixteenth of the usual text: the model is small, and somebody waits.
_CALIBRATION = Calibration("pocket-calibration-mixed", samples=16, length=256)


@dataclass(frozen=True, slots=True)
class Demo:
    """What can be shown on this machine.

    Attributes:
        spec: of the run.
        left_out: what cannot, and why, a line each.
    """

    spec: RunSpec
    left_out: tuple[str, ...]


def plan_demo(recipes: Sequence[str] = RECIPES) -> Demo:
    """Find out what can be shown here.

    Raises:
        UsageError: no recipe can be carried out.
        StorageError: the cache, where quantized models go, cannot be written.
    """
    from bitloss.quantizers.cache import require_writable
    from bitloss.suites import load_suite

    require_writable()
    missing = {recipe: _missing(recipe) for recipe in recipes}
    possible = [recipe for recipe in recipes if not missing[recipe]]
    if not possible:
        raise UsageError(
            "the demonstration quantizes a model, and nothing that quantizes is installed",
            hint='pip install "bitloss[all]"',
        )
    left_out = [f"{recipe}: {why}" for recipe, why in missing.items() if why]
    tasks = [choice.name for choice in load_suite(_SUITE).tasks]
    if problem := _no_sandbox():
        tasks.remove("pocket_code")
        left_out.append(f"code: {problem}")
    spec = api.make_spec(
        _MODEL,
        possible,
        suite=_SUITE,
        tasks=tasks,
        calibration=_CALIBRATION,
        max_length=_TRAINED_LENGTH,
        stride=_TRAINED_LENGTH,
    )
    return Demo(spec, tuple(left_out))


def run_demo(
    demo: Demo, out: Path, *, command: Sequence[str] = (), progress: Progress | None = None
) -> Comparison:
    """Carry it out; see `bitloss.api.run`.

    Raises:
        BitlossError: the model is damaged, or a directory cannot be written.
    """
    return api.run(demo.spec, out, command=command, progress=progress)


def _missing(recipe: str) -> str:
    """Why a recipe cannot be carried out, ``""`` if it can."""
    from bitloss.quantizers import quantizer_of

    quantizer = quantizer_of(parse_recipe(recipe))
    absent = quantizer.missing_packages()
    if not absent:
        return ""
    return f'needs {" and ".join(absent)}; pip install "bitloss[{quantizer.extra}]"'


def _no_sandbox() -> str:
    """Why programs cannot be run, ``""`` if they can."""
    from bitloss.sandbox import open_sandbox

    try:
        open_sandbox().close()
    except (UsageError, SandboxError) as error:
        return f"{error.message}; {error.hint}" if error.hint else error.message
    return ""
