"""A tiny random Llama with a tokenizer, and the variants made of it (once for all processes)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bitloss.formats import open_checkpoint
from bitloss.quantizers import make_variant
from bitloss.spec.calibration import Calibration
from bitloss.spec.recipe import parse_recipe
from bitloss.types import SilentProgress

WORDS = [f"{first}{last}" for first in "bdfgklmnprstvz" for last in ("a", "e", "il", "on", "urt")]


@pytest.fixture(scope="session")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some 20,000 words drawn from a small vocabulary."""
    generator = torch.Generator().manual_seed(1)
    drawn = torch.randint(len(WORDS), (20_000,), generator=generator).tolist()
    path = tmp_path_factory.mktemp("text") / "words.txt"
    path.write_text(" ".join(WORDS[word] for word in drawn))
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two blocks, 128 wide: sizes that groups of 128, AWQ's 64 outputs and 3-bit words divide."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {token: number for number, token in enumerate(["<s>", "</s>", "<unk>", *WORDS])}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    config = LlamaConfig(
        vocab_size=128, hidden_size=128, intermediate_size=256, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=96,
        tie_word_embeddings=False, bos_token_id=0, eos_token_id=1,
    )  # fmt: skip
    torch.manual_seed(0)
    model = LlamaForCausalLM(config).to(torch.bfloat16)
    path = tmp_path_factory.mktemp("models") / "tiny"
    model.save_pretrained(path)
    PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def variant(
    tiny: Path, text: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Make a recipe's variant of `tiny`; all test processes share one cache."""
    base = tmp_path_factory.getbasetemp()
    digest = open_checkpoint(tiny).info.digest
    # pytest-xdist gives each of its processes a folder of its own inside the run's.
    shared = base.parent if base.name.startswith("popen-") else base
    # The text has another path in each process, and the path is a part of the recipe.
    common = shared / "words.txt"
    temporary = shared / f".{base.name}.txt"
    temporary.write_bytes(text.read_bytes())
    temporary.replace(common)

    def make(name: str) -> Path:
        recipe = parse_recipe(name, calibration=Calibration(str(common), 16, 64))
        return make_variant(
            recipe, tiny, model_digest=digest, data=None, cache=shared / "cache",
            progress=SilentProgress(),
        )  # fmt: skip

    return make
