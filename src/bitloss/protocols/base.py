"""What a perplexity protocol is: an exact way to cut a corpus into scored windows."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, ClassVar, Protocol

from bitloss.types import Averaging, Corpus, TextTokenizer, WindowPlan

__all__ = ["PerplexityProtocol", "parameters_of"]


class PerplexityProtocol(Protocol):
    """A frozen dataclass whose fields are the protocol's parameters.

    Parameters that cannot be (a stride longer than the window) are a `UsageError` when it is made.
    One called ``max_length`` is the longest window, which is kept within the model's context.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The name in the registry: the contract."""

    @property
    def averaging(self) -> Averaging:
        """How per-token losses become one number (`bitloss.metrics.perplexity`)."""

    def plan(self, corpus: Corpus, tokenizer: TextTokenizer) -> WindowPlan:
        """Cut all of the corpus; what a limit leaves of it is the run's business.

        A window holds every token that its scored tokens are predicted from, so that it can be
        scored without those before it.

        Raises:
            CorpusError: the corpus is shorter than the protocol can score.
        """


def parameters_of(protocol: PerplexityProtocol) -> dict[str, Any]:
    """The parameters as recorded beside every result."""
    return asdict(protocol)
