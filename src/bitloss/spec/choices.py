"""What may be chosen of a run by keyword, beyond models, texts and tasks."""

from __future__ import annotations

from typing import TypedDict

__all__ = ["Choices"]


class Choices(TypedDict, total=False):
    """Keywords of `bitloss.compare`; what is not given has the default of `RunSpec`.

    Attributes:
        protocol: how texts are cut and averaged.
        max_length: tokens in a window; None is the protocol's own.
        stride: tokens between windows; None is the protocol's own.
        engine: what computes the scores.
        chat: put the reference's chat template around every prompt.
        samples: texts for each item of tasks scored by pass@k; None is one, the most likely.
        unsafe_exec: run what models wrote without a sandbox.
        dtype: ``auto``, ``fp32``, ``mixed`` or ``bf16``.
        device: a torch device.
        batch_tokens: tokens in one forward.
        until: ``decided`` or ``all``.
        precision: half-width of the relative perplexity's interval that is enough.
        calibration: text that recipes without one of their own calibrate on.
        calibration_samples: sequences of it.
        calibration_length: tokens of each.
        seed: of the bootstrap, of sampling and of calibration.
        trust_remote_code: let a model's own Python code run.
    """

    protocol: str
    max_length: int | None
    stride: int | None
    engine: str
    chat: bool
    samples: int | None
    unsafe_exec: bool
    dtype: str
    device: str
    batch_tokens: int
    until: str
    precision: float | None
    calibration: str
    calibration_samples: int
    calibration_length: int
    seed: int
    trust_remote_code: bool
