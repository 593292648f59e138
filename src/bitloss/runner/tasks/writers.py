"""Models that write, kept loaded from one task to the next as far as memory allows."""

from __future__ import annotations

from bitloss.engines.base import TextModel
from bitloss.engines.values import Candidate, TextSetup
from bitloss.errors import UnsupportedModel
from bitloss.runner.plan import Plan
from bitloss.runner.run import Run

__all__ = ["Writers", "text_setup"]

# Small models stay loaded through all tasks; of larger ones there is one at a time.
BUDGET = 1 << 30


class Writers:
    """Loads text models, and holds as many as fit.

    Args:
        run: the run.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._loaded: dict[str, TextModel] = {}

    def get(self, candidate: Candidate) -> TextModel:
        """A loaded model.

        Raises:
            BitlossError: its files are incomplete or damaged.
        """
        if candidate.label not in self._loaded:
            # Models of one run are about as large as each other once they are loaded.
            size = max((model.nbytes for model in self._loaded.values()), default=0)
            while self._loaded and size + sum(m.nbytes for m in self._loaded.values()) > BUDGET:
                del self._loaded[next(iter(self._loaded))]
                self._run.engine_of(candidate).release()
            self._loaded[candidate.label] = self._load(candidate)
        return self._loaded[candidate.label]

    def close(self) -> None:
        """Let go of models that are too large to be held while others read."""
        if sum(model.nbytes for model in self._loaded.values()) > BUDGET // 4:
            self._loaded.clear()
            for engine in self._run.plan.engines:
                engine.release()

    def _load(self, candidate: Candidate) -> TextModel:
        engine = self._run.engine_of(candidate)
        if engine.text_model is None:
            raise UnsupportedModel(
                f"engine `{engine.name}` cannot generate text",
                hint="choose tasks that score options, or another --engine",
            )
        return engine.text_model(candidate, text_setup(self._run.plan))


def text_setup(plan: Plan) -> TextSetup:
    """What text models of a run are given."""
    return TextSetup(
        config=plan.reference.model.identity.config,
        decode=plan.reference.tokenizer.decode,
        eos_ids=plan.eos_ids,
        batch_tokens=plan.spec.tokens_in_forward,
        tokenizer=plan.reference.tokenizer,
        memory=plan.spec.memory_bytes,
        room=plan.room,
    )
