"""What a run found on running text: perplexity, and the divergence from the reference."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from bitloss.results.values import (
    OMIT_NULL,
    DeltaP,
    Estimate,
    Frozen,
    KLDivergence,
    Limits,
    NoiseFloor,
    ProtocolUsed,
    Rescored,
    Stopped,
)

__all__ = ["CorpusComparison", "ReferenceCorpus", "TopKCorpus"]


class ReferenceCorpus(Frozen):
    """A model's own results on one corpus.

    Attributes:
        protocol: under which it was scored.
        digest: sha256 (hex) of the text.
        source: where it was read from, as the user named it, and whether it is the published text.
        dtype: arithmetic of the scoring.
        n_scored: tokens scored.
        n_total: tokens that the protocol scores without a limit.
        n_windows: windows scored.
        perplexity: under the protocol's averaging.
        perplexity_interval: its confidence interval, by the same bootstrap as all others.
        standard_error: the ± that llama.cpp prints; protocol ``llama.cpp`` only.
        bits_per_byte: mean loss in bits per UTF-8 byte of the text.
        word_perplexity: protocol ``lm-eval-wikitext`` only.
        byte_perplexity: protocol ``lm-eval-wikitext`` only.
        entropy: mean entropy of the next-token distribution, nats; absent if it was not measured.
        noise_floor: see `NoiseFloor`; null if it was not measured.
        notes: what a reader should know.
        out_of_domain: true where the reference does worse than guessing all tokens alike, so that
            no variant's loss means anything; else absent.
    """

    protocol: ProtocolUsed
    digest: str
    source: str = ""
    dtype: str
    n_scored: int = Field(ge=0)
    n_total: int = Field(ge=0)
    n_windows: int = Field(ge=0)
    perplexity: float | None
    perplexity_interval: Limits
    standard_error: Annotated[float | None, OMIT_NULL] = None
    bits_per_byte: float | None
    word_perplexity: Annotated[float | None, OMIT_NULL] = None
    byte_perplexity: Annotated[float | None, OMIT_NULL] = None
    entropy: Annotated[Estimate | None, OMIT_NULL] = None
    noise_floor: NoiseFloor | None = None
    notes: tuple[str, ...] = ()
    out_of_domain: Annotated[bool | None, OMIT_NULL] = None

    @property
    def perplexity_estimate(self) -> Estimate:
        """The perplexity with its bounds."""
        limits = self.perplexity_interval
        return Estimate(value=self.perplexity, low=limits.low, high=limits.high)


class CorpusComparison(ReferenceCorpus):
    """A variant's results on one corpus, beside the reference's on the same tokens.

    Attributes:
        reference_perplexity: the reference's, from the same tokens in the same arithmetic.
        relative_perplexity: variant over reference; best value 1.
        kl_divergence: nats per token; best value 0.
        top1_agreement: share of positions with the same most likely token; best value 1.
        overlap: share of the next-token probability that both models have in common: the mean of
            sum min(p, q) over the positions; best value 1.
        delta_p: change of the true token's probability.
        reference_entropy: the reference's mean entropy, nats.
        rescored: see `Rescored`; absent if everything comes from one scoring.
        n_blocks: runs of neighboring windows that these intervals were drawn from; absent if the
            text was scored in looks.
        stopped: why no more of the text was scored; absent if all of it was requested.
    """

    reference_perplexity: float | None
    relative_perplexity: Estimate
    kl_divergence: KLDivergence
    top1_agreement: Estimate
    overlap: Estimate
    delta_p: DeltaP
    reference_entropy: Estimate
    rescored: Annotated[Rescored | None, OMIT_NULL] = None
    n_blocks: Annotated[int | None, OMIT_NULL] = None
    stopped: Annotated[Stopped | None, OMIT_NULL] = None


class TopKCorpus(ReferenceCorpus):
    """A variant's results on one corpus where only its most likely tokens are known.

    A server gives no more. What needs the whole distribution (divergence, overlap, entropy) is not
    there, and nothing stands in for it.

    Attributes:
        reference_perplexity: the reference's, from the same tokens.
        relative_perplexity: variant over reference; best value 1.
        kl_divergence_topk: the divergence over the likely tokens, with the rest of the vocabulary
            as one more, nats per token: a lower bound of the divergence
            (`bitloss.engines.top_k`). The bounds of the interval are of this mean.
        top1_agreement: share of tokens with the same most likely token; absent where the server's
            is not certain.
        delta_p: change of the true token's probability.
    """

    reference_perplexity: float | None
    relative_perplexity: Estimate
    kl_divergence_topk: Estimate
    top1_agreement: Annotated[Estimate | None, OMIT_NULL] = None
    delta_p: DeltaP
