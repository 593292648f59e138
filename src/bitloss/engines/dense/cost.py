"""What work takes in the dense engine, from the machine's speed at work of the model's shape.

Four things cost time: reading (a model's layers, embeddings being look-ups), comparing (heads over
the vocabulary), writing (steps of few tokens), and the weights' loading, which is left out. Each is
timed here for a moment on random numbers of the model's own width, so that small models, whose
products do not reach a machine's peak, and a machine that is busy are counted as they are.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Callable
from functools import cache

import torch
from torch.nn import functional

from bitloss.engines.dense.generation.generate import MEMORY
from bitloss.engines.dense.precision import (
    Precision,
    arithmetic,
    as_precision,
    attention_dtype,
    many_small_products,
    storage_dtype,
)
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.dense.scoring.heads import StateLogits
from bitloss.engines.dense.scoring.keys import state_width
from bitloss.engines.dense.streaming.budget import StreamPlan, plan_stream
from bitloss.engines.dense.streaming.room import HEAD_SHARE
from bitloss.engines.dense.streaming.shapes import sizes_by_config
from bitloss.engines.devices import room_in
from bitloss.engines.token_scores import KEPT, POSITIONS, score_positions, workers_on
from bitloss.engines.values import Cost, Work
from bitloss.formats.architectures import ARCHITECTURES
from bitloss.formats.base import ModelIdentity
from bitloss.formats.shapes import Shape, shape_of

__all__ = ["estimate"]

# Python with torch and transformers imported, before any weight.
_BASE_MEMORY = 500 << 20
# A tokenizer's entry, as Python and the library `tokenizers` hold it.
_ENTRY_MEMORY = 1500
# Of a model: its module graph, and its weights at so many parameters a second.
_BUILT, _LOADED = 1.0, 3e8
_RECORD_BYTES = 34
# States on their way to disk or from it, bytes per second.
_MOVED = 5e8
# Tokens of a forward that is timed, and sequences of a step of writing.
_FORWARD, _SEQUENCES, _FEW = 1024, 32, 2
_COLUMNS, _POSITIONS = 4096, 2048
# Beside its layers' products, a step of writing looks after keys, prompts and texts.
_STEP_OVERHEAD = 2.0
# Tokens of prompts that are read in one forward.
_READ_TOGETHER = 2048
# Slots that are filled again as texts end (`generate`).
_SLOTS = 256
# Of what so many threads could do, what they do together.
_SHARED_WELL = 0.8


def estimate(
    work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
) -> Cost:
    """See `bitloss.engines.base.Engine.cost`."""
    precision = as_precision(arithmetic)
    shape = shape_of(model)
    size = 2 if precision == "bf16" else 4
    seconds = _seconds(work, shape, precision, device) if measure else None
    room = room_in(work.memory, device)
    plan = _by_layers(work, model, size, room)
    disk = work.scored * (state_width(model.config) * size + _RECORD_BYTES)
    if plan is not None:
        disk += plan.on_disk
        if seconds is not None:  # all weights for each wave, and states that have no room
            seconds += (plan.waves - 1) * (shape.body + shape.embedding) / _LOADED
            seconds += 2 * plan.moved / _MOVED
    weights = model.info.parameters * size
    memory = _memory(work, shape, weights, plan, room, precision, device)
    return Cost(seconds, memory, disk, by_layers=plan is not None and work.read > 0)


def _seconds(work: Work, shape: Shape, precision: Precision, device: str) -> float:
    seconds = 0.0
    machine = (shape.width, shape.inner, shape.key_heads, precision, device)
    # The layer that is timed has other parameters than the model's layers have.
    layers = shape.body / _layer_parameters(shape.width, shape.inner)
    if work.read:
        seconds += _BUILT + (shape.body + shape.embedding) / _LOADED
        seconds += work.read / _FORWARD * layers * _layer_seconds(_FORWARD, *machine)
    if work.written:
        # As long as the longest text there are steps, whoever else still writes.
        texts = max(1, work.texts)
        together = min(texts, _SLOTS)
        steps = work.written / texts * max(1.0, texts / together)
        few, many = (layers * _layer_seconds(n, *machine) for n in (_FEW, _SEQUENCES))
        each = max(0.0, many - few) / (_SEQUENCES - _FEW)
        head = shape.vocabulary / _COLUMNS * _head_seconds(shape.width, precision, device)
        head *= max(1.0, together / _SEQUENCES)
        seconds += steps * (_STEP_OVERHEAD * max(few, few + each * (together - _FEW)) + head)
    if work.compared:
        alone, added = _compare_seconds(shape.width, precision, device)
        blocks = work.compared / _POSITIONS * shape.vocabulary / _COLUMNS
        seconds += blocks * (alone + added * work.variants)
    return seconds


def _memory(
    work: Work,
    shape: Shape,
    weights: int,
    plan: StreamPlan | None,
    room: int,
    precision: Precision,
    device: str,
) -> int:
    """At the peak of what is done, one after the other, on top of the process itself."""
    size = storage_dtype(precision).itemsize
    head = shape.embedding * size
    decoded = shape.embedding * 4  # one tensor is decoded at a time, in float32
    passing = 2048 * (8 * shape.width + 3 * shape.inner) * 4
    if plan is None:
        stages = [weights + max(decoded, passing)]
    else:
        stages = [plan.weights + plan.states + passing]
    if work.compared:
        workers = workers_on(torch.device(device)) if plan is None else 1
        kept = 3 * min(KEPT, POSITIONS * shape.vocabulary) * 4 * workers
        if head <= HEAD_SHARE * room:
            others = min(work.variants * head, max(head, 3 * weights // 2))
            kept += head + others + decoded
        stages.append(kept)
    if work.written:
        stages.append(weights + head + _written_memory(work, shape, precision, device))
    return _BASE_MEMORY + shape.vocabulary * _ENTRY_MEMORY + max(stages)


def _by_layers(work: Work, model: ModelIdentity, size: int, room: int) -> StreamPlan | None:
    """How a model is read that does not fit; None for one that does, or has to be held."""
    listed = model.config.get("model_type") in ARCHITECTURES
    if work.written or not listed or model.info.parameters * size <= room:
        return None
    layers = sizes_by_config(model.config, size)
    state = size * state_width(model.config)
    disk = shutil.disk_usage(tempfile.gettempdir()).free
    return plan_stream(work.read, layers, state, room, disk) if layers else None


def _written_memory(work: Work, shape: Shape, precision: Precision, device: str) -> int:
    """Keys and values of texts that are written together, as long as they may become (with those of
    a forward's prompts, and of a layer that grows), and the logits of a step.
    """
    together = min(max(1, work.texts), _SLOTS)
    token = shape.key_numbers * attention_dtype(precision, device).itemsize
    passing = min(work.read, _READ_TOGETHER + work.longest)
    keys = min(MEMORY, (together * work.longest + passing) * token)
    return keys + keys // max(1, shape.layers) + 2 * 4 * together * shape.vocabulary


# Measured ---------------------------------------------------------------------------------------


def _layer_parameters(width: int, inner: int) -> int:
    return 4 * width * width + 3 * width * inner


@cache
def _layer_seconds(
    tokens: int, width: int, inner: int, key_heads: int, precision: Precision, device: str
) -> float:
    """One layer with attention and a gated feed-forward, on so many tokens.

    With few tokens each is a sequence of its own that looks back at 512 others.
    """
    dtype = storage_dtype(precision)
    dim = 64 if width % 64 == 0 else width
    heads = width // dim
    many = tokens == _FORWARD
    states = torch.randn(tokens, width, device=device).to(dtype)
    mixing, output = _random(3 * width, width, dtype, device), _random(width, width, dtype, device)
    gates, down = _random(2 * inner, width, dtype, device), _random(width, inner, dtype, device)
    groups = min(heads, key_heads)
    past = torch.randn(2, tokens, groups, 512, dim, device=device) if not many else None

    def norm(x: torch.Tensor) -> torch.Tensor:
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(dtype)

    def layer() -> None:
        parts = functional.linear(norm(states), mixing).view(tokens, 3, heads, dim)
        if past is None:
            query, key, value = (parts[None, :, n].transpose(1, 2) for n in range(3))
            seen = functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            mixed = seen[0].transpose(0, 1).reshape(tokens, width)
        else:
            query = parts[:, 0, : heads // groups * groups].float().view(tokens, groups, -1, dim)
            with many_small_products():
                shares = (query @ past[0].transpose(-1, -2)).softmax(-1)
                seen = (shares @ past[1]).to(dtype).flatten(1)
            mixed = functional.pad(seen, (0, width - seen.shape[1]))
        hidden = states + functional.linear(mixed, output)
        gate, up = functional.linear(norm(hidden), gates).chunk(2, dim=-1)
        hidden + functional.linear(functional.silu(gate) * up, down)

    with torch.no_grad(), arithmetic(precision):
        return _shortest(layer, device)


@cache
def _head_seconds(width: int, precision: Precision, device: str) -> float:
    """The logits of a step of writing and their largest, for `_COLUMNS` of the vocabulary."""
    dtype = storage_dtype(precision)
    weight = _random(_COLUMNS, width, dtype, device)
    states = torch.randn(_SEQUENCES, width, device=device).to(dtype)
    with torch.no_grad(), arithmetic(precision):
        return _shortest(lambda: functional.linear(states, weight).float().argmax(-1), device)


@cache
def _compare_seconds(width: int, precision: Precision, device: str) -> tuple[float, float]:
    """`_POSITIONS` positions and `_COLUMNS` of the vocabulary: the reference, and each variant."""
    dtype = storage_dtype(precision)
    states = torch.randn(_POSITIONS, width, device=device).to(dtype)
    heads = [Head(_random(_COLUMNS, width, dtype, device), precision) for _ in range(2)]
    targets = torch.zeros(_POSITIONS, dtype=torch.long, device=device)
    ours, theirs = (StateLogits(head, states) for head in heads)
    alone = _shortest(lambda: score_positions(targets, ours, [], None), device)
    both = _shortest(lambda: score_positions(targets, ours, [theirs], None), device)
    return alone, max(both - alone, alone / 2)


def _random(rows: int, columns: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    return torch.randn(rows, columns, device=device).div_(columns**0.5).to(dtype)


def _shortest(run: Callable[[], object], device: str, times: int = 5) -> float:
    """Seconds of a call on an idle machine, the least of a few.

    On a CPU, one thread's own time is taken, which other programs do not lengthen as they do the
    time until several threads have waited for each other, and is divided among the threads.
    """
    if device.startswith("cuda"):
        return min(_cuda_seconds(run, device) for _ in range(times))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        least = float("inf")
        for _ in range(times):
            start = time.thread_time()
            run()
            least = min(least, time.thread_time() - start)
    finally:
        torch.set_num_threads(threads)
    return least / max(1.0, threads * _SHARED_WELL)


def _cuda_seconds(run: Callable[[], object], device: str) -> float:
    start = time.perf_counter()
    run()
    torch.cuda.synchronize(device)
    return time.perf_counter() - start
