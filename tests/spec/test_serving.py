"""Types of caches and activations as users write them."""

import pytest

from bitloss.errors import UsageError
from bitloss.spec.serving import Serving, parse_serving


@pytest.mark.parametrize(
    ("cache", "activations", "meant"),
    [
        ("", "", Serving()),
        ("q8_0", "", Serving("q8_0", "q8_0")),
        ("Q8_0/q4_0", "", Serving("q8_0", "q4_0")),
        ("", "INT8", Serving(activations="int8")),
        ("", "int8-token", Serving(activations="int8")),
        ("", "checkpoint", Serving(activations="checkpoint")),
        ("int8-g64/int4-g32", "", Serving("int8-g64", "int4-g32")),
        ("fp8-head", "", Serving("fp8-head", "fp8-head")),
    ],
)
def test_types_are_read(cache, activations, meant):
    assert parse_serving(cache, activations) == meant


@pytest.mark.parametrize("cache", ["q9", "q8_0/", "/q8_0", "q8_0/q9", "int8-g0", "int3-g32"])
def test_others_are_refused(cache):
    with pytest.raises(UsageError):
        parse_serving(cache)


def test_unknown_activations_are_refused():
    with pytest.raises(UsageError, match="activations: expected one of int8"):
        parse_serving("", "int9")


def test_only_what_is_set_decides_a_fingerprint():
    assert not Serving()
    assert Serving().to_dict() == {}
    assert Serving("fp8", "fp8").fields == {"keys", "values"}
    assert Serving("q8_0", "q4_0", "int8").label == "cache q8_0/q4_0, activations int8"
