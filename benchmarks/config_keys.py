"""Which values of a config decide what is computed, in every listed architecture.

Each value of a tiny model's config is changed; transformers' own forward, with the same weights,
says whether the logits move. Every change that moves them, or no longer fits the weights, has to be
refused by `bitloss.formats.configs.compare_configs`; the rest may be refused or not. Prints the
changes that are missed, which have to be none, and those that are refused without need.

    python benchmarks/config_keys.py [ARCHITECTURE ...]
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from bitloss.errors import BitlossError
from bitloss.formats.architectures import ARCHITECTURES
from bitloss.formats.configs.matching import ModelConfig, compare_configs
from peers.config_changes import changes

# Rows of a padded vocabulary are compared with the tokenizers; Falcon returns attentions from
# another kernel, with another rounding.
ELSEWHERE = ("vocab_size", "output_attentions")


def main() -> int:
    warnings.simplefilter("ignore")
    counts: Counter[str] = Counter()
    missed, needless = defaultdict(set), defaultdict(set)
    for name in sys.argv[1:] or ARCHITECTURES:
        with tempfile.TemporaryDirectory() as folder:
            original, found = changes(name, Path(folder))
            for change in found:
                counts[change.effect] += 1
                try:
                    compare_configs(ModelConfig("r", original), ModelConfig("v", change.config))
                    refused = False
                except BitlossError:
                    refused = True
                if change.path.rpartition(".")[2] in ELSEWHERE:
                    continue
                if change.effect in ("moves", "shape") and not refused:
                    missed[change.path].add(name)
                if change.effect == "none" and refused:
                    needless[change.path].add(name)
    print(f"{sum(counts.values())} changes: {dict(counts)}")
    for title, table in (("missed", missed), ("refused without need", needless)):
        print(f"{title}: {len(table)} keys")
        for key, names in sorted(table.items()):
            print(f"  {key}: {', '.join(sorted(names))}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
