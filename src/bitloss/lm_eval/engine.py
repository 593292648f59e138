"""One model in one engine, asked directly: likelihoods of windows, and texts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from bitloss.engines.base import Engine, LogitsModel
from bitloss.engines.evaluate import evaluate, load_engine, make_scorer
from bitloss.engines.values import Candidate, Model, Setup, TextSetup
from bitloss.errors import CheckpointError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.formats.location.locate import locate
from bitloss.formats.tokenizers.loading import eos_ids, load_tokenizer
from bitloss.requests import Generated, GenerateRequest
from bitloss.runner.store import RunStore
from bitloss.runner.tasks.records import window_scores
from bitloss.spec.model import parse_model
from bitloss.types import SilentProgress, Window

if TYPE_CHECKING:
    from bitloss.formats.tokenizers.loading import HFTokenizer

__all__ = ["Asked", "open_model"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A model that can be asked.

    Attributes:
        candidate: the model, its engine, arithmetic and device.
        engine: that runs it.
        tokenizer: its own, or the reference's.
        context: tokens that it reads at once.
        ends: ids of tokens that end a text.
        batch_tokens: tokens in one forward.
    """

    candidate: Candidate
    engine: Engine
    tokenizer: HFTokenizer
    context: int
    ends: frozenset[int]
    batch_tokens: int

    def likelihoods(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """Of each window, the log-probability (nats) of its scored tokens together, and whether
        each of them is the model's most likely one.

        Raises:
            BitlossError: the model's files or numbers are at fault.
        """
        if not windows:
            return []
        return self._shared(windows) if self.engine.scorer else self._one_by_one(windows)

    def write(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        """Continue prompts; see `bitloss.engines.base.TextModel.generate`.

        Raises:
            UnsupportedModel: the engine cannot write.
        """
        if self.engine.text_model is None:
            raise UnsupportedModel(
                f"engine `{self.engine.name}` cannot generate text",
                hint="choose tasks that score options, or another engine",
            )
        setup = TextSetup(
            self.candidate.model.identity.config, self.tokenizer.decode, self.ends,
            self.batch_tokens, self.tokenizer,
        )  # fmt: skip
        return self.engine.text_model(self.candidate, setup).generate(requests)

    def _shared(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """By the engine's own scorer: what windows begin with in common is read once."""
        with tempfile.TemporaryDirectory() as folder:
            store = RunStore(Path(folder))
            setup = Setup(
                store, self.candidate, SilentProgress(), batch_tokens=self.batch_tokens,
                share_prefixes=True,
            )  # fmt: skip
            scorer = make_scorer(setup, self.engine.name)
            records = evaluate(scorer, scorer.pieces(windows), []).reference
            columns = store.read_records(records, ("window", "nll", "greedy"))
        scores = window_scores(columns, len(windows))
        return list(zip(scores.logprob.tolist(), scores.greedy.tolist(), strict=True))

    def _one_by_one(self, windows: Sequence[Window]) -> list[tuple[float, bool]]:
        """By the engine's logits, block by block."""
        if self.engine.logits is None:
            raise UnsupportedModel(
                f"engine `{self.engine.name}` does not give the probabilities of all tokens",
                hint="use engine=dense or engine=llama.cpp",
            )
        model = self.engine.logits(self.candidate, batch_tokens=self.batch_tokens)
        return [_likelihood(model, window) for window in windows]


def _likelihood(model: LogitsModel, window: Window) -> tuple[float, bool]:
    targets = torch.from_numpy(window.ids[window.first :].astype("int64"))
    total, greedy, at = 0.0, True, 0
    for block in model.logits(window):
        own = targets[at : at + len(block)].to(block.device)
        at += len(block)
        logits = block.float()
        nll = torch.nn.functional.cross_entropy(logits, own, reduction="none")
        total -= float(nll.double().sum())
        greedy = greedy and bool((logits.argmax(dim=-1) == own).all())
    return total, greedy


def open_model(
    path: str,
    *,
    reference: str | None = None,
    engine: str = "dense",
    dtype: str = "fp32",
    device: str = "cpu",
    batch_tokens: int = 2048,
    trust_remote_code: bool = False,
) -> Asked:
    """Open a model of any format that bitloss reads.

    Args:
        path: a path or a hub name.
        reference: a model whose tokenizer is used; None is the model itself.
        engine: name in `bitloss.registry.ENGINES`.
        dtype: arithmetic of the engine (the dense engine's: ``fp32``, ``mixed``, ``bf16``).
        device: a torch device.
        batch_tokens: tokens in one forward.
        trust_remote_code: run a model's own Python code.

    Raises:
        BitlossError: the model cannot be found, opened or run.
    """
    plug, ref = load_engine(engine), parse_model(path)
    place = locate(ref, progress=SilentProgress(), trust_remote_code=trust_remote_code)
    checkpoint = open_checkpoint(place, name=ref.text)
    identity = identify(checkpoint)
    code = place if trust_remote_code and "auto_map" in checkpoint.config else None
    owner = place
    if reference is not None:
        owner = locate(
            parse_model(reference), progress=SilentProgress(), weights=False,
            trust_remote_code=trust_remote_code,
        )  # fmt: skip
    if identity.context is None:
        raise CheckpointError(
            f"{ref.text}: the config does not specify a context length",
            hint="add `max_position_embeddings` to its config.json",
        )
    tokenizer = load_tokenizer(owner, trust_remote_code=trust_remote_code)
    model = Model(ref.text, identity, checkpoint, place, code)
    arithmetic = plug.arithmetic(
        dtype, device=device, parameters=identity.info.parameters, tokens=0
    )
    return Asked(
        Candidate(model, plug.name, arithmetic, device), plug, tokenizer, identity.context,
        frozenset(eos_ids(tokenizer, owner)), batch_tokens,
    )  # fmt: skip
