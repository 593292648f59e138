"""A loaded model with packed layers: one window to logits, and prompts to texts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from bitloss.engines.dense.architecture import architecture_of
from bitloss.engines.dense.generation.generate import generate
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import arithmetic
from bitloss.engines.dense.rope import forget_lengths
from bitloss.engines.dense.scoring.head import Head, load_head
from bitloss.engines.packed.loading import Job, Loaded, load
from bitloss.engines.values import TextSetup
from bitloss.errors import CorpusError, NumericalError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import context_length
from bitloss.requests import Generated, GenerateRequest
from bitloss.types import Window

__all__ = ["PackedLogits", "PackedTexts", "load_logits", "load_texts"]

# Positions of a block of logits.
_ROWS = 64


def load_logits(job: Job) -> PackedLogits:
    """A model that gives logits; raises as `bitloss.engines.packed.loading.load` does."""
    torch.set_num_threads(job.threads)
    return PackedLogits(load(job), job)


def load_texts(job: Job, setup: TextSetup) -> PackedTexts:
    """A model that writes; raises as `bitloss.engines.packed.loading.load` does."""
    torch.set_num_threads(job.threads)
    return PackedTexts(load(job), job, setup)


class PackedLogits:
    """The model's own forward, a window at a time; satisfies `bitloss.engines.base.LogitsModel`.

    Args:
        loaded: the model.
        job: what it was loaded from.
    """

    def __init__(self, loaded: Loaded, job: Job) -> None:
        self._model = loaded.model
        self._precision, self._device = job.precision, job.device
        self._context = job.identity.context
        self.vocabulary = loaded.vocabulary

    @torch.no_grad()
    def logits(self, window: Window) -> Iterator[torch.Tensor]:
        """See `LogitsModel.logits`; on the CPU.

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
            block = logits[at : at + _ROWS].float().cpu()
            if not torch.isfinite(block).all():
                raise NumericalError(
                    "expected finite logits, got NaN or infinite ones",
                    hint="check the file's digest; it may be damaged, or overflow in this dtype",
                )
            yield block


class PackedTexts:
    """The dense engine's generation, over a body whose layers are packed.

    The head is read from the file as the dense engine reads it, in the same arithmetic. Satisfies
    `bitloss.engines.base.TextModel`.

    Args:
        loaded: the model.
        job: what it was loaded from.
        setup: the reference's config, how tokens become text, and what ends one.

    Raises:
        CheckpointError: the file has no head.
        UnsupportedModel: the body is not where transformers' class of the config has it.
    """

    def __init__(self, loaded: Loaded, job: Job, setup: TextSetup) -> None:
        self._setup = setup
        self._context = context_length(setup.config) or 1 << 30
        architecture = architecture_of(job.identity.config, job.code)
        try:
            body = loaded.model.get_submodule(architecture.body)
        except AttributeError as error:
            raise UnsupportedModel(
                f"{job.name}: expected the text model at `{architecture.body}`, found none in "
                f"`{type(loaded.model).__name__}`",
                hint="use --engine dense for tasks that need text",
            ) from error
        self._graph = ModelGraph.around(
            body,
            prefix=architecture.body,
            name=job.name,
            precision=job.precision,
            device=job.device,
        )
        if loaded.mixes_tokens:
            # Packed forwards would give a token other neighbors than it has as it is served.
            self._graph.packs = False
        checkpoint = open_checkpoint(job.path, name=job.name)
        self._head: Head = load_head(
            checkpoint, precision=job.precision, device=job.device, code=job.code
        )
        tensors = [*loaded.model.parameters(), *loaded.model.buffers(), self._head.weight]
        self.nbytes = sum({tensor.data_ptr(): tensor.nbytes for tensor in tensors}.values())
        self.vocabulary = loaded.vocabulary

    @property
    def facts(self) -> dict[str, int]:
        """What a child reports to its parent."""
        return {"nbytes": self.nbytes}

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
