"""Text generation for models that cannot be packed: one text after the other.

A model's own cache is used where reading a token at a time with it gives what reading all tokens at
once gives; otherwise every token is read again for each new one.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from bitloss.engines.dense.generation.sampling import next_tokens
from bitloss.engines.dense.graph import ModelGraph
from bitloss.engines.dense.precision import ROUNDING, arithmetic
from bitloss.engines.dense.rope import depends_on_length
from bitloss.engines.dense.scoring.head import Head
from bitloss.engines.generation.texts import GrowingText
from bitloss.errors import NumericalError
from bitloss.requests import Decode, Generated, GenerateRequest

__all__ = ["generate_one_by_one"]

# Names under which transformers' models take a cache and give it back.
_CACHES = ("past_key_values", "cache", "cache_params")
# Tokens with which the cache is tried: read at once, and one by one after them.
_PROBE = (7, 5)
# Rounding may put a number that lies between two codes of a quantized cache to the other one, which
# changes more than rounding does; a cache that is wrong changes everything.
_CODES = 10


def generate_one_by_one(
    graph: ModelGraph,
    head: Head,
    requests: Sequence[GenerateRequest],
    *,
    decode: Decode,
    eos_ids: Collection[int],
    context: int,
) -> Iterator[tuple[int, Generated]]:
    """Continue the prompts in order; see `bitloss.engines.dense.generation.generate.generate`."""
    reader = _Reader(graph)
    for index, request in enumerate(requests):
        decoding, draws = request.decoding, np.random.default_rng(request.seed)
        text = GrowingText(request, decode, eos_ids, context)
        if text.limit < 1:
            yield index, Generated("", 0, "length")
            continue
        state = reader.begin(request.prompt)
        while True:
            with torch.no_grad():
                (token,) = next_tokens(head, state, [decoding], [draws], graph.loaded)
            answer = text.take(token)
            if answer is not None:
                yield index, answer
                break
            state = reader.extend(token)


class _Reader:
    """The last hidden state of one growing sequence."""

    def __init__(self, graph: ModelGraph) -> None:
        self._graph = graph
        self._ids: list[int] = []
        self._cache: Any = None
        taken = inspect.signature(graph.body.forward).parameters
        self._name = next((name for name in _CACHES if name in taken), None)
        if self._name is not None and not self._cache_is_right():
            self._name = None

    def begin(self, prompt: Any) -> torch.Tensor:
        """Read a prompt; shape ``[1, d_model]``."""
        self._ids = [int(token) for token in prompt]
        if self._name is None:
            return self._whole()[-1:]
        self._cache = None
        return self._cached(self._ids)[-1:]

    def extend(self, token: int) -> torch.Tensor:
        """Read one more token; shape ``[1, d_model]``."""
        self._ids.append(token)
        return self._whole()[-1:] if self._name is None else self._cached([token])

    def _whole(self) -> torch.Tensor:
        return self._graph.hidden(torch.tensor([self._ids]))[0]

    @torch.no_grad()
    def _cached(self, ids: list[int]) -> torch.Tensor:
        graph = self._graph
        given = {} if self._cache is None or self._name is None else {self._name: self._cache}
        with arithmetic(graph.precision):
            output = graph.body(
                input_ids=torch.tensor([ids], device=graph.device),
                use_cache=True,
                return_dict=True,
                **given,
            )
        self._cache = next(
            (c for name in _CACHES if (c := getattr(output, name, None)) is not None), None
        )
        if self._cache is None:
            raise TypeError("the model gives no cache back")
        states: torch.Tensor = output.last_hidden_state[0]
        if not torch.isfinite(states).all():
            raise NumericalError(
                f"{graph.loaded}: NaN or infinite values in the hidden states",
                hint="try --dtype fp32, in case of an overflow, or download or make the file again",
            )
        return states

    def _cache_is_right(self) -> bool:
        """Whether the cache changes nothing, by a few tokens read both ways."""
        if depends_on_length(self._graph.body.config):
            return False
        vocabulary = self._graph.body.get_input_embeddings().weight.shape[0]
        ids = [(3 + 7 * n) % vocabulary for n in range(sum(_PROBE))]
        self._ids = ids
        expected = self._whole()
        try:
            found = [self._cached(ids[: _PROBE[0]])]
            found += [self._cached([token]) for token in ids[_PROBE[0] :]]
        except torch.OutOfMemoryError:
            raise
        except (AttributeError, LookupError, NumericalError, RuntimeError, TypeError, ValueError):
            return False
        finally:
            self._cache = None
        difference = (torch.cat(found).float() - expected.float()).abs().mean()
        limit = ROUNDING[self._graph.precision] * expected.float().abs().mean()
        if self._graph.simulation.active:
            limit = _CODES * limit
        return bool(difference <= limit)
