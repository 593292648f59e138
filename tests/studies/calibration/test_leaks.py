"""13-grams that two texts share. Oracle: counted by hand."""

from __future__ import annotations

from bitloss.studies.calibration.leaks import find_leaks, shared_share, word_runs

WORDS = [f"word{number}" for number in range(20)]


def test_runs_of_thirteen_words() -> None:
    """Twenty words have eight runs of thirteen; case and punctuation do not count."""
    assert len(word_runs(" ".join(WORDS))) == 8
    assert word_runs(", ".join(WORDS).upper() + "!") == word_runs(" ".join(WORDS))
    assert word_runs(" ".join(WORDS[:12])) == set()


def test_the_share_is_of_the_evaluated_text() -> None:
    """The calibration text has the first fifteen words: three of the eight runs."""
    evaluation = " ".join(WORDS)
    calibration = "before " + " ".join(WORDS[:15]) + " after"
    assert shared_share(evaluation, calibration) == 3 / 8
    assert shared_share(" ".join(WORDS[:5]), calibration) is None


def test_a_chinese_character_is_a_word() -> None:
    assert len(word_runs("天地玄黄宇宙洪荒日月盈昃辰宿列张")) == 4


def test_a_leak_is_named() -> None:
    text, other = " ".join(WORDS), " ".join(WORDS[::-1])
    finding = find_leaks({"a": (text, text), "b": (other, other)})
    assert "100% of a in a's" in finding.sentences[0]
    cells = [row.cells for row in finding.tables[0].rows]
    assert cells == [(1.0, 0.0), (0.0, 1.0)]
    clean = find_leaks({"a": (text, other), "b": (text, other)})
    assert clean.sentences[0].startswith("No evaluation text")
