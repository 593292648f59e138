"""Generation settings; expected values by ``normalize_gen_kwargs`` of lm-eval 0.4.13, read."""

from __future__ import annotations

from typing import Any

import pytest

from bitloss.errors import UsageError
from bitloss.requests import Decoding
from bitloss.tasks.lm_eval.generation import decoding_of


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, Decoding(256)),
        ({"until": "\n\n"}, Decoding(256, ("\n\n",))),
        ({"until": ["a", ""], "max_gen_toks": 7}, Decoding(7, ("a",))),
        ({"max_gen_toks": None, "max_new_tokens": 9, "max_tokens": 8}, Decoding(9)),
        ({"do_sample": False, "temperature": 0.7, "top_k": 50}, Decoding(256)),
        ({"temperature": 0.7, "top_p": 0.9}, Decoding(256, temperature=0.7, top_p=0.9)),
        ({"do_sample": True, "temperature": 0.0}, Decoding(256)),
        ({"num_beams": 1, "repetition_penalty": 1.0}, Decoding(256)),
    ],
)
def test_settings(settings: dict[str, Any], expected: Decoding) -> None:
    assert decoding_of("t", settings) == expected


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"num_beams": 4}, "num_beams: 4"),
        ({"repetition_penalty": 1.2}, "repetition_penalty: 1.2"),
        ({"do_sample": True, "temperature": 1.0, "top_k": 50}, "top_k: 50"),
        ({"max_gen_toks": "many"}, "expected numbers"),
        ({"until": [3]}, "expected texts to stop at"),
    ],
)
def test_what_bitloss_does_not_have_is_refused(settings: dict[str, Any], shown: str) -> None:
    with pytest.raises(UsageError, match=shown):
        decoding_of("t", settings)
