"""What a sweep costs beside its parts: a study of ten levels against quantizing and eleven passes.

    python benchmarks/study_sweep.py [MODEL] [CORPUS] [LIMIT]

Everything is made again in a folder that is removed. The time of a pass is that of the reference
alone, scored by itself in a warm process; the bound is 1.2 times quantizing plus eleven passes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

import bitloss

LEVELS = [
    f"gguf-{kind}"
    for kind in (
        "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k",
    )
]  # fmt: skip


def main(model: str = "pocket", corpus: str = "pocket-prose", limit: str = "") -> None:
    """Print the parts, the whole, and their ratio."""
    options = {"corpora": [corpus]} | ({"limit": int(limit)} if limit else {})
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BITLOSS_CACHE"] = str(Path(folder) / "cache")
        passes = []
        for _ in range(2):  # the first loads libraries
            start = time.monotonic()
            bitloss.evaluate_perplexity(
                model, corpus=corpus, **({"limit": int(limit)} if limit else {})
            )
            passes.append(time.monotonic() - start)
        start = time.monotonic()
        bitloss.study("bits", [model], vary=LEVELS, out=Path(folder) / "out", **options)
        whole = time.monotonic() - start
        records = Path(folder, "cache", "variants").glob("*/recipe.json")
        made = sum(json.loads(one.read_text())["seconds"] for one in records)
    bound = 1.2 * (made + 11 * passes[-1])
    print(f"quantizing {made:.1f} s, summed over recipes; one pass {passes[-1]:.2f} s")
    print(f"study of {len(LEVELS)} levels {whole:.1f} s; bound {bound:.1f} s")
    print(f"{whole / bound:.2f} times the bound")


if __name__ == "__main__":
    main(*sys.argv[1:])
