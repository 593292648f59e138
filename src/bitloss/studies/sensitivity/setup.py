"""Models and text of a study of parts, made ready and checked before anything is scored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from bitloss import api
from bitloss.engines.dense.swaps.hybrid import NamedWeights, checkpoint_weights
from bitloss.errors import UsageError
from bitloss.formats import open_checkpoint
from bitloss.formats.base import context_length
from bitloss.formats.location.locate import locate
from bitloss.runner.models import Reference, Variant, open_variant
from bitloss.runner.plan import Plan, prepare
from bitloss.spec.model import parse_model
from bitloss.types import Progress, ScoredCorpus, Window

if TYPE_CHECKING:
    from bitloss.spec.run import RunSpec

__all__ = ["Prepared", "differing", "prepare_parts", "require_plain"]

# Tokens per window unless the user says otherwise. Windows do not overlap: what a swap costs is
# wanted, not a perplexity that is to be compared with others.
WINDOW = 256
_NO_PLACE = (
    "suite", "tasks", "engine", "cache_type", "activations", "speed", "chat", "samples",
    "template_args", "thinking_budget", "thinking_markers", "replicates", "precision",
    "unsafe_exec",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prepared:
    """What is measured.

    Attributes:
        spec: the run that the same options would be.
        plan: of the run.
        facts: of the text.
        windows: of the text, or of what a limit drew of it.
        weights: of the reference.
    """

    spec: RunSpec
    plan: Plan
    facts: ScoredCorpus
    windows: tuple[Window, ...]
    weights: NamedWeights

    @property
    def reference(self) -> Reference:
        """The reference."""
        return self.plan.reference

    def open(self, text: str, progress: Progress) -> Variant:
        """Make and open a variant.

        Raises:
            BitlossError: it cannot be made or opened, or is no variant of this reference.
        """
        from bitloss.quantizers import Workers

        (ref,) = [one for one in self.plan.variants if one.text == text]
        return open_variant(
            ref, self.spec, self.reference, cache=self.plan.cache, progress=progress,
            workers=Workers(),
        )  # fmt: skip

    def weights_of(self, variant: Variant) -> NamedWeights:
        """A variant's parameters under the reference's names.

        Raises:
            BitlossError: see `checkpoint_weights`.
        """
        ours, theirs = self.reference.model, variant.model
        assert ours.weights is not None
        assert theirs.weights is not None
        return checkpoint_weights(theirs.weights, ours.weights, ours.code)


def prepare_parts(
    model: str,
    variants: Sequence[str],
    corpus: str,
    options: Mapping[str, Any],
    progress: Progress,
) -> Prepared:
    """Open the reference, name the variants, cut the text.

    Args:
        model: the reference.
        variants: recipes or models.
        corpus: the one text.
        options: further keywords of `bitloss.api.make_spec`.
        progress: where to report.

    Raises:
        UsageError: an option that has no meaning here, or names that mean nothing.
        BitlossError: the reference or the text cannot be used.
    """
    require_plain(options)
    chosen = dict(options)
    if not chosen.get("protocol") or chosen["protocol"] == "strided":
        length = chosen.get("max_length") or _window(model, progress)
        chosen |= {"max_length": length, "stride": chosen.get("stride") or length}
    if chosen.get("dtype", "auto") == "auto":
        chosen["dtype"] = "fp32"
    spec = api.make_spec(model, variants, corpora=[corpus], **chosen)
    plan = prepare(spec, progress=progress)
    reference = plan.reference.model
    if reference.weights is None:
        raise UsageError(
            f"{reference.name}: expected a model with files, got one behind a server",
            hint="give the path of the unquantized model",
        )
    weights = checkpoint_weights(reference.weights, reference.weights, reference.code)
    (planned,) = plan.corpora
    return Prepared(spec, plan, planned.facts, planned.windows, weights)


def require_plain(options: Mapping[str, Any]) -> None:
    """Refuse options of runs that a study of parts has no place for.

    Raises:
        UsageError: names them.
    """
    given = [name for name in _NO_PLACE if options.get(name)]
    if given:
        raise UsageError(
            f"expected options of scoring a text, got {', '.join(given)}",
            hint=f"drop {', '.join(given)}: parts are exchanged in the dense engine, on one text",
        )


def _window(model: str, progress: Progress) -> int:
    """Tokens per window that the model can read."""
    ref = parse_model(model)
    path = locate(ref, progress=progress)
    return min(WINDOW, context_length(open_checkpoint(path, name=ref.text).config) or WINDOW)


def differing(reference: NamedWeights, variant: NamedWeights) -> frozenset[str]:
    """Parameters whose values are not the reference's, and heads that only one of them stores."""
    names = dict.fromkeys((*reference.parameters, *variant.parameters))
    found = set()
    for name in names:
        ours, theirs = reference.read(name), variant.read(name)
        if ours.shape != theirs.shape or not torch.equal(ours.float(), theirs.float()):
            found.add(name)
    return frozenset(found)
