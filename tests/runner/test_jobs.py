"""Oracle: the rule for lists of jobs, on lists made by hand."""

from __future__ import annotations

import pytest

from bitloss.runner.jobs import Job, require_order


def job(key: str, *needs: str) -> Job:
    return Job(key, "collect", lambda: None, needs=needs)


def test_needs_come_before() -> None:
    require_order([])
    require_order([job("a"), job("b", "a"), job("c", "a", "b"), job("d")])


@pytest.mark.parametrize(
    ("jobs", "message"),
    [
        ([job("b", "a"), job("a")], "job `b` needs `a`, which does not come before it"),
        ([job("a"), job("c", "a", "b")], "job `c` needs `b`, which does not come before it"),
        ([job("a", "a")], "job `a` needs `a`, which does not come before it"),
        ([job("a"), job("b"), job("a")], "two jobs have the key `a`"),
    ],
    ids=["later", "absent", "itself", "twice"],
)
def test_a_list_that_breaks_the_rule_is_refused(jobs: list[Job], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        require_order(jobs)


def test_the_first_job_that_breaks_it_is_named() -> None:
    with pytest.raises(ValueError, match="job `b` needs `x`"):
        require_order([job("a"), job("b", "x"), job("c", "y"), job("a")])
