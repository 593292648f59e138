"""Every study of the registry keeps the contract of `bitloss.studies.base.Study`."""

from __future__ import annotations

import pytest

from bitloss.errors import UsageError
from bitloss.registry import STUDIES, load
from bitloss.spec.recipe import parse_recipe
from bitloss.studies import Study
from bitloss.studies.columns import COLUMNS


@pytest.fixture(params=sorted(STUDIES))
def study(request: pytest.FixtureRequest) -> Study:
    found: Study = load("study", STUDIES, request.param)
    assert found.name == request.param
    return found


def test_it_is_a_frozen_value(study: Study) -> None:
    with pytest.raises(AttributeError):
        study.name = "other"  # type: ignore[misc]


def test_levels_are_spelled_as_vary_reads_them(study: Study) -> None:
    assert len(study.levels) > 1
    assert [study.parse(level.name) for level in study.levels] == list(study.levels)
    assert len({level.name for level in study.levels}) == len(study.levels)


def test_recipes_exist(study: Study) -> None:
    for level in study.levels:
        parse_recipe(level.recipe)


def test_no_two_levels_measure_the_same(study: Study) -> None:
    measured = [(level.recipe, dict(level.changes)) for level in study.levels]
    assert all(one not in measured[:place] for place, one in enumerate(measured))


def test_columns_exist(study: Study) -> None:
    assert study.columns
    assert set(study.columns) <= set(COLUMNS)


@pytest.mark.parametrize("text", ["no-such-level", "", "4 bits"])
def test_other_levels_are_refused(study: Study, text: str) -> None:
    with pytest.raises(UsageError):
        study.parse(text)
