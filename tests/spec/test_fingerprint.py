"""Names of work."""

import math

from bitloss.spec.fingerprint import canonical_json, fingerprint


def test_equal_values_give_equal_text():
    assert canonical_json({"b": 1, "a": [True, None]}) == '{"a":[true,null],"b":1}'


def test_numbers_that_json_lacks_have_names_of_their_own():
    """Configs have them: ``"time_step_limit": [0.0, Infinity]`` of Mamba 2."""
    values = [math.inf, -math.inf, math.nan, 0.0, "Infinity", None]
    assert len({fingerprint({"limit": value}) for value in values}) == len(values)
    assert fingerprint([math.nan]) == fingerprint([math.nan])
