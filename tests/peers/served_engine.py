"""The server engine over a served model of the tests, and what its tests ask of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bitloss.engines.base import Engine
from bitloss.engines.evaluate import evaluate, load_engine, make_scorer
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.runner.store import RunStore
from bitloss.types import SilentProgress, Window
from peers.model_server import ModelServer, serve
from peers.served_model import ServedModel
from peers.tiny import VOCABULARY

__all__ = [
    "Words", "candidate", "encode", "running", "score", "served", "some_windows", "text_model",
]  # fmt: skip


class Words:
    """A tokenizer whose texts are the ids."""

    bos_id = eos_id = None
    adds_bos = False
    size = VOCABULARY

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> np.ndarray:
        return np.array(encode(text), np.int32)

    def text(self, ids: Sequence[int]) -> str:
        return "".join(map(self.piece, ids))

    def piece(self, token: int) -> str:
        return f" {token}"


def encode(text: str) -> list[int]:
    """The server's side: words that are no ids are some token."""
    return [int(w) if w.isdecimal() else 7 for w in text.split()]


def served(model: Any, **options: Any) -> ServedModel:
    def logits(ids: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return model(torch.from_numpy(ids[None]).long()).logits[0].double().numpy()

    return ServedModel("variant", logits, encode, Words().text, eos=1, **options)


def candidate(folder: Path, name: str, engine: str) -> Candidate:
    checkpoint = open_checkpoint(folder / name)
    return Candidate(Model(name, identify(checkpoint), checkpoint, folder / name), engine)


@contextmanager
def running(given: ServedModel, **options: Any) -> Iterator[tuple[ModelServer, Engine]]:
    with serve(given.server(**options)) as server:
        yield server, load_engine(f"server={server.url}")


def some_windows() -> list[Window]:
    rng = np.random.default_rng(0)
    sizes = (40, 9, 70, 2, 33, 64)
    return [
        Window(rng.integers(2, VOCABULARY, n).astype(np.int32), 1 + (n > 30) * 7) for n in sizes
    ]


def score(engine: Engine, folder: Path, out: Path) -> dict[str, Any]:
    reference = candidate(folder, "reference", "dense")
    store = RunStore(out)
    setup = Setup(store, reference, SilentProgress(), batch_tokens=64, tokenizer=Words())
    scorer = make_scorer(setup, engine.name)
    given = candidate(folder, "variant", engine.name)
    records = evaluate(scorer, scorer.pieces(some_windows()), [given]).records_of(given)
    return store.read_records(records, tuple(sorted(engine.columns)))


def text_model(engine: Engine, folder: Path) -> Any:
    given = candidate(folder, "variant", engine.name)
    config = given.model.identity.config
    setup = TextSetup(config, Words().text, (1,), batch_tokens=64, tokenizer=Words())
    return engine.text_model(given, setup), given.model.identity.context
