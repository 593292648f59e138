"""Text generation: many sequences side by side, a slot refilled as soon as one is done.

Each forward holds the next token of every sequence that is decoding, drafts of those that may
follow (`drafts`), and where slots are free, pieces of the prompts that come next, so the weights
are read once for all (Agrawal et al., 2023, arXiv:2308.16369). What prompts share is read once and
its keys are held once.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from bitloss.engines.dense.generation.decoder import DecodingSequence, SequenceDecoder
from bitloss.engines.dense.generation.drafts import Drafter, Share, share_out
from bitloss.engines.dense.generation.kv_rows import stepped
from bitloss.engines.dense.generation.one_by_one import generate_one_by_one
from bitloss.engines.dense.generation.prefixes import Task, share_prefixes
from bitloss.engines.dense.generation.step import MOST_QUERIES, Piece
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import attention_dtype
from bitloss.engines.dense.prefix_tree.states import packs
from bitloss.engines.dense.row_cuts import BLOCK
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.devices import free_memory, is_cuda
from bitloss.engines.generation.texts import GrowingText, require_room
from bitloss.requests import Decode, Generated, GenerateRequest

__all__ = ["MEMORY", "generate", "slots_within"]

# Bytes that keys and values may take by default.
MEMORY = 4 << 30
_OF_A_CARD = 0.6
# Drafts of one text in a forward, at most.
_MOST_DRAFTS = 32
# Rows of a forward that cost about as much as fewer, without `row_blocks`.
_FREE_ROWS, _FREE_ON_A_CARD = 16, 256


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

    The texts depend on the requests alone, and of other ones on the beginnings that prompts share:
    to the bit with a graph of `use_row_blocks`, else up to rounding, as other neighbours give
    products of other shapes. So do they with drafts, which are tried where rounding is too small to
    matter (float32) or there is none. A model whose layers do more with neighbouring tokens than
    attention writes one text after the other.

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
    texts = _Texts(requests, decode, frozenset(eos_ids), context, _tries_drafts(graph))
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
class _Prompts:
    """Prompts that are being read, in order; what one needs stands before it.

    Attributes:
        waiting: of which nothing is read.
        size: tokens of a piece at most.
        started: the others.
    """

    waiting: deque[Task]
    size: int
    started: deque[Task] = field(default_factory=deque)

    def pieces(self, room: int, slots: int) -> list[Piece]:
        """The next tokens to read: at most `room`, of at most `slots` prompts.

        Where a prefix is cut depends on nothing but its own length.
        """
        found: list[Piece] = []
        while len(self.started) < slots and self.waiting:
            self.started.append(self.waiting.popleft())
        for task in self.started:
            for prefix in reversed(list(task.own.chain())):
                while prefix.done < len(prefix.ids):
                    take = min(self.size, len(prefix.ids) - prefix.done)
                    if take > room:
                        return found
                    found.append(Piece(prefix, prefix.done, prefix.done + take))
                    prefix.done += take
                    room -= take
        return found

    def ready(self) -> Iterator[Task]:
        """Take out the prompts that are read."""
        while self.started and all(n.done == len(n.ids) for n in self.started[0].own.chain()):
            yield self.started.popleft()


@dataclass(frozen=True, slots=True)
class _Texts:
    """What decides about texts: see `generate`."""

    requests: Sequence[GenerateRequest]
    decode: Decode
    eos_ids: frozenset[int]
    context: int
    drafts: bool

    def limit(self, index: int) -> int:
        """Most tokens that a request may be given."""
        request = self.requests[index]
        return min(request.decoding.most_tokens, self.context - len(request.prompt))

    def begin(self, index: int, task: Task) -> DecodingSequence:
        request = self.requests[index]
        drafted = self.drafts and request.decoding.temperature <= 0
        return DecodingSequence(
            index,
            task,
            request.decoding,
            GrowingText(request, self.decode, self.eos_ids, self.context),
            np.random.default_rng(request.seed),
            Drafter(request.prompt, request.draft) if drafted else None,
            fed=task.last,
            length=len(task.own.ids),
        )

    def share(self, sequence: DecodingSequence, most: int) -> Share:
        """What a sequence may be given of a forward's drafts."""
        drafter = sequence.drafter
        if drafter is None:
            return Share(0, 0.0)
        written = sequence.length - len(sequence.task.own.ids)
        return Share(min(most, self.limit(sequence.index) - written - 1), drafter.rate)

    def take(
        self, sequence: DecodingSequence, drafts: Sequence[int], tokens: Sequence[int]
    ) -> Generated | None:
        """Give a sequence its next token, and those after it whose drafts were right; the answer,
        where one of them was its last.
        """
        right = 0
        while right < len(drafts) and drafts[right] == tokens[right]:
            right += 1
        drafter = sequence.drafter
        if drafter is not None:
            drafter.learn(right, len(drafts))
        for token in tokens[: right + 1]:
            sequence.length += 1
            sequence.fed = token
            if drafter is not None:
                drafter.add(token)
            answer = sequence.text.take(token)
            if answer is not None:
                return answer
        return None


def _run(
    texts: _Texts, graph: ModelGraph, head: Head, slots: int, batch_tokens: int, memory: int
) -> Iterator[tuple[int, Generated]]:
    limits = [texts.limit(index) for index in range(len(texts.requests))]
    yield from ((i, Generated("", 0, "length")) for i, limit in enumerate(limits) if limit < 1)
    asked = [index for index, limit in enumerate(limits) if limit > 0]
    if not asked:
        return
    tasks = share_prefixes([texts.requests[index].prompt for index in asked])
    longest = stepped(max(len(task.own.ids) + limits[asked[task.index]] for task in tasks))
    slots = slots_within(
        memory, slots, tasks, longest, token_bytes=_token_bytes(graph), batch_tokens=batch_tokens
    )
    decoder = SequenceDecoder(graph, head, slots, longest)
    # Half of a forward, so that there is room for a piece beside tokens that decode.
    prompts = _Prompts(deque(tasks), max(1, batch_tokens // 2))
    while prompts.waiting or prompts.started or decoder.active:
        for task in prompts.ready():
            decoder.admit(texts.begin(asked[task.index], task))
        rows = len(decoder.active)
        pieces = prompts.pieces(max(prompts.size, batch_tokens - rows), slots - rows)
        if not rows and not pieces:
            continue  # prompts of one token, which are ready
        read = sum(piece.stop - piece.start for piece in pieces)
        drafts = _drafts(texts, decoder, graph, batch_tokens - rows - read)
        chosen = decoder.step(pieces, drafts)
        done: list[int] = []
        for row, (sequence, own, tokens) in enumerate(
            zip(decoder.active, drafts, chosen, strict=True)
        ):
            answer = texts.take(sequence, own, tokens)
            if answer is not None:
                yield sequence.index, answer
                done.append(row)
        for row in reversed(done):
            decoder.retire(row)


def _drafts(
    texts: _Texts, decoder: SequenceDecoder, graph: ModelGraph, room: int
) -> list[list[int]]:
    """Of every sequence, the tokens that are tried after its next one."""
    if not texts.drafts or room < 1:
        return [[] for _ in decoder.active]
    most = min(_MOST_DRAFTS, MOST_QUERIES // _sharing(graph) - 1)
    shares = [texts.share(sequence, most) for sequence in decoder.active]
    block = _FREE_ON_A_CARD if is_cuda(graph.device) else BLOCK if graph.row_cuts else _FREE_ROWS
    counts = share_out(shares, block, room)
    return [
        [] if sequence.drafter is None else sequence.drafter.next(count)
        for sequence, count in zip(decoder.active, counts, strict=True)
    ]


def _tries_drafts(graph: ModelGraph) -> bool:
    """Whether reading several tokens of a text at once leaves it as it is: in float32 as far as
    other neighbours do, in products of bf16 only by blocks.
    """
    return graph.precision == "fp32" or graph.row_cuts is not None


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


def _token_bytes(graph: ModelGraph) -> int:
    """Bytes of the keys and values of one token in all layers, from the config."""
    config = graph.body.config
    # Gemma 4's layers have heads of several sizes, so that its config has no size for all of them.
    varies = bool(getattr(config, "per_layer_attributes", None))
    layers = list(config.per_layer_config) if varies else [config] * config.num_hidden_layers
    dtype = attention_dtype(graph.precision, graph.device.type)
    return 2 * dtype.itemsize * sum(map(_key_numbers, layers))


def _key_numbers(config: Any) -> int:
    heads = config.num_attention_heads
    key_heads = getattr(config, "num_key_value_heads", None) or heads
    dim = getattr(config, "head_dim", None) or config.hidden_size // heads
    return int(key_heads * dim)


def _sharing(graph: ModelGraph) -> int:
    """Heads that share a key, in the layer where they are most."""
    config = graph.body.config
    varies = bool(getattr(config, "per_layer_attributes", None))
    layers = list(config.per_layer_config) if varies else [config]
    return max(map(_heads_of_a_key, layers))


def _heads_of_a_key(config: Any) -> int:
    heads = int(config.num_attention_heads)
    return heads // (getattr(config, "num_key_value_heads", None) or heads)
