"""What a study is: one factor, its levels, and what answers its question.

A study is one value of `Study` in a file of its own, and one line in `bitloss.registry.STUDIES`. It
decides what is measured and what is concluded, never how: running, pairing, intervals, tables, page
and document are the same for all studies (`bitloss.studies.run`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from bitloss.studies.levels import FactorLevel, Prepared, Subject

if TYPE_CHECKING:
    from bitloss.studies.findings import Finding
    from bitloss.studies.measured import Measured

__all__ = ["FactorLevel", "Prepared", "Study", "Subject"]


def _as_asked(subject: Subject) -> Prepared:
    return Prepared(subject.levels, subject.options)


def _nothing_more(measured: Any) -> tuple[Finding, ...]:
    del measured
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A factor of quantization and how to measure it, composed of facts and plain functions.

    `bitloss.studies.sweep.recipe_sweep` makes one whose levels are recipes.

    Attributes:
        name: the name in `bitloss.registry.STUDIES`.
        factor: what is varied, as a noun phrase: ``"group size"``.
        question: what the study answers, in a sentence that ends with a question mark.
        values: the default levels as `--vary` spells them, in the order in which neighbors are
            compared.
        parse: turns one value of `--vary` into a level. Raises `UsageError` for anything that is
            not a level of this factor.
        columns: names of `bitloss.studies.columns` that answer the question, in the order shown.
        options: keywords of `bitloss.api.make_spec` that hold where the user chose nothing else.
        prepare: decides what is run for a model, and makes what that needs: texts, or levels that
            depend on the model (its layers). Raises `BitlossError` where the model cannot be
            studied.
        conclude: what the levels of one model come to: sentences, tables and charts beyond those
            that every study has. Called right after the model's runs.
        across: the same over all models, in the order given.
    """

    name: str
    factor: str
    question: str
    values: tuple[str, ...]
    parse: Callable[[str], FactorLevel]
    columns: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    prepare: Callable[[Subject], Prepared] = _as_asked
    conclude: Callable[[Measured], tuple[Finding, ...]] = _nothing_more
    across: Callable[[Sequence[Measured]], tuple[Finding, ...]] = _nothing_more

    @property
    def levels(self) -> tuple[FactorLevel, ...]:
        """The default levels."""
        return tuple(self.parse(value) for value in self.values)
