"""Of which variants no more is evaluated. Oracle: the rule, on figures made by hand."""

from __future__ import annotations

from bitloss.analysis.settle import settled
from bitloss.expectations import load_expectations
from bitloss.results import VariantResult
from verdict_parts import capability, corpus, variant

TABLE = load_expectations()  # a margin of 2 points
KEPT = capability((0.0, -0.01, 0.01))
LOST = capability((-0.08, -0.11, -0.05), p_value=0.0)
OPEN = capability((-0.01, -0.04, 0.02))


def row(name: str, size: int, **capabilities: object) -> VariantResult:
    return variant(name, file_bytes=size, capabilities=dict(capabilities))  # type: ignore[arg-type]


def test_what_is_kept_or_lost_is_decided_and_the_rest_is_asked_on() -> None:
    variants = [row("q8", 80, math=KEPT), row("q2", 20, math=LOST), row("q4", 40, math=OPEN)]
    found = settled(variants, TABLE)
    assert found.tasks == {"q8": "decided", "q2": "decided"}
    assert found.texts.keys() == found.tasks.keys()


def test_one_open_capability_leaves_a_variant_open_and_one_lost_does_not() -> None:
    variants = [row("a", 40, math=KEPT, code=OPEN), row("b", 30, math=OPEN, code=LOST)]
    assert settled(variants, TABLE).tasks == {"b": "decided"}


def test_nothing_hangs_on_a_larger_one_than_is_shown_to_be_acceptable() -> None:
    variants = [row("q8", 80, math=OPEN), row("q5", 50, math=KEPT), row("q4", 40, math=OPEN)]
    assert settled(variants, TABLE).tasks == {"q8": "not needed", "q5": "decided"}


def test_a_text_that_shows_a_variant_not_to_be_acceptable_decides() -> None:
    bad = variant(
        "q2", corpora={"w": corpus(1.5, 1.4, 1.6, kl=(0.6, 0.5, 0.7))}, capabilities={"math": OPEN}
    )
    assert settled([bad], TABLE).tasks == {"q2": "decided"}


def test_of_a_text_that_does_not_show_it_to_be_no_more_is_asked() -> None:
    edge = variant("q3", corpora={"w": corpus(1.12, 1.0, 1.3)}, capabilities={"math": OPEN})
    good = variant("q4", corpora={"w": corpus(1.01, 1.0, 1.02)}, capabilities={"math": OPEN})
    assert settled([edge, good], TABLE).tasks == {"q3": "not needed"}


def test_while_its_text_is_read_a_variant_that_keeps_all_is_asked_no_more() -> None:
    """1.12 is the highest that is acceptable."""
    edge = variant("q4", corpora={"w": corpus(1.12, 1.0, 1.3)}, capabilities={"math": KEPT})
    assert settled([edge], TABLE, reading=["q4"]).tasks == {"q4": "decided"}
    assert settled([edge], TABLE, reading=["q4"]).texts == {}
    assert settled([edge], TABLE).tasks == {"q4": "not needed"}
    # Both are open: both go on.
    edge = variant("q4", corpora={"w": corpus(1.12, 1.0, 1.3)}, capabilities={"math": OPEN})
    assert settled([edge], TABLE, reading=["q4"]).tasks == {}


def test_no_text_is_read_of_what_loses_a_capability_or_is_larger_than_needed() -> None:
    text = {"w": corpus(1.12, 1.0, 1.3)}
    good = {"w": corpus(1.01, 1.0, 1.02)}
    variants = [
        variant("q6", corpora=text, capabilities={"math": OPEN}, file_bytes=60),
        variant("q5", corpora=good, capabilities={"math": KEPT}, file_bytes=50),
        variant("q4", corpora=text, capabilities={"math": LOST}, file_bytes=40),
        variant("q3", corpora=text, capabilities={"math": OPEN}, file_bytes=30),
    ]
    found = settled(variants, TABLE, reading=["q6", "q4", "q3"])
    assert found.texts == dict.fromkeys(("q6", "q5", "q4"), "not needed")
    assert found.tasks == {"q6": "not needed", "q5": "decided", "q4": "decided"}


def test_while_an_ability_may_still_be_shown_nobody_keeps_all() -> None:
    variants = [row("q8", 80, math=KEPT, code=OPEN), row("q2", 20, math=LOST, code=OPEN)]
    assert settled(variants, TABLE, ["code"]).tasks == {"q8": "decided", "q2": "decided"}
    assert settled(variants, TABLE, ["code"], complete=False).tasks == {"q2": "decided"}


def test_a_copy_is_acceptable_at_once() -> None:
    copy = row("copy", 80, math=capability((0.0, 0.0, 0.0)))
    assert settled([copy], TABLE).tasks == {"copy": "decided"}
