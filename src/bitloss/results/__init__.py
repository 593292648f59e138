"""What a run found, as typed and versioned documents."""

from bitloss.results.comparison import SCHEMA_VERSION, Comparison
from bitloss.results.corpora import CorpusComparison, ReferenceCorpus, TopKCorpus
from bitloss.results.environment import Engine, Environment, Seeds
from bitloss.results.manifest import Manifest
from bitloss.results.models import ModelFacts, ReferenceResult, VariantResult
from bitloss.results.replicates import OwnSpread, Replicates, Spread
from bitloss.results.served import Added, Served, ServedCorpus, ServedTask, Way
from bitloss.results.tasks import (
    Ability,
    CapabilityResult,
    Flips,
    ReferenceTask,
    SubjectScore,
    VariantTask,
)
from bitloss.results.values import (
    DeltaP,
    Estimate,
    Failure,
    KLDivergence,
    Limits,
    NoiseFloor,
    ProtocolUsed,
    Rescored,
)
from bitloss.results.verdicts import (
    Answer,
    AxisVerdict,
    CapabilityVerdict,
    Claim,
    Expected,
    Level,
    LossRanking,
    RankedCapability,
    Standing,
    Verdict,
)

__all__ = [
    "SCHEMA_VERSION",
    "Ability",
    "Added",
    "Answer",
    "AxisVerdict",
    "CapabilityResult",
    "CapabilityVerdict",
    "Claim",
    "Comparison",
    "CorpusComparison",
    "DeltaP",
    "Engine",
    "Environment",
    "Estimate",
    "Expected",
    "Failure",
    "Flips",
    "KLDivergence",
    "Level",
    "Limits",
    "LossRanking",
    "Manifest",
    "ModelFacts",
    "NoiseFloor",
    "OwnSpread",
    "ProtocolUsed",
    "RankedCapability",
    "ReferenceCorpus",
    "ReferenceResult",
    "ReferenceTask",
    "Replicates",
    "Rescored",
    "Seeds",
    "Served",
    "ServedCorpus",
    "ServedTask",
    "Spread",
    "Standing",
    "SubjectScore",
    "TopKCorpus",
    "VariantResult",
    "VariantTask",
    "Verdict",
    "Way",
]
