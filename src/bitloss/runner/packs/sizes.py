"""How large a pack will be, and which limit would make it smaller."""

from __future__ import annotations

from dataclasses import dataclass

from bitloss.engines.dense.scoring.keys import state_width
from bitloss.errors import UsageError
from bitloss.formats.base import text_config
from bitloss.results.pack import StateType
from bitloss.runner.packs.rounding import BYTES
from bitloss.runner.plan import Plan
from bitloss.wording import size as bytes_text

__all__ = ["PackSize", "estimate_size", "require_room"]

# Of a token that is scored, beside its hidden state: id, loss, entropy; of an item, its text.
_TOKEN_BYTES, _ITEM_BYTES = 16, 1500


@dataclass(frozen=True, slots=True)
class PackSize:
    """Bytes of a pack, estimated before it is made.

    Attributes:
        states: hidden states.
        head: the reference's head.
        rest: token ids, items, records, tokenizer.
    """

    states: int
    head: int
    rest: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.states + self.head + self.rest

    def __str__(self) -> str:
        return (
            f"about {bytes_text(self.total)}: hidden states {bytes_text(self.states)}, head "
            f"{bytes_text(self.head)}, token ids, items and records {bytes_text(self.rest)}"
        )


def estimate_size(plan: Plan, states: StateType) -> PackSize:
    """Estimate a pack from its plan; what the reference writes where the data has no gold answers
    counts as long as it may be.
    """
    config = plan.reference.model.identity.config
    tokens = scored_tokens(plan)
    number = 2 if plan.dtype == "bf16" else BYTES[states]
    scored = sum(corpus.facts.n_scored for corpus in plan.corpora)
    kept = scored + tokens
    width = state_width(config)
    weights = plan.reference.model.weights
    stored = weights.info.format.endswith(("bf16", "f16")) if weights is not None else False
    head = plan.reference.model.identity.vocabulary * width * (2 if stored else 4)
    read = sum(corpus.tokens for corpus in plan.corpora)
    items = sum(len(task.questions) for task in plan.tasks)
    entries = int(text_config(config).get("vocab_size") or 0)
    rest = _TOKEN_BYTES * kept + 2 * read + _ITEM_BYTES * items + 30 * entries
    return PackSize(kept * width * number, head, rest)


def scored_tokens(plan: Plan) -> int:
    """Scored positions of tasks, those of written gold answers at most."""
    total = 0
    for task in plan.tasks:
        if task.gold == "reference":
            total += sum(request.decoding.most_tokens for _, request in task.requests())
        else:
            total += sum(w.n_scored for question in task.questions for w in question.windows)
    return total


def require_room(size: PackSize, limit: int | None, plan: Plan) -> None:
    """Refuse a pack that will be larger than wanted, before it is made.

    Raises:
        UsageError: the hint names a limit that fits, if there is one.
    """
    if limit is None or size.total <= limit:
        return
    share = (limit - size.head) / max(1, size.total - size.head)
    largest = max(
        [corpus.facts.n_windows for corpus in plan.corpora]
        + [len(task.questions) for task in plan.tasks]
    )
    fits = int(largest * share * 0.9)
    raise UsageError(
        f"expected a pack of at most {bytes_text(limit)} (--max-size), got {size}",
        hint=f"use --limit {fits}"
        if fits > 0
        else "choose fewer corpora and tasks, or a larger --max-size: the head alone is that large",
    )
