"""Models behind an OpenAI-compatible server (`server=URL`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

from bitloss.engines.base import Engine
from bitloss.engines.server.address import Address, parse_address
from bitloss.engines.server.client import Client
from bitloss.engines.server.cost import TIMING, Rates, measured_rates
from bitloss.engines.server.probe import Offers, probe, served_models
from bitloss.engines.server.scoring import ServerScores
from bitloss.engines.server.tokens import Tokens
from bitloss.engines.server.writing import ServerTexts
from bitloss.engines.top_k import TOP_K_COLUMNS
from bitloss.engines.values import Candidate, Cost, Setup, TextSetup, Work
from bitloss.environment import api_key
from bitloss.errors import UnsupportedModel
from bitloss.formats.base import ModelIdentity, context_length
from bitloss.spec.fingerprint import fingerprint
from bitloss.types import ExactTokenizer

__all__ = ["ENGINE", "connect"]


def connect(address: str) -> Engine:
    """The engine of a server, once it has been asked what it offers.

    Args:
        address: ``URL`` or ``URL#MODEL``.

    Raises:
        UsageError: that is no URL.
        ServerError: the server cannot be reached, refuses the key, or serves no such model.
    """
    return _connected(address, api_key())


@cache
def _connected(address: str, key: str) -> Engine:
    where = parse_address(address)
    client = Client(where.root, key)
    server = _Server(client, where, served_models(client))
    offers = server.offers(where.model or next(iter(server.models)))
    return replace(
        ENGINE,
        name=f"server={address}",
        settings=MappingProxyType(
            {"offers": offers.to_dict(), "models": fingerprint(server.facts)}
        ),
        top_k=server.scores if offers.scoring else None,
        text_model=server.texts,
        check=server.check,
        only=where.model,
        lacks=offers.lacking,
        notes=offers.notes,
        cost=server.cost,
    )


class _Server:
    """A server, and what it was found to offer."""

    def __init__(self, client: Client, address: Address, models: dict[str, dict[str, Any]]) -> None:
        self._client = client
        self._address = address
        self.models = models
        self._offers: dict[str, Offers] = {}
        self._rates: Rates | None = None
        if address.model:
            self._require(address.model, address.model)

    @property
    def facts(self) -> dict[str, Any]:
        """What the server says of its models, without what changes from one request to the next."""
        return {
            name: {
                key: value
                for key, value in facts.items()
                if key in ("root", "max_model_len", "meta", "owned_by", "parent")
            }
            for name, facts in sorted(self.models.items())
        }

    def offers(self, model: str) -> Offers:
        """What it offers for a model; asked once."""
        if model not in self._offers:
            self._offers[model] = probe(self._client, model)
        return self._offers[model]

    def cost(
        self, work: Work, model: ModelIdentity, *, arithmetic: str, device: str, measure: bool
    ) -> Cost:
        """See `Engine.cost`. Requests are timed once, and only where times are asked for."""
        if measure and self._rates is None:
            self._rates = measured_rates(self._client, next(iter(self._offers.values())))
        rates = self._rates or Rates(None, None, None)
        return rates.cost(work, model, arithmetic=arithmetic, device=device, measure=measure)

    def check(
        self, candidate: Candidate, tokenizer: ExactTokenizer, passages: Sequence[str]
    ) -> tuple[str, ...]:
        """See `Engine.check`.

        Raises:
            Incomparable: the served model reads other tokens from a passage.
        """
        offers = self.offers(self._served(candidate))
        tokens = Tokens(self._client, offers, tokenizer, candidate.model.name)
        tokens.require_same_of(passages)
        return ()

    def scores(self, candidate: Candidate, setup: Setup) -> ServerScores:
        """See `Engine.top_k`."""
        offers, tokens, _ = self._opened(candidate, setup.tokenizer)
        return ServerScores(
            self._client,
            offers,
            tokens,
            name=candidate.model.name,
            vocabulary=candidate.model.identity.vocabulary,
        )

    def texts(self, candidate: Candidate, setup: TextSetup) -> ServerTexts:
        """See `Engine.text_model`."""
        offers, tokens, tokenizer = self._opened(candidate, setup.tokenizer)
        return ServerTexts(
            self._client,
            offers,
            tokens,
            setup,
            tokenizer,
            name=candidate.model.name,
            context=context_length(setup.config),
            vocabulary=candidate.model.identity.vocabulary,
        )

    def _opened(
        self, candidate: Candidate, tokenizer: ExactTokenizer | None
    ) -> tuple[Offers, Tokens, ExactTokenizer]:
        name = candidate.model.name
        if candidate.alone:
            raise UnsupportedModel(
                "a server runs only the models that it serves, so it cannot run the reference",
                hint="use --engine llama.cpp, dense or packed for a noise floor",
            )
        if tokenizer is None:
            raise UnsupportedModel(
                f"{name}: a server needs the run's tokenizer", hint="report this as a bug"
            )
        offers = self.offers(self._served(candidate))
        tokens = Tokens(self._client, offers, tokenizer, name)
        tokens.require_same()
        return offers, tokens, tokenizer

    def _served(self, candidate: Candidate) -> str:
        """The id of the model that a candidate is on the server."""
        if self._address.model:
            return self._address.model
        name = candidate.model.name.partition(" [")[0]
        return self._require(name, name, candidate)

    def _require(self, name: str, shown: str, candidate: Candidate | None = None) -> str:
        if name in self.models:
            return name
        wanted = {_stem(name)}
        if candidate is not None and candidate.model.path is not None:
            wanted.add(_stem(str(candidate.model.path)))
        found = [
            served
            for served, facts in self.models.items()
            if {_stem(served), _stem(str(facts.get("root") or served))} & wanted
        ]
        if len(found) == 1 and not self._address.model:
            return found[0]
        listed = ", ".join(f"`{one}`" for one in list(self.models)[:5])
        raise UnsupportedModel(
            f"{shown}: expected a model that server {self._client.root} serves, which are {listed}",
            hint=f"serve it under this name, or name the served model: --engine "
            f"'server={self._address.root}#MODEL'",
        )


def _stem(name: str) -> str:
    """The last part of a path or of a hub's name, without the ending of a file."""
    return PurePosixPath(name.rstrip("/")).name.lower().removesuffix(".gguf")


ENGINE = Engine(
    name="server",
    version="server-1",
    packages=("httpx2",),
    columns=frozenset(TOP_K_COLUMNS),
    at=connect,
    timing=TIMING,
)
