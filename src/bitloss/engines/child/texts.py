"""A model in a child that writes; satisfies `bitloss.engines.base.TextModel`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from bitloss.engines.child.keeper import Keeper
from bitloss.engines.child.process import Died, Start
from bitloss.engines.generation.texts import GrowingText, require_room
from bitloss.engines.values import TextSetup
from bitloss.requests import Generated, GenerateRequest

__all__ = ["ChildTexts"]


class ChildTexts:
    """The parent's side: it chooses every token, and the child reads them.

    The child's model has ``vocabulary``, ``context``, ``nbytes`` and ``steps(prompts)``: a
    generator that is given prompts as pairs of ids and the most tokens that are to follow. It
    yields indices of some prompts and the logits of their next tokens, shape
    ``[indices, vocabulary]``, at most 64 of them, and is sent the tokens, -1 for a text that ends.
    Texts of a child that died are written again from the beginning.

    Args:
        start: what the child loads.
        setup: how tokens become text, and what ends one.
        context: most tokens of the reference, if it is known.

    Raises:
        CheckpointError: the child died twice.
        BitlossError: the model cannot be loaded.
    """

    def __init__(self, start: Start, setup: TextSetup, context: int | None) -> None:
        self._keeper = Keeper(start)
        self._name = start.name
        self._setup = setup
        own = int(self._keeper.child.facts["context"])
        self._context = own if context is None else min(own, context)

    @property
    def nbytes(self) -> int:
        """See `TextModel.nbytes`."""
        return int(self._keeper.child.facts["nbytes"])

    @property
    def pid(self) -> int:
        """Of the child's process."""
        return self._keeper.child.pid

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """See `TextModel.generate`."""
        known = int(self._keeper.child.facts["vocabulary"])
        for index, request in enumerate(requests):
            require_room(self._name, index, request, context=self._context, known=known)
        return self._generate(requests)

    def _generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        left = dict(enumerate(requests))
        while left:
            try:
                for index, answer in self._write(left):
                    del left[index]
                    yield index, answer
            except Died as death:
                self._keeper.restart(death)

    def _write(self, requests: dict[int, GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        keeper, setup = self._keeper, self._setup
        texts = {
            index: GrowingText(request, setup.decode, setup.eos_ids, self._context)
            for index, request in requests.items()
        }
        for index in [index for index, text in texts.items() if text.limit < 1]:
            del texts[index]
            yield index, Generated("", 0, "length")
        if not texts:
            return
        order = list(texts)
        prompts = [
            (np.ascontiguousarray(requests[i].prompt, np.int32), texts[i].limit) for i in order
        ]
        keeper.request({"texts": prompts})
        while (found := keeper.answer()) is not None:
            indices = [order[n] for n in found["steps"]]
            rows = keeper.child.slots.read(found["slot"], len(indices))
            tokens = [
                texts[index].choose(row)
                for index, row in zip(indices, torch.from_numpy(rows), strict=True)
            ]
            del rows
            answers = [texts[i].take(token) for i, token in zip(indices, tokens, strict=True)]
            ended = [a is not None for a in answers]
            keeper.child.send(
                {"tokens": [-1 if end else t for t, end in zip(tokens, ended, strict=True)]}
            )
            for index, answer in zip(indices, answers, strict=True):
                if answer is not None:
                    yield index, answer
