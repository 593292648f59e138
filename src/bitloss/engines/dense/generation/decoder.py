"""The sequences that are decoding, and one forward of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.dense.generation.drafts import Drafter
from bitloss.engines.dense.generation.kv_rows import SequenceKVCache
from bitloss.engines.dense.generation.prefixes import Prefix, Task
from bitloss.engines.dense.generation.sampling import next_tokens
from bitloss.engines.dense.generation.step import Above, Piece, StepPlan
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import attention_dtype
from bitloss.engines.dense.prefix_tree.attention_plan import plan_per_device
from bitloss.engines.dense.prefix_tree.packed import packed_states
from bitloss.engines.dense.row_cuts import BLOCK
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.generation.texts import GrowingText
from bitloss.requests import Decoding

__all__ = ["DecodingSequence", "SequenceDecoder"]

_Ints = NDArray[np.int64]


@dataclass(slots=True)
class DecodingSequence:
    """One that is decoding.

    Attributes:
        index: of its request.
        task: its prompt.
        decoding: how it is continued.
        text: what it has become.
        draws: its random numbers.
        drafter: guesses what follows; None for a text that is drawn, or nothing is guessed for.
        fed: its next token.
        length: how many tokens of its row are written and right.
    """

    index: int
    task: Task
    decoding: Decoding
    text: GrowingText
    draws: np.random.Generator
    drafter: Drafter | None
    fed: int
    length: int


class SequenceDecoder:
    """The sequences that are decoding, in the first rows of the keys' tensors.

    Args:
        graph: a loaded model.
        head: its head.
        slots: sequences at most.
        longest: tokens of a row at most.
    """

    def __init__(self, graph: ModelGraph, head: Head, slots: int, longest: int) -> None:
        self.active: list[DecodingSequence] = []
        self._graph = graph
        self._head = head
        self._own = SequenceKVCache(slots, longest)
        self._dtype = attention_dtype(graph.precision, graph.device.type)

    def admit(self, sequence: DecodingSequence) -> None:
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

    def step(self, pieces: Sequence[Piece], drafts: Sequence[Sequence[int]]) -> list[list[int]]:
        """One forward.

        Args:
            pieces: of prompts, that are read in it.
            drafts: of every sequence, tokens that may follow its next one.

        Returns:
            Of every sequence, what follows its next token, and what follows each draft if the text
            is the drafts up to there.

        Raises:
            NumericalError: NaN or infinite values.
        """
        states = self.states(pieces, drafts)
        if not self.active:
            return []
        of = [s for s, own in zip(self.active, drafts, strict=True) for _ in (None, *own)]
        with torch.no_grad():
            chosen = next_tokens(
                self._head,
                states,
                [sequence.decoding for sequence in of],
                [sequence.draws for sequence in of],
                self._graph.loaded,
                block=BLOCK if self._graph.row_cuts is not None else 0,
            )
        found, at = [], 0
        for own in drafts:
            found.append(chosen[at : at + 1 + len(own)])
            at += 1 + len(own)
        return found

    def states(self, pieces: Sequence[Piece], drafts: Sequence[Sequence[int]]) -> torch.Tensor:
        """The forward's hidden states at the tokens that decode, shape ``[tokens, d_model]``; see
        `step`.
        """
        active = self.active
        counts = np.array([1 + len(own) for own in drafts], np.int64)
        rows = np.repeat(np.arange(len(active)), counts)
        offsets = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
        lengths = np.array([s.length for s in active], np.int64)
        firsts = np.array([s.task.own.first for s in active], np.int64)
        places = lengths[rows] + offsets
        longest = int(places.max(initial=-1)) + 1
        self._own.reserve(longest)
        own = firsts[rows] + places
        ids = [t for s, guessed in zip(active, drafts, strict=True) for t in (s.fed, *guessed)]
        read = [piece.prefix.ids[piece.start : piece.stop] for piece in pieces]
        shared = self._shared(rows)
        numbers = _copied(
            self._graph.device,
            rows,
            places,
            offsets,
            np.concatenate([own, *(piece.positions() for piece in pieces)]),
            np.concatenate([np.array(ids, np.int64), *read]),
            *shared.values(),
        )
        positions, tokens = numbers[3:5]
        above = [
            Above(
                prefix,
                None if len(under) == len(rows) else copied,
                int(own[under].min()),
                int(own[under].max()),
            )
            for (prefix, under), copied in zip(shared.items(), numbers[5:], strict=True)
        ]

        def on(device: torch.device) -> StepPlan:
            return StepPlan(
                own=self._own,
                rows=numbers[0].to(device),
                places=numbers[1].to(device),
                offsets=numbers[2].to(device),
                sequences=len(active),
                most=int(counts.max(initial=0)),
                longest=longest,
                positions=positions.to(device),
                above=[one.on(device) for one in above],
                pieces=pieces,
                dtype=self._dtype,
            )

        plan, _ = plan_per_device(self._graph.devices, on)
        if self._graph.row_cuts is not None:
            self._graph.row_cuts.cut(len(rows), [piece.stop - piece.start for piece in pieces])
        return packed_states(self._graph, tokens, positions, plan)[: len(rows)]

    def _shared(self, rows: _Ints) -> dict[Prefix, _Ints]:
        """The prefixes that sequences share, and the indices of the tokens under each."""
        below: dict[Prefix, list[int]] = {}
        for row, sequence in enumerate(self.active):
            parent = sequence.task.own.parent
            for prefix in parent.chain() if parent is not None else ():
                below.setdefault(prefix, []).append(row)
        return {prefix: np.flatnonzero(np.isin(rows, under)) for prefix, under in below.items()}


def _copied(device: torch.device, *parts: _Ints) -> Sequence[torch.Tensor]:
    """The same on a device, in one copy: each of them would wait for it."""
    numbers = torch.from_numpy(np.concatenate(parts, dtype=np.int64)).to(device)
    return torch.split(numbers, [len(part) for part in parts])
