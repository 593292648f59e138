"""What every engine that scores has to pass: functions ``(engine, facts, folder)``.

An engine's own test opens small models, states the facts about them, and runs all `PAIR_CHECKS`;
`text_checks` has those of engines that write.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bitloss.engines.base import PAIR_COLUMNS, REFERENCE_COLUMNS, Engine, PairScorer
from bitloss.engines.evaluate import evaluate, make_scorer
from bitloss.engines.values import Candidate, Scores, Setup, scored_tokens
from bitloss.errors import UnsupportedModel
from bitloss.runner.store import RunStore
from bitloss.types import IntArray, SilentProgress, Window

__all__ = ["PAIR_CHECKS", "Facts", "some_windows"]

Logits = Callable[[str, IntArray], np.ndarray]


@dataclass(frozen=True)
class Facts:
    """Of the models under test.

    Attributes:
        vocabulary: tokens they know, at least 32. They read at least 64 tokens at once.
        reference: as `Engine.reference_engine` runs it.
        copy: the reference once more, run by the engine under test.
        variants: at least two other models, run by the engine under test. Each loses a divergence
            of more than ten tolerances on some token, and a mean of a thousand floors.
        broken: a model that gives NaN or infinite values; None where there is none.
        logits: full next-token logits by another implementation, as the model reads the ids: a
            model's name and ids to ``[len(ids), vocabulary]`` in float64; None where there is none.
        tolerance: of log-probabilities, nats; logits may be 20 times as far apart. Two float32
            implementations of a tiny model agree to 1e-5 or 1e-4.
        floor: the largest divergence of a single token, nats, that the engine's own rounding may
            make; 0 if `copy` has to be exact, which takes the reference's own engine.
    """

    vocabulary: int
    reference: Candidate
    copy: Candidate
    variants: tuple[Candidate, ...]
    broken: Candidate | None = None
    logits: Logits | None = None
    tolerance: float = 1e-5
    floor: float = 0.0


def some_windows(facts: Facts) -> list[Window]:
    """Windows of several lengths that share beginnings, parts of them, or nothing."""
    rng = np.random.default_rng(7)

    def some(n: int) -> IntArray:
        return rng.integers(2, facts.vocabulary, n).astype(np.int32)

    preamble = some(21)
    windows = []
    for document, own in enumerate((3, 9, 5, 3)):
        question = np.concatenate([preamble, some(own)])
        for size in (1, 1, 4):
            windows.append(Window(np.concatenate([question, some(size)]), len(question), document))
    windows += [Window(some(40), 1 + i, 9 + i) for i in range(4)]
    return [*windows, Window(some(2), 1, 20)]


def _scorer(
    engine: Engine, facts: Facts, folder: Path, *, batch_tokens: int = 64, **options: Any
) -> PairScorer:
    store = RunStore(folder)
    setup = Setup(store, facts.reference, SilentProgress(), batch_tokens=batch_tokens, **options)
    return make_scorer(setup, engine.name)


def _evaluate(
    engine: Engine, facts: Facts, folder: Path, candidates: Sequence[Candidate], **options: Any
) -> tuple[Scores, RunStore]:
    scorer = _scorer(engine, facts, folder, **options)
    scores = evaluate(scorer, scorer.pieces(some_windows(facts)), candidates)
    for candidate in candidates:
        if candidate is not facts.broken:  # two runs that score nothing are equal, too
            scores.records_of(candidate)
    return scores, RunStore(folder)


def _columns(store: RunStore, records: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    return store.read_records(records, tuple(names))


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "records").iterdir())}


def check_a_copy_of_the_reference_lost_nothing(engine: Engine, facts: Facts, folder: Path) -> None:
    """Divergence 0, the same most likely token, the same probability, up to the engine's floor."""
    scores, store = _evaluate(engine, facts, folder, [facts.copy])
    names = (
        "kl_divergence", "same_top1", "delta_p", "overlap", "hellinger", "nll", "reference_nll",
    )  # fmt: skip
    columns = _columns(store, scores.records_of(facts.copy), names)
    assert np.abs(columns["kl_divergence"]).max() <= facts.floor
    assert np.abs(columns["delta_p"]).max() <= np.sqrt(facts.floor)
    # Of Pinsker: (1 - overlap)^2 <= KL / 2; and the squared Hellinger distance is below KL / 2.
    assert (1 - columns["overlap"]).max() <= np.sqrt(facts.floor)
    assert columns["hellinger"].max() <= facts.floor
    if facts.floor == 0:
        assert columns["same_top1"].all()
        assert (columns["nll"] == columns["reference_nll"]).all()


def check_records_are_what_the_logits_say(engine: Engine, facts: Facts, folder: Path) -> None:
    """Every column from the definitions, in float64, over another implementation's logits."""
    if facts.logits is None:
        pytest.skip("no other implementation of these models")
    scores, store = _evaluate(engine, facts, folder, facts.variants)
    windows = some_windows(facts)
    reference = [_logprobs(facts, facts.reference, window) for window in windows]
    own = _columns(store, scores.reference, REFERENCE_COLUMNS)
    expected = _expected(windows, reference, reference)
    for name in REFERENCE_COLUMNS:
        np.testing.assert_allclose(own[name], expected[name], atol=facts.tolerance, rtol=0)
    for variant in facts.variants:
        columns = _columns(store, scores.records_of(variant), sorted(engine.columns))
        theirs = [_logprobs(facts, variant, window) for window in windows]
        expected = _expected(windows, reference, theirs)
        assert expected["kl_divergence"].max() > 10 * facts.tolerance
        for name in engine.columns:
            np.testing.assert_allclose(columns[name], expected[name], atol=facts.tolerance, rtol=0)


def _logprobs(facts: Facts, candidate: Candidate, window: Window) -> np.ndarray:
    assert facts.logits is not None
    logits = facts.logits(candidate.model.name, window.ids[:-1])[window.first - 1 :]
    top = logits.max(axis=1, keepdims=True)
    return logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))


def _expected(
    windows: Sequence[Window], ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    p, q = np.concatenate(ours), np.concatenate(theirs)
    tokens, rows = scored_tokens(windows), np.arange(len(p))
    counts = [window.n_scored for window in windows]
    return {
        "window": np.repeat(np.arange(len(windows)), counts),
        "token": tokens,
        "reference_nll": -p[rows, tokens],
        "reference_entropy": -(np.exp(p) * p).sum(axis=1),
        "nll": -q[rows, tokens],
        "entropy": -(np.exp(q) * q).sum(axis=1),
        "kl_divergence": (np.exp(p) * (p - q)).sum(axis=1),
        "same_top1": p.argmax(axis=1) == q.argmax(axis=1),
        "delta_p": np.exp(q[rows, tokens]) - np.exp(p[rows, tokens]),
        "overlap": np.exp(np.minimum(p, q)).sum(axis=1),
        "hellinger": 1 - np.exp((p + q) / 2).sum(axis=1),
    }


def check_company_changes_nothing(engine: Engine, facts: Facts, folder: Path) -> None:
    """One candidate at a time writes the bytes that all of them together write."""
    _evaluate(engine, facts, folder / "together", facts.variants)
    for variant in facts.variants:
        _evaluate(engine, facts, folder / "alone", [variant])
    assert _contents(folder / "together") == _contents(folder / "alone")


def check_cutting_changes_no_number(engine: Engine, facts: Facts, folder: Path) -> None:
    """The smallest pieces, in any order, give what all windows together give."""
    variant = facts.variants[0]
    scores, store = _evaluate(engine, facts, folder / "whole", [variant])
    whole = _columns(store, scores.records_of(variant), sorted(engine.columns))
    scorer = _scorer(engine, facts, folder / "pieces")
    pieces = list(scorer.smallest_pieces(some_windows(facts), 1))
    assert len(pieces) > 3
    parts = evaluate(scorer, pieces[::-1], [variant]).records_of(variant)
    columns = _columns(RunStore(folder / "pieces"), parts[::-1], sorted(engine.columns))
    for name, values in whole.items():
        np.testing.assert_allclose(columns[name], values, atol=facts.tolerance, rtol=0)


def check_the_batch_size_changes_no_number(engine: Engine, facts: Facts, folder: Path) -> None:
    """Windows longer than a forward give what they give in one."""
    variant, names = facts.variants[0], sorted(engine.columns)
    whole, store = _evaluate(engine, facts, folder / "whole", [variant])
    cut, other = _evaluate(engine, facts, folder / "cut", [variant], batch_tokens=16)
    expected = _columns(store, whole.records_of(variant), names)
    for name, values in _columns(other, cut.records_of(variant), names).items():
        np.testing.assert_allclose(values, expected[name], atol=facts.tolerance, rtol=0)


def check_sharing_prefixes_changes_no_number(engine: Engine, facts: Facts, folder: Path) -> None:
    """With shared prefixes the same columns, and one that says what is most likely."""
    variant = facts.variants[0]
    plain, store = _evaluate(engine, facts, folder / "plain", [variant])
    shared, other = _evaluate(engine, facts, folder / "shared", [variant], share_prefixes=True)
    names = sorted(engine.columns)
    expected = _columns(store, plain.records_of(variant), names)
    columns = _columns(other, shared.records_of(variant), [*names, "greedy"])
    for name in names:
        np.testing.assert_allclose(columns[name], expected[name], atol=facts.tolerance, rtol=0)
    if facts.logits is not None:
        windows = some_windows(facts)
        best = [_logprobs(facts, variant, w).argmax(axis=1) for w in windows]
        np.testing.assert_array_equal(
            columns["greedy"], np.concatenate(best) == scored_tokens(windows)
        )


def check_the_columns_are_those_claimed(engine: Engine, facts: Facts, folder: Path) -> None:
    """No column more or less, for candidates and for the reference."""
    assert engine.columns <= set(PAIR_COLUMNS)
    scores, store = _evaluate(engine, facts, folder, facts.variants[:1])
    (first, *_) = scores.records_of(facts.variants[0])
    assert store.record_columns(first) == engine.columns
    assert store.record_columns(scores.reference[0]) == set(REFERENCE_COLUMNS)


def check_a_second_run_does_nothing(engine: Engine, facts: Facts, folder: Path) -> None:
    """What is in the store is neither written again nor computed again."""
    first, _ = _evaluate(engine, facts, folder, facts.variants)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunStore, "_write", lambda *args: pytest.fail("wrote again"))
        again, _ = _evaluate(engine, facts, folder, facts.variants)
    assert again == first


def check_killed_at_any_write_the_rerun_ends_with_the_same_bytes(
    engine: Engine, facts: Facts, folder: Path
) -> None:
    """Interrupted before its first, second ... write, a run that is resumed ends the same."""
    _evaluate(engine, facts, folder / "whole", facts.variants)
    original = RunStore._write
    for moment in range(40):
        writes = 0

        def stop(self: RunStore, path: Path, writer: Any, moment: int = moment) -> None:
            nonlocal writes
            writes += 1
            if writes > moment:
                raise KeyboardInterrupt
            original(self, path, writer)

        place = folder / f"killed-{moment}"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(RunStore, "_write", stop)
            try:
                _evaluate(engine, facts, place, facts.variants)
            except KeyboardInterrupt:
                pass
            else:
                assert moment > 1
                return
        _evaluate(engine, facts, place, facts.variants)
        assert _contents(place) == _contents(folder / "whole")


def check_a_broken_candidate_fails_alone(engine: Engine, facts: Facts, folder: Path) -> None:
    """Its error names it, and the others' records are those of a run without it."""
    if facts.broken is None:
        pytest.skip("no broken model")
    good = facts.variants[0]
    _evaluate(engine, facts, folder / "alone", [good])
    scores, _ = _evaluate(engine, facts, folder / "both", [facts.broken, good])
    assert list(scores.failed) == [facts.broken.label]
    assert facts.broken.model.name in scores.failed[facts.broken.label].message
    assert _contents(folder / "both") == _contents(folder / "alone")


def check_the_noise_floor_is_small(engine: Engine, facts: Facts, folder: Path) -> None:
    """It is measured as a divergence, and far below what a variant loses."""
    scorer = _scorer(engine, facts, folder)
    store = RunStore(folder)
    try:
        records = scorer.noise_floor(some_windows(facts))
    except UnsupportedModel as error:
        pytest.skip(f"the engine cannot run the reference's files: {error.message}")
    floor = _columns(store, records, ("kl_divergence",))
    scores, _ = _evaluate(engine, facts, folder, facts.variants[:1])
    lost = _columns(store, scores.records_of(facts.variants[0]), ("kl_divergence",))
    means = [abs(float(one["kl_divergence"].mean(dtype=np.float64))) for one in (floor, lost)]
    assert means[0] <= max(facts.floor, 1e-3 * means[1])


def check_whatever_decides_a_number_is_in_its_name(
    engine: Engine, facts: Facts, folder: Path
) -> None:
    """Another model, arithmetic, device, batch or version is another identity."""
    copy = facts.copy
    others = [
        engine.identity(facts.variants[0], batch_tokens=64),
        engine.identity(replace(copy, arithmetic="another"), batch_tokens=64),
        engine.identity(replace(copy, device="another"), batch_tokens=64),
        engine.identity(copy, batch_tokens=65),
        engine.identity(replace(copy, alone=True), batch_tokens=64),
        replace(engine, version="another").identity(copy, batch_tokens=64),
        replace(engine, settings={"another": 1}).identity(copy, batch_tokens=64),
    ]
    one = engine.identity(copy, batch_tokens=64)
    assert one == engine.identity(copy, batch_tokens=64)
    assert all(one != other for other in others)


def check_logits_are_one_row_per_scored_token(engine: Engine, facts: Facts, folder: Path) -> None:
    """In order, over the vocabulary, whatever blocks they come in; reading on changes none."""
    if engine.logits is None:
        pytest.skip("the engine has a scorer of its own and gives no logits")
    model = engine.logits(facts.variants[0], batch_tokens=64)
    assert model.vocabulary >= facts.vocabulary
    windows = some_windows(facts)
    kept = [list(model.logits(window)) for window in windows]
    for window, blocks in zip(windows, kept, strict=True):
        rows = np.concatenate([block.double().numpy() for block in blocks])
        assert rows.shape == (window.n_scored, model.vocabulary)
        if facts.logits is not None:
            name = facts.variants[0].model.name
            expected = facts.logits(name, window.ids[:-1])[window.first - 1 :]
            np.testing.assert_allclose(rows, expected, atol=20 * facts.tolerance)


def check_abilities_are_what_it_has(engine: Engine, facts: Facts, folder: Path) -> None:
    """Scoring needs logits or a scorer, writing a text model; nothing else is claimed."""
    assert ("score" in engine.abilities) == bool(engine.logits or engine.scorer)
    assert ("generate" in engine.abilities) == bool(engine.text_model)
    without = replace(engine, logits=None, scorer=None, text_model=None)
    assert without.abilities == frozenset()


PAIR_CHECKS = (
    check_a_copy_of_the_reference_lost_nothing,
    check_records_are_what_the_logits_say,
    check_company_changes_nothing,
    check_cutting_changes_no_number,
    check_the_batch_size_changes_no_number,
    check_sharing_prefixes_changes_no_number,
    check_the_columns_are_those_claimed,
    check_a_second_run_does_nothing,
    check_killed_at_any_write_the_rerun_ends_with_the_same_bytes,
    check_a_broken_candidate_fails_alone,
    check_the_noise_floor_is_small,
    check_whatever_decides_a_number_is_in_its_name,
    check_logits_are_one_row_per_scored_token,
    check_abilities_are_what_it_has,
)
