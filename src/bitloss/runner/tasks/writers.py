"""Models that write, kept loaded from one task to the next as far as memory allows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from bitloss.engines.base import TextModel
from bitloss.engines.values import Candidate, TextSetup
from bitloss.errors import UnsupportedModel
from bitloss.runner.plan import Plan
from bitloss.runner.run import Run
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.texts import TextShards, write_texts
from bitloss.spec.fingerprint import fingerprint

__all__ = ["Writers", "shards_of", "text_setup"]

Written = Callable[[int, tuple[str, ...]], object]

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

    def begin(self, candidate: Candidate, shards: TextShards) -> None:
        """Hand out what a model is going to write, where others can let it write."""
        if self._run.elsewhere is not None:
            self._run.elsewhere.begin_texts(candidate, shards, text_setup(self._run.plan))

    def write(self, candidate: Candidate, shards: TextShards, *, written: Written) -> None:
        """Let a model write what is not there yet; see `bitloss.runner.tasks.texts.write_texts`.

        Raises:
            BitlossError: the model cannot write, or the run directory not be written.
        """
        run, label = self._run, f"{candidate.model.name} writes {shards.planned.name}"
        if run.elsewhere is not None:
            run.elsewhere.write_texts(
                candidate, shards, text_setup(run.plan), label=label, progress=run.progress,
                written=written,
            )  # fmt: skip
            return
        write_texts(
            run.store,
            shards,
            label=label,
            model=lambda: self.get(candidate),
            progress=run.progress,
            written=written,
        )

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


def shards_of(run: Run, planned: PlannedTask, candidate: Candidate) -> TextShards:
    """A model's texts for a task, by the names that they have in the store."""
    plan = run.plan
    identity = run.engine_of(candidate).identity(
        candidate, batch_tokens=plan.spec.tokens_in_forward
    )
    model = {
        "model": fingerprint(dict(identity)),
        "tokenizer": plan.reference.tokenizer.digest,
        "eos": sorted(plan.eos_ids),
    }
    if version := run.engine_of(candidate).writing:
        model["writing"] = version
    ours = dict(plan.reference.model.identity.config)
    if dict(candidate.model.identity.config) != ours:  # whose graph a variant's weights run in
        model["graph"] = fingerprint(ours)
    shards = TextShards.of(planned, fingerprint(model))
    pack = plan.reference.pack
    if candidate.model is plan.reference.model and pack is not None:
        assert pack.document.tasks is not None, "it has this one"
        return replace(shards, keys=pack.document.tasks.by_name[planned.name].texts)
    return shards


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
        devices=plan.spec.devices,
    )
