"""Paired analysis of stored records: the result, its document and its tables."""

from bitloss.comparison.analyse import analyse_corpus, analyse_reference
from bitloss.comparison.result import (
    SCHEMA_VERSION,
    Comparison,
    CorpusComparison,
    DeltaP,
    Engine,
    Environment,
    Estimate,
    Failure,
    KLDivergence,
    Limits,
    ModelFacts,
    NoiseFloor,
    ProtocolUsed,
    ReferenceCorpus,
    ReferenceResult,
    Rescored,
    VariantResult,
)

__all__ = [
    "SCHEMA_VERSION",
    "Comparison",
    "CorpusComparison",
    "DeltaP",
    "Engine",
    "Environment",
    "Estimate",
    "Failure",
    "KLDivergence",
    "Limits",
    "ModelFacts",
    "NoiseFloor",
    "ProtocolUsed",
    "ReferenceCorpus",
    "ReferenceResult",
    "Rescored",
    "VariantResult",
    "analyse_corpus",
    "analyse_reference",
]
