"""A run's options as keywords in Python. Written by ``make options``; do not edit.

Names, types and help come from `bitloss.spec.run.RunSpec`, as do the defaults of what is not given.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any, Literal, TypedDict

from bitloss.spec.calibration import Calibration

__all__ = ["CompareOptions", "PackOptions", "PerplexityOptions", "QuantizeOptions", "StrPath"]

StrPath = str | PathLike[str]


class CompareOptions(TypedDict, total=False):
    """Keywords of `bitloss.compare`.

    Attributes:
        suite: suite of corpora and tasks (`bitloss list`), or a suite file.
        corpora: corpora (`bitloss list`), text files, tables (FILE::COLUMN) or folders, separated
            by commas.
        tasks: tasks (`bitloss list`) or task files, separated by commas.
        include_path: folders with further task files of lm-evaluation-harness (`lm-eval:NAME`),
            separated by commas.
        data: directory with local data, in the upstream layouts.
        engine: engines that run the variants, separated by commas (`bitloss list`); the first gives
            the results, and the others are compared with it.
        cache_type: type of cached keys and values while variants run, TYPE or KEYS/VALUES (q8_0,
            fp8).
        activations: type to round the inputs of variants' layers to: int8, fp8, nvfp4 or
            `checkpoint`.
        speed: measure speed and memory of every variant, in every way, in turns with the reference.
        context_tokens: context length, in tokens, of the memory stated with speeds.
        protocol: perplexity protocol: windows and averages (`bitloss list`).
        max_length: tokens per window.
        stride: tokens between windows.
        limit: maximum windows per corpus and items per task, drawn at random.
        until: when to stop scoring a variant: `decided` stops once its verdict is settled, and on
            tasks once the recommendation is.
        precision: stop scoring a variant once the half-width of its relative perplexity's interval
            is at most this (0.005).
        chat: apply the model's chat template to every prompt of a task.
        template_args: argument for the chat template, as KEY=JSON: `enable_thinking=false`.
        thinking_budget: maximum tokens of thinking, in addition to those of the answer; a text that
            is still thinking then has no answer.
        thinking_markers: markers around a model's thinking, as BEGIN,END.
        samples: texts to generate per item of tasks scored by pass@k.
        unsafe_exec: run programs that models write without a sandbox, at your own risk.
        dtype: arithmetic; `auto` rescores in fp32 what is near the noise floor.
        device: torch device for scoring and quantizing: cpu, cuda, cuda:1; or several equal ones,
            separated by commas (cuda:0,cuda:1).
        gpu_memory: share of a GPU's memory that engine `vllm` may take, 0 to 1.
        batch_tokens: tokens per forward pass.
        memory: memory limit for a model, such as 8GB; a larger model is read a layer at a time,
            with the same results.
        calibration: calibration of recipes that do not name a corpus.
        replicates: copies to make of each recipe that depends on a seed, with seeds from --seed up;
            intervals then include the quantizer's own spread.
        seed: random seed for the bootstrap, calibration, and drawn windows and items.
        executor: where to run the work: `local`, `ray`, or `ray://HOST:PORT` (the address that `ray
            start --head` prints).
        workers: maximum number of workers in a cluster.
        price: price of a worker per hour, in any currency, for `--plan`.
        trust_remote_code: run a model's own Python code.
    """

    suite: StrPath | None
    corpora: Sequence[StrPath] | None
    tasks: Sequence[StrPath] | None
    include_path: Sequence[StrPath]
    data: StrPath | None
    engine: str | Sequence[str]
    cache_type: str
    activations: str
    speed: bool
    context_tokens: int
    protocol: str
    max_length: int | None
    stride: int | None
    limit: int | None
    until: Literal["decided", "all"]
    precision: float | None
    chat: bool
    template_args: Mapping[str, Any] | Sequence[str]
    thinking_budget: int | None
    thinking_markers: str
    samples: int | None
    unsafe_exec: bool
    dtype: Literal["auto", "fp32", "mixed", "bf16"]
    device: str
    gpu_memory: float | None
    batch_tokens: int | None
    memory: str | None
    calibration: StrPath | Calibration
    replicates: int
    seed: int
    executor: str
    workers: int | None
    price: float | None
    trust_remote_code: bool


class PerplexityOptions(TypedDict, total=False):
    """Keywords of `bitloss.evaluate_perplexity`.

    Attributes:
        data: directory with local data, in the upstream layouts.
        engine: engines that run the variants, separated by commas (`bitloss list`); the first gives
            the results, and the others are compared with it.
        protocol: perplexity protocol: windows and averages (`bitloss list`).
        max_length: tokens per window.
        stride: tokens between windows.
        limit: maximum windows per corpus and items per task, drawn at random.
        dtype: arithmetic; `auto` rescores in fp32 what is near the noise floor.
        device: torch device for scoring and quantizing: cpu, cuda, cuda:1; or several equal ones,
            separated by commas (cuda:0,cuda:1).
        batch_tokens: tokens per forward pass.
        memory: memory limit for a model, such as 8GB; a larger model is read a layer at a time,
            with the same results.
        seed: random seed for the bootstrap, calibration, and drawn windows and items.
        trust_remote_code: run a model's own Python code.
    """

    data: StrPath | None
    engine: str | Sequence[str]
    protocol: str
    max_length: int | None
    stride: int | None
    limit: int | None
    dtype: Literal["auto", "fp32", "mixed", "bf16"]
    device: str
    batch_tokens: int | None
    memory: str | None
    seed: int
    trust_remote_code: bool


class PackOptions(TypedDict, total=False):
    """Keywords of `bitloss.pack`.

    Attributes:
        suite: suite of corpora and tasks (`bitloss list`), or a suite file.
        corpora: corpora (`bitloss list`), text files, tables (FILE::COLUMN) or folders, separated
            by commas.
        tasks: tasks (`bitloss list`) or task files, separated by commas.
        data: directory with local data, in the upstream layouts.
        protocol: perplexity protocol: windows and averages (`bitloss list`).
        max_length: tokens per window.
        stride: tokens between windows.
        limit: maximum windows per corpus and items per task, drawn at random.
        chat: apply the model's chat template to every prompt of a task.
        template_args: argument for the chat template, as KEY=JSON: `enable_thinking=false`.
        thinking_budget: maximum tokens of thinking, in addition to those of the answer; a text that
            is still thinking then has no answer.
        thinking_markers: markers around a model's thinking, as BEGIN,END.
        samples: texts to generate per item of tasks scored by pass@k.
        unsafe_exec: run programs that models write without a sandbox, at your own risk.
        dtype: arithmetic; `auto` rescores in fp32 what is near the noise floor.
        device: torch device for scoring and quantizing: cpu, cuda, cuda:1; or several equal ones,
            separated by commas (cuda:0,cuda:1).
        batch_tokens: tokens per forward pass.
        memory: memory limit for a model, such as 8GB; a larger model is read a layer at a time,
            with the same results.
        seed: random seed for the bootstrap, calibration, and drawn windows and items.
        trust_remote_code: run a model's own Python code.
    """

    suite: StrPath | None
    corpora: Sequence[StrPath] | None
    tasks: Sequence[StrPath] | None
    data: StrPath | None
    protocol: str
    max_length: int | None
    stride: int | None
    limit: int | None
    chat: bool
    template_args: Mapping[str, Any] | Sequence[str]
    thinking_budget: int | None
    thinking_markers: str
    samples: int | None
    unsafe_exec: bool
    dtype: Literal["auto", "fp32", "mixed", "bf16"]
    device: str
    batch_tokens: int | None
    memory: str | None
    seed: int
    trust_remote_code: bool


class QuantizeOptions(TypedDict, total=False):
    """Keywords of `bitloss.quantize`.

    Attributes:
        data: directory with local data, in the upstream layouts.
        device: torch device for scoring and quantizing: cpu, cuda, cuda:1; or several equal ones,
            separated by commas (cuda:0,cuda:1).
        calibration: calibration of recipes that do not name a corpus.
        seed: random seed for the bootstrap, calibration, and drawn windows and items.
        trust_remote_code: run a model's own Python code.
    """

    data: StrPath | None
    device: str
    calibration: StrPath | Calibration
    seed: int
    trust_remote_code: bool
