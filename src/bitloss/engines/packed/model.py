"""A loaded model with packed layers: one window to logits, and prompts to texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from bitloss.engines.dense.architecture import architecture_of
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import arithmetic
from bitloss.engines.dense.rope import forget_lengths
from bitloss.engines.dense.scoring.head import Head, load_head, weights_of
from bitloss.engines.packed.loading import Loaded
from bitloss.engines.values import Candidate, TextSetup
from bitloss.errors import CorpusError, NumericalError, UnsupportedModel
from bitloss.formats.base import context_length
from bitloss.requests import Generated, GenerateRequest
from bitloss.types import Window

__all__ = ["PackedLogits", "PackedTextModel"]

# Positions of a block of logits.
_ROWS = 64


class PackedLogits:
    """The model's own forward, a window at a time; satisfies `bitloss.engines.base.LogitsModel`.

    Args:
        loaded: the model.
        candidate: what it was loaded from.
    """

    def __init__(self, loaded: Loaded, candidate: Candidate) -> None:
        self._model, self._precision = loaded.model, loaded.precision
        self._device = candidate.device
        self._context = candidate.model.identity.context
        self.vocabulary = loaded.vocabulary

    @torch.no_grad()
    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """See `LogitsModel.logits`.

        Raises:
            CorpusError: the window is longer than the model's context.
            NumericalError: NaN or infinite logits.
        """
        size = len(window.ids) - 1
        if self._context is not None and size > self._context:
            raise CorpusError(
                f"expected a window of at most {self._context} tokens, which is the model's "
                f"context, got {size}",
                hint="use a smaller --max-length",
            )
        ids = torch.from_numpy(window.ids[None, :-1].astype(np.int64)).to(self._device)
        forget_lengths(self._model)
        with arithmetic(self._precision):
            logits = self._model(ids, use_cache=False, logits_to_keep=window.n_scored).logits[0]
        for at in range(0, len(logits), _ROWS):
            block = logits[at : at + _ROWS].float()
            if not torch.isfinite(block).all():
                raise NumericalError(
                    "expected finite logits, got NaN or infinite ones",
                    hint="check the file's digest; it may be damaged, or overflow in this dtype",
                )
            yield block


class PackedTextModel:
    """The dense engine's generation, over a body whose layers are packed.

    The head is read from the file as the dense engine reads it, in the same arithmetic.

    Args:
        loaded: the model.
        candidate: what it was loaded from.
        setup: the reference's config, how tokens become text, and what ends one.

    Raises:
        CheckpointError: the file has no head.
        UnsupportedModel: the body is not where transformers' class of the config has it.
    """

    def __init__(self, loaded: Loaded, candidate: Candidate, setup: TextSetup) -> None:
        model = candidate.model
        self._setup = setup
        self._context = context_length(setup.config) or 1 << 30
        architecture = architecture_of(model.identity.config, model.code)
        try:
            body = loaded.model.get_submodule(architecture.body)
        except AttributeError as error:
            raise UnsupportedModel(
                f"{model.name}: expected the text model at `{architecture.body}`, found none in "
                f"`{type(loaded.model).__name__}`",
                hint="use --engine dense for tasks that need text",
            ) from error
        self._graph = ModelGraph.around(
            body,
            prefix=architecture.body,
            name=model.name,
            precision=loaded.precision,
            device=candidate.device,
        )
        if loaded.mixes_tokens:
            # Packed forwards would give a token other neighbours than it has as it is served.
            self._graph.packs = False
        head = load_head(
            weights_of(candidate),
            precision=loaded.precision,
            device=candidate.device,
            code=model.code,
        )
        self._head: Head = head
        self._model: Any = loaded.model

    @property
    def nbytes(self) -> int:
        """See `TextModel.nbytes`."""
        tensors = [*self._model.parameters(), *self._model.buffers(), self._head.weight]
        held = {tensor.data_ptr(): tensor.nbytes for tensor in tensors}
        return sum(held.values())

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """See `TextModel.generate`."""
        return generate(
            self._graph,
            self._head,
            requests,
            decode=self._setup.decode,
            eos_ids=self._setup.eos_ids,
            context=self._context,
            batch_tokens=self._setup.batch_tokens,
        )
