"""Text generation: many sequences side by side, a slot refilled as soon as one is done.

Each forward holds a token of every sequence that is decoding and, where slots are free, pieces of
the prompts that come next, so the weights are read once for both (Agrawal et al., 2023,
arXiv:2308.16369). What prompts share is read once and its keys are held once.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.dense.generation.kv_rows import SequenceKVCache
from bitloss.engines.dense.generation.one_by_one import generate_one_by_one
from bitloss.engines.dense.generation.prefixes import Prefix, Task, share_prefixes
from bitloss.engines.dense.generation.replay import Record, ReplayedSteps, record_for
from bitloss.engines.dense.generation.sampling import next_tokens
from bitloss.engines.dense.generation.step import Above, Piece, StepPlan
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import attention_dtype
from bitloss.engines.dense.prefix_tree.attention_plan import plan_per_device
from bitloss.engines.dense.prefix_tree.packed import packed_states
from bitloss.engines.dense.prefix_tree.states import packs
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.devices import free_memory, is_cuda
from bitloss.engines.generation.texts import GrowingText, require_room
from bitloss.requests import Decode, Decoding, Generated, GenerateRequest

__all__ = ["MEMORY", "generate", "slots_within"]

# Bytes that keys and values may take by default.
MEMORY = 4 << 30
_OF_A_CARD = 0.6

_Ints = NDArray[np.int64]


def generate(
    graph: ModelGraph,
    head: Head,
    requests: Sequence[GenerateRequest],
    *,
    decode: Decode,
    eos_ids: Collection[int],
    context: int,
    slots: int = 256,
    batch_tokens: int = 2048,
    memory: int | None = None,
) -> Iterator[tuple[int, Generated]]:
    """Continue all prompts, each until its text ends.

    The texts depend on the requests alone, up to rounding: other neighbours give products of other
    shapes. A model whose layers do more with neighbouring tokens than attention writes one text
    after the other.

    Args:
        graph: a loaded model.
        head: its head.
        requests: any number of them.
        decode: token ids to text, special tokens left out.
        eos_ids: tokens that end a text and are no part of it; counted in `Generated.n_tokens`.
        context: most tokens the model reads, prompt and generated ones together.
        slots: at most so many sequences are decoded at a time.
        batch_tokens: most tokens in a forward, those that are decoded and those of prompts.
        memory: bytes that keys and values may take (`slots_within`); None is `MEMORY`, and on a
            card six tenths of what is free there.

    Yields:
        The request's index and its text, as soon as it is done.

    Raises:
        CorpusError: a prompt leaves no room in the context, or has a token unknown to the model.
        NumericalError: NaN or infinite values.
    """
    known = graph.body.get_input_embeddings().weight.shape[0]
    for index, request in enumerate(requests):
        require_room(graph.loaded, index, request, context=context, known=known)
    if not requests:
        return iter(())
    head = _known(head, graph)
    if not packs(graph):
        return generate_one_by_one(
            graph, head, requests, decode=decode, eos_ids=frozenset(eos_ids), context=context
        )
    texts = _Texts(requests, decode, frozenset(eos_ids), context)
    return _run(texts, graph, head, slots, batch_tokens, memory or _memory(graph))


def slots_within(
    memory: int,
    slots: int,
    tasks: Sequence[Task],
    longest: int,
    *,
    token_bytes: int,
    batch_tokens: int,
) -> int:
    """How many sequences can be decoded together within `memory`; at least 1.

    Counted are the longest row that there can be in each slot, as many of the largest shared
    prefixes as that many sequences can stand under, and the prompts of one forward, which are
    copied to their rows.

    Args:
        memory: bytes for keys and values.
        slots: the most.
        tasks: all prompts.
        longest: most tokens of a row.
        token_bytes: keys and values of one token, all layers.
        batch_tokens: see `generate`.
    """
    shared = {node: len(node.ids) for task in tasks for node in task.own.chain()}
    for task in tasks:
        del shared[task.own]
    sizes = np.cumsum([0, *sorted(shared.values(), reverse=True)])
    passing = batch_tokens + longest
    slots = max(1, min(slots, len(tasks)))
    while slots > 1:
        tokens = slots * longest + passing + int(sizes[min(2 * slots, len(sizes) - 1)])
        if tokens * token_bytes <= memory:
            break
        slots -= 1
    return slots


@dataclass(slots=True)
class _Sequence:
    """One that is decoding: `fed` is its next token, `length` how many of its row are written."""

    index: int
    task: Task
    decoding: Decoding
    text: GrowingText
    draws: np.random.Generator
    fed: int
    length: int


@dataclass(slots=True)
class _Prompts:
    """Prompts that are being read, in order; what one needs stands before it."""

    waiting: deque[Task]
    started: deque[Task] = field(default_factory=deque)

    def pieces(self, room: int, slots: int) -> list[Piece]:
        """The next tokens to read: at most `room`, of at most `slots` prompts."""
        found: list[Piece] = []
        while len(self.started) < slots and self.waiting:
            self.started.append(self.waiting.popleft())
        for task in self.started:
            for prefix in reversed(list(task.own.chain())):
                take = min(room, len(prefix.ids) - prefix.done)
                if take > 0:
                    found.append(Piece(prefix, prefix.done, prefix.done + take))
                    prefix.done += take
                    room -= take
            if room <= 0:
                break
        return found

    def ready(self) -> Iterator[Task]:
        """Take out the prompts that are read."""
        while self.started and all(n.done == len(n.ids) for n in self.started[0].own.chain()):
            yield self.started.popleft()


class _Decoder:
    """The sequences that are decoding, in the first rows of the keys' tensors."""

    def __init__(
        self, graph: ModelGraph, head: Head, slots: int, longest: int, record: Record | None
    ) -> None:
        self.active: list[_Sequence] = []
        self._graph = graph
        self._head = head
        self._own = SequenceKVCache(slots, longest)
        self._dtype = _attention_dtype(graph)
        self._rows: dict[tuple[int, ...], torch.Tensor] = {}
        self._replayed = ReplayedSteps(graph, self._own, slots, self._dtype, record)

    def admit(self, sequence: _Sequence) -> None:
        """Give a prompt that is read a row."""
        own = sequence.task.own
        self._own.reserve(len(own.ids) + 1)
        self._own.insert(len(self.active), own)
        own.layers.clear()
        self.active.append(sequence)

    def retire(self, row: int) -> None:
        """Free a row: the last one takes its place."""
        shared = self.active[row].task.own.parent
        if shared is not None:
            shared.release()
        last = self.active.pop()
        if row < len(self.active):
            self.active[row] = last
            self._own.move(len(self.active), row, last.length)

    def step(self, pieces: Sequence[Piece]) -> list[int]:
        """One forward; gives the next token of every sequence.

        Raises:
            NumericalError: NaN or infinite values.
        """
        active = self.active
        lengths = np.array([sequence.length for sequence in active], np.int64)
        self._own.reserve(int(lengths.max(initial=0)) + 1)
        positions = lengths + np.array([s.task.own.first for s in active], np.int64)
        ids = np.array([sequence.fed for sequence in active], np.int64)
        above = self._above(positions)
        if not pieces and self._replayed.takes(above):
            states = self._replayed.states(lengths, positions, ids, above)
        else:
            states = self._read(lengths, positions, ids, above, pieces)
        if not active:
            return []
        with torch.no_grad():
            return next_tokens(
                self._head,
                states[: len(active)],
                [sequence.decoding for sequence in active],
                [sequence.draws for sequence in active],
                self._graph.loaded,
            )

    def _read(
        self,
        lengths: _Ints,
        positions: _Ints,
        ids: _Ints,
        above: Sequence[Above],
        pieces: Sequence[Piece],
    ) -> torch.Tensor:
        """The forward of a step that is not replayed."""
        rows = len(lengths)
        places = np.concatenate([positions, *(piece.positions() for piece in pieces)])
        read = np.concatenate([ids, *(p.prefix.ids[p.start : p.stop] for p in pieces)])
        # One copy, since each of them waits for the device.
        numbers = torch.from_numpy(np.concatenate([lengths, places, read])).to(self._graph.device)
        own, at, tokens = torch.split(numbers, [rows, len(places), len(read)])
        longest = int(lengths.max(initial=0))

        def on(device: torch.device) -> StepPlan:
            return StepPlan(
                own=self._own,
                lengths=own.to(device),
                longest=longest,
                positions=at.to(device),
                above=[one.on(device) for one in above],
                pieces=pieces,
                dtype=self._dtype,
            )

        plan, _ = plan_per_device(self._graph.devices, on)
        return packed_states(self._graph, tokens, at, plan)

    def _above(self, positions: _Ints) -> list[Above]:
        """The prefixes that sequences share."""
        shared: dict[Prefix, list[int]] = {}
        for row, sequence in enumerate(self.active):
            parent = sequence.task.own.parent
            for prefix in parent.chain() if parent is not None else ():
                shared.setdefault(prefix, []).append(row)
        known, self._rows = self._rows, {}
        above = []
        for prefix, rows in shared.items():
            if len(rows) < len(self.active):
                key = tuple(rows)  # mostly those of the step before
                under = known.get(key)
                if under is None:
                    under = torch.tensor(rows, device=self._graph.device)
                self._rows[key] = under
            else:
                under = None
            own = positions[rows]
            above.append(Above(prefix, under, int(own.min()), int(own.max())))
        return above


@dataclass(frozen=True, slots=True)
class _Texts:
    """What decides about texts: see `generate`."""

    requests: Sequence[GenerateRequest]
    decode: Decode
    eos_ids: frozenset[int]
    context: int

    def limit(self, index: int) -> int:
        """Most tokens that a request may be given."""
        request = self.requests[index]
        return min(request.decoding.most_tokens, self.context - len(request.prompt))

    def begin(self, index: int, task: Task) -> _Sequence:
        request = self.requests[index]
        return _Sequence(
            index,
            task,
            request.decoding,
            GrowingText(request, self.decode, self.eos_ids, self.context),
            np.random.default_rng(request.seed),
            fed=task.last,
            length=len(task.own.ids),
        )

    def take(self, sequence: _Sequence, token: int) -> Generated | None:
        """Give a sequence its next token; the answer, where that was its last."""
        sequence.length += 1
        sequence.fed = token
        return sequence.text.take(token)


def _run(
    texts: _Texts, graph: ModelGraph, head: Head, slots: int, batch_tokens: int, memory: int
) -> Iterator[tuple[int, Generated]]:
    limits = [texts.limit(index) for index in range(len(texts.requests))]
    yield from ((i, Generated("", 0, "length")) for i, limit in enumerate(limits) if limit < 1)
    asked = [index for index, limit in enumerate(limits) if limit > 0]
    if not asked:
        return
    tasks = share_prefixes([texts.requests[index].prompt for index in asked])
    longest = max(len(task.own.ids) + limits[asked[task.index]] for task in tasks)
    token_bytes = _token_bytes(graph)
    slots = slots_within(
        memory, slots, tasks, longest, token_bytes=token_bytes, batch_tokens=batch_tokens
    )
    decoder = _Decoder(graph, head, slots, longest, record_for(graph))
    prompts = _Prompts(deque(tasks))
    while prompts.waiting or prompts.started or decoder.active:
        for task in prompts.ready():
            decoder.admit(texts.begin(asked[task.index], task))
        rows = len(decoder.active)
        pieces = prompts.pieces(max(1, batch_tokens - rows), slots - rows)
        if not rows and not pieces:
            continue  # prompts of one token, which are ready
        chosen = decoder.step(pieces)
        done: list[int] = []
        for row, (sequence, token) in enumerate(zip(decoder.active, chosen, strict=True)):
            answer = texts.take(sequence, token)
            if answer is not None:
                yield sequence.index, answer
                done.append(row)
        for row in reversed(done):
            decoder.retire(row)


def _memory(graph: ModelGraph) -> int:
    if not is_cuda(graph.device):
        return MEMORY
    # Keys are where their layers are, about as many on each device.
    least = min(free_memory(str(device)) for device in graph.devices)
    return int(_OF_A_CARD * least) * len(graph.devices)


def _known(head: Head, graph: ModelGraph) -> Head:
    """The head without rows that only pad a variant's vocabulary: their tokens cannot be read."""
    rows = graph.body.get_input_embeddings().weight.shape[0]
    if head.vocabulary <= rows:
        return head
    bias = None if head.bias is None else head.bias[:rows]
    return dataclasses.replace(head, weight=head.held[:rows], bias=bias)


def _attention_dtype(graph: ModelGraph) -> torch.dtype:
    return attention_dtype(graph.precision, graph.device.type)


def _token_bytes(graph: ModelGraph) -> int:
    """Bytes of the keys and values of one token in all layers, from the config."""
    config = graph.body.config
    # Gemma 4's layers have heads of several sizes, so that its config has no size for all of them.
    varies = bool(getattr(config, "per_layer_attributes", None))
    layers = list(config.per_layer_config) if varies else [config] * config.num_hidden_layers
    return 2 * _attention_dtype(graph).itemsize * sum(map(_key_numbers, layers))


def _key_numbers(config: Any) -> int:
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(key_heads * dim)
