"""The text that recipes are calibrated on, as one value."""

# Without `annotations` from __future__: `bitloss.spec.options` reads the declarations as values.

from dataclasses import dataclass
from typing import Annotated

from bitloss.spec.options import COMPARE, QUANTIZE, Option

__all__ = ["DEFAULT_CALIBRATION", "Calibration"]

_COMMANDS = (COMPARE, QUANTIZE)


@dataclass(frozen=True, slots=True)
class Calibration:
    """Which text a recipe is calibrated on, and how much of it.

    Attributes:
        corpus: a registered name or the path of a text.
        samples: sequences taken from it.
        length: tokens per sequence.
    """

    corpus: Annotated[
        str,
        Option(
            "Calibration corpus for recipes that do not name one (`gptq-4@code` does).",
            _COMMANDS,
            flag="--calibration",
        ),
    ] = "web"
    samples: Annotated[
        int,
        # Not of the flag `--samples`, which is about texts.
        Option("Calibration sequences.", _COMMANDS, flag="--calibration-sequences", minimum=1),
    ] = 128
    length: Annotated[int, Option("Tokens per calibration sequence.", _COMMANDS, minimum=1)] = 512


DEFAULT_CALIBRATION = Calibration()
