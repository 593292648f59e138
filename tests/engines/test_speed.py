"""Speed in turns. Oracles: ratios and intervals by hand, a clock that the test winds itself."""

from __future__ import annotations

import math
from itertools import count
from pathlib import Path

import pytest

from bitloss.engines import speed
from bitloss.engines.speed import measure_speed, paired_ratio
from bitloss.engines.values import Candidate, Model, TextSetup
from bitloss.errors import NumericalError, UnsupportedModel
from bitloss.formats import open_checkpoint
from bitloss.formats.base import identify
from bitloss.results.speed import Workload
from peers.registering import register
from peers.tiny import save_tiny

SHORT = Workload(prompt=8, new_tokens=2, sequences=1, rounds=2)


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    save_tiny(tmp_path / "m", "llama")
    checkpoint = open_checkpoint(tmp_path / "m")
    return Candidate(Model("m", identify(checkpoint), checkpoint, tmp_path / "m"))


def setup_of(candidate: Candidate) -> TextSetup:
    return TextSetup(candidate.model.identity.config, lambda ids: "", range(320))


def test_a_ratio_is_that_of_the_rounds() -> None:
    """Logarithms 0.1 and 0.3: mean 0.2, error 0.1, and Student's t of one degree is 12.706."""
    found = paired_ratio([1.0, 2.0], [math.exp(0.1), 2 * math.exp(0.3)])
    assert found.value == pytest.approx(math.exp(0.2))
    assert math.log(found.low) == pytest.approx(0.2 - 1.2706, abs=1e-3)
    assert math.log(found.high) == pytest.approx(0.2 + 1.2706, abs=1e-3)


def test_what_moves_both_moves_nothing() -> None:
    """A machine that slows down three times over the rounds."""
    found = paired_ratio([1.0, 1.5, 2.0, 3.0], [2.0, 3.0, 4.0, 6.0])
    assert (found.value, found.low, found.high) == pytest.approx((2.0, 2.0, 2.0))
    assert math.isnan(paired_ratio([1.0], [2.0]).low)


def test_each_turn_is_read_from_the_clock(candidate: Candidate) -> None:
    """Every look at the clock is later than the one before by a second more than that one was:
    what the longer text takes beyond the shorter one is a second.
    """
    looks = iter(range(1_000_000))

    def clock() -> float:
        return float((look := next(looks)) * (look + 1) // 2)

    work = Workload(prompt=20, new_tokens=4, sequences=2, rounds=3)
    found = measure_speed(candidate, candidate, setup_of(candidate), work, clock=clock)
    assert found.decode is not None
    assert (found.decode.tokens_per_second, found.decode.reference) == (8.0, 8.0)
    assert found.decode.ratio.value == found.decode.ratio.low == 1.0
    # The clock is looked at twice to load each, then twice a turn: reference and candidate take
    # seconds 5 and 7 (not counted), then 9 and 11, 15 and 13, 17 and 19.
    assert found.prefill is not None
    assert (found.prefill.tokens_per_second, found.prefill.reference) == (20 / 13, 20 / 15)
    assert (found.reference.load_seconds, found.candidate.load_seconds) == (1.0, 3.0)


def test_a_text_too_short_to_be_timed_is_an_error(candidate: Candidate) -> None:
    writer = speed._Writer(candidate, Workload(prompt=8, new_tokens=4), setup_of(candidate))
    seconds = iter(range(1_000_000))
    with pytest.raises(NumericalError, match="writing 5 tokens took no longer than writing one"):
        writer.seconds(lambda: float(next(seconds)))


def test_texts_do_not_end_early(candidate: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    """All tokens of the setup end a text; what is timed has its full length nevertheless."""
    lengths: list[int] = []
    write = speed._Writer._write

    def counted(self: speed._Writer, tokens: int) -> None:
        original = self._model.generate

        def generate(requests):  # type: ignore[no-untyped-def]
            for index, text in original(requests):
                lengths.append(text.n_tokens - tokens)
                yield index, text

        with monkeypatch.context() as patch:
            patch.setattr(self._model, "generate", generate, raising=False)
            write(self, tokens)

    monkeypatch.setattr(speed._Writer, "_write", counted)
    moments = (float(n * n) for n in count())  # each step takes longer than the one before
    measure_speed(
        candidate,
        candidate,
        setup_of(candidate),
        SHORT,
        clock=lambda: next(moments),
    )
    assert lengths
    assert set(lengths) == {0}


def test_memory_is_that_of_the_model(candidate: Candidate) -> None:
    """64 MB that a model takes while it is loaded are seen, those before it are not."""
    kept: list[bytearray] = [bytearray(b"x" * (256 << 20))]

    class Model:
        def __init__(self) -> None:
            kept.append(bytearray(b"x" * (64 << 20)))

        def seconds(self, clock: object) -> float:
            return 1.0

    _, foot = speed._loaded(Model, lambda: 0.0)
    assert 60 << 20 < foot.resident_bytes < 200 << 20
    assert foot.device_bytes == 0


def test_an_engine_that_does_nothing_is_refused(
    candidate: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that gives logits beside one that gives none has nothing in common with it."""
    register(monkeypatch, "ENGINES", logits="peers.logits_engine:ENGINE")
    logits = Candidate(candidate.model, "logits")
    found = measure_speed(
        candidate,
        logits,
        setup_of(candidate),
        SHORT,
    )
    assert found.decode is None
    assert found.prefill is not None
    monkeypatch.setattr(speed, "load_engine", lambda name: _mute())
    with pytest.raises(UnsupportedModel, match="both give logits or both write text"):
        measure_speed(
            candidate,
            logits,
            setup_of(candidate),
            SHORT,
        )


def _mute():  # type: ignore[no-untyped-def]
    from bitloss.engines.base import Engine

    return Engine(name="mute", version="mute-1")
