"""Names of activation types, held against what they mean."""

import pytest

from bitloss.errors import UsageError
from bitloss.spec.activations import ActivationType, parse_activations


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("int8", ActivationType("int8", "token")),
        ("int8-tensor", ActivationType("int8", "tensor")),
        ("int4-block64", ActivationType("int4", "block", 64)),
        ("fp8", ActivationType("fp8", "token")),
        ("fp8-block128", ActivationType("fp8", "block", 128)),
        ("nvfp4", ActivationType("nvfp4", "token", 16)),
        ("nvfp4-tensor", ActivationType("nvfp4", "tensor", 16)),
        ("mxfp8", ActivationType("mxfp8", "block", 32)),
        ("mxfp4", ActivationType("mxfp4", "block", 32)),
    ],
)
def test_names_and_types_are_one_to_one(name, meant):
    assert parse_activations(name) == meant
    assert meant.name == name


def test_a_second_name_is_the_first_ones():
    assert parse_activations("int8-token").name == "int8"


@pytest.mark.parametrize(
    "name",
    ["", "int9", "int8-", "int8-block", "int8-block0", "mxfp4-tensor", "nvfp4-block16", "INT8"],
)
def test_others_are_refused(name):
    with pytest.raises(UsageError, match=r"expected one of int8, .* got"):
        parse_activations(name)
