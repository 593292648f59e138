"""Steps of generation that are recorded once and replayed: a card waits for launches of small ones.

A step in which sequences decode and no prompt is read does the same again and again, on other
numbers. So that it can be replayed, its tensors stay where they are: token ids, places and lengths
are copied into one that is made once, the number of rows is rounded up (rows without a sequence are
computed, and nobody asks for them), and keys are attended to as far as rows have room, with what
lies beyond a row's length hidden by a mask that is computed in the step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from bitloss.engines.dense.architecture import say_once
from bitloss.engines.dense.generation.kv_rows import SequenceKVCache
from bitloss.engines.dense.generation.step import Above, StepPlan
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.prefix_tree.packed import packed_forward, require_finite
from bitloss.engines.devices import is_cuda

__all__ = ["Record", "ReplayedSteps", "record_for", "rounded_rows"]

Record = Callable[[Callable[[], torch.Tensor]], Callable[[], torch.Tensor]]
"""Takes work on tensors that stay where they are; gives what does it again, and its result."""

_Ints = NDArray[np.int64]

# Recording takes as long as some steps: it is done for those that come again.
_SEEN = 8


def record_for(graph: ModelGraph) -> Record | None:
    """How steps of a model are recorded; None where that gains nothing or cannot be done."""
    apart = graph.simulation.active or graph.spread
    return None if apart or not is_cuda(graph.device) else _record_on_card


def _record_on_card(work: Callable[[], torch.Tensor]) -> Callable[[], torch.Tensor]:
    """A CUDA graph of the work. This function needs a card, and has never run on one."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = work()

    def replay() -> torch.Tensor:
        graph.replay()
        return result

    return replay


def rounded_rows(rows: int, slots: int) -> int:
    """The number of rows of the step that so many sequences share with others: a power of two up to
    32, then a multiple of it, and no more than there are.
    """
    power = 1 << max(0, rows - 1).bit_length()
    return min(slots, power if rows <= 32 else -(-rows // 32) * 32)


@dataclass(slots=True)
class _Step:
    """One step: `numbers` are lengths, positions and token ids, shape ``[3, rows]``."""

    numbers: torch.Tensor
    seen: int = 0
    replay: Callable[[], torch.Tensor] | None = None


@dataclass(slots=True)
class ReplayedSteps:
    """The decoding steps of one model.

    Attributes:
        graph: the model.
        own: keys and values of the sequences.
        slots: rows that it has.
        dtype: of attention.
        record: see `Record`; None once it has failed.
    """

    graph: ModelGraph
    own: SequenceKVCache
    slots: int
    dtype: torch.dtype
    record: Record | None
    _steps: dict[int, _Step] = field(default_factory=dict)
    _kind: tuple[object, ...] = ()

    def takes(self, above: Sequence[Above]) -> bool:
        """Whether a step can be replayed: what is shared has to be shared by all."""
        return self.record is not None and all(one.rows is None for one in above)

    def states(
        self, lengths: _Ints, positions: _Ints, ids: _Ints, above: Sequence[Above]
    ) -> torch.Tensor:
        """Read the sequences' next tokens; see `StepPlan` for shapes.

        Returns:
            Post-norm hidden states, shape ``[rows, d_model]``; the next step writes over them.

        Raises:
            NumericalError: NaN or infinite values.
        """
        kind = (self.own.reserved, *(one.prefix for one in above))
        if kind != self._kind:  # other tensors: what was recorded reads from those that were
            self._kind, self._steps = kind, {}
        count = len(ids)
        rows = rounded_rows(count, self.slots)
        step = self._steps.get(rows)
        if step is None:
            numbers = torch.zeros(3, rows, dtype=torch.long, device=self.graph.device)
            step = self._steps[rows] = _Step(numbers)
        padded = np.zeros((3, rows), dtype=np.int64)
        padded[:, :count] = lengths, positions, ids
        step.numbers.copy_(torch.from_numpy(padded))
        states = self._done(step, above)[:count]
        require_finite(self.graph, states)
        return states

    def _done(self, step: _Step, above: Sequence[Above]) -> torch.Tensor:
        def work() -> torch.Tensor:
            lengths, positions, ids = step.numbers
            plan = StepPlan(
                own=self.own,
                lengths=lengths,
                longest=self.own.reserved - 1,
                positions=positions,
                above=above,
                pieces=(),
                dtype=self.dtype,
                fixed=True,
            )
            return packed_forward(self.graph, ids, positions, plan)

        step.seen += 1
        if step.seen >= _SEEN and step.replay is None and self.record is not None:
            try:
                step.replay = self.record(work)
            except torch.OutOfMemoryError:
                raise
            except RuntimeError as error:  # something in the model waits for the device
                say_once(f"steps of writing are not replayed: {str(error).partition(chr(10))[0]}")
                self.record, self._steps = None, {}
        return work() if step.replay is None else step.replay()
