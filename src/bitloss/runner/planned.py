"""A run that is ready to be carried out, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bitloss.engines.base import Engine
from bitloss.engines.evaluate import load_engine
from bitloss.engines.values import Room
from bitloss.runner.corpora import PlannedCorpus
from bitloss.runner.models import Reference
from bitloss.runner.sequential import Stopping
from bitloss.runner.tasks.encoding import Encoder
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.spec.model import ModelRef
from bitloss.spec.run import RunSpec
from bitloss.spec.ways import Way

__all__ = ["Plan"]

# Of each corpus: enough to meet its script, its blanks and its digits.
_PASSAGES = 16
_PASSAGE_TOKENS = 256


@dataclass(frozen=True, slots=True)
class Plan:
    """What `execute` carries out.

    Attributes:
        spec: as asked for.
        reference: opened, with the run's tokenizer.
        variants: named, not made or opened yet; those that the user named, then each of them as it
            is run in further ways.
        corpora: cut into windows.
        tasks: chosen and encoded.
        encoder: of the tasks' prompts.
        eos_ids: tokens that end a text.
        cache: where made variants are kept; None is the user's cache directory.
        stopping: when enough of a variant is scored; None is at the end.
        variants_must_work: whether the run ends if no variant can be made or opened.
        laid_out: the tasks whose windows stand in one row: the run's, or, beside a pack, all of
            the pack's, so that what is chosen of them changes no number.
        makes_pack: whether a pack is made of the run, which has no variants and the noise floors
            of all its engines.
        fitted: what was changed to fit the model's context, in sentences.
    """

    spec: RunSpec
    reference: Reference
    variants: tuple[ModelRef, ...]
    corpora: tuple[PlannedCorpus, ...]
    tasks: tuple[PlannedTask, ...]
    encoder: Encoder
    eos_ids: frozenset[int]
    cache: Path | None = None
    stopping: Stopping | None = None
    variants_must_work: bool = True
    laid_out: tuple[PlannedTask, ...] = ()
    makes_pack: bool = False
    fitted: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.laid_out:
            object.__setattr__(self, "laid_out", self.tasks)

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines that variants are run with."""
        return tuple(load_engine(name) for name in self.spec.engine)

    @property
    def engine(self) -> Engine:
        """The first of them, which gives the results; the reference's if there are no variants."""
        return self.engines[0]

    @property
    def dtype(self) -> str:
        """The arithmetic asked of the reference's engine. Ways are held against each other, so what
        rounding adds would be taken for a cache's or an engine's loss: ``auto`` is exact there.
        So it is for packs: nobody knows what they will be compared with, and without weights
        nothing can be scored again.
        """
        several = any(ref.run_of is not None for ref in self.variants)
        exact = several or self.makes_pack or self.reference.pack is not None
        return "fp32" if exact and self.spec.dtype == "auto" else self.spec.dtype

    @property
    def decides_tasks(self) -> bool:
        """Whether tasks are evaluated in looks, until the recommendation is settled."""
        return self.spec.until == "decided"

    @property
    def room(self) -> Room:
        """What runtimes are made for: the longest text of the run, and the memory that they may
        take.
        """
        lengths = [len(window.ids) for corpus in self.corpora for window in corpus.windows]
        for task in self.tasks:
            lengths += [len(w.ids) for question in task.questions for w in question.windows]
            lengths += [len(r.prompt) + r.decoding.most_tokens for _, r in task.requests()]
        context = self.reference.model.identity.context
        longest = max(lengths, default=0) + 1
        return Room(min(longest, context or longest), self.spec.gpu_memory)

    def way_of(self, name: str) -> Way:
        """How the variant of this name is run."""
        own = next((ref.way for ref in self.variants if ref.text == name), None)
        return own or Way(self.engine.name)

    @property
    def ways(self) -> tuple[Way, ...]:
        """The ways in which variants are run, the first engine's plain one first."""
        named = [self.way_of(ref.text) for ref in self.variants]
        return tuple(dict.fromkeys((Way(self.engine.name), *named)))

    @property
    def passages(self) -> tuple[str, ...]:
        """Short passages of every corpus, to try a runtime's own tokenizer on."""
        tokenizer = self.reference.tokenizer
        found = []
        for corpus in self.corpora:
            # In the order of a draw the first ones are as good as any; of a whole text, far apart.
            apart = max(1, len(corpus.windows) // _PASSAGES)
            for window in corpus.windows[::apart][:_PASSAGES]:
                read = window.ids[:_PASSAGE_TOKENS]
                ids = [int(n) for n in read if n not in (tokenizer.bos_id, tokenizer.eos_id)]
                # SentencePiece's blank before a text is compared for itself.
                found.append(tokenizer.text(ids).strip())
        return tuple(dict.fromkeys(filter(None, found)))

    @property
    def floor_ways(self) -> tuple[Way, ...]:
        """The ways of which noise floors are measured: all of a run's, every engine's of a pack."""
        return tuple(map(Way, self.spec.engine)) if self.makes_pack else self.ways

    def has_own_floors(self, way: Way) -> bool:
        """Whether each variant run in this way has a noise floor of its own."""
        home = self.reference_engine.name
        return way.adds is not None and way.engine != home and load_engine(way.engine).nudges

    def made_by(self, name: str) -> str:
        """The variant that is made and opened for the one of this name: itself, or in its first
        way.
        """
        return next((ref.run_of for ref in self.variants if ref.text == name), None) or name

    @property
    def reference_engine(self) -> Engine:
        """The engine that the reference is run with."""
        beside = self.variants or self.makes_pack
        return load_engine(self.engine.reference_engine) if beside else self.engine
