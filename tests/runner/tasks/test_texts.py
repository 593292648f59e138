"""Texts, and what a second run asks again. Oracle: a model that counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitloss.errors import NumericalError
from bitloss.requests import Decoding, Generated, GenerateRequest
from bitloss.runner.store import RunStore
from bitloss.runner.tasks import texts as module
from bitloss.runner.tasks.plan import PlannedTask
from bitloss.runner.tasks.texts import TextShards, write_texts
from bitloss.types import SilentProgress
from peers.text_tasks import planned_task


@dataclass
class Model:
    """Writes the prompt's first token and the seed, the last request first."""

    calls: int = 0
    nbytes: int = 0
    fails_at: int = -1

    def generate(self, requests: Sequence[GenerateRequest]) -> Iterator[tuple[int, Generated]]:
        self.calls += 1
        for index in reversed(range(len(requests))):
            request = requests[index]
            if request.prompt[0] == self.fails_at:
                raise NumericalError("NaN", hint="no")
            yield index, Generated(f"{request.prompt[0]}/{request.seed % 97}", 1, "stop")


Texts = tuple[tuple[str, ...], ...]
Write = Callable[..., Texts]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A function: what a model writes for a task, and what it told while it wrote."""
    store = RunStore(tmp_path)

    def run(
        task: PlannedTask,
        model: Model,
        written: Callable[[int, tuple[str, ...]], object] = lambda index, texts: None,
        name: str = "m",
    ) -> Texts:
        shards = TextShards.of(task, name)
        write_texts(
            store, shards, label="m writes t", model=lambda: model, progress=SilentProgress(),
            written=written,
        )  # fmt: skip
        return shards.read(store)

    return run


def test_texts_go_to_their_questions(write: Write) -> None:
    texts = write(planned_task(), Model())
    assert [[text.split("/")[0] for text in own] for own in texts] == [
        ["0", "0"], ["1", "1"], ["2", "2"], [], ["4", "4"],
    ]  # fmt: skip
    assert len({text for own in texts for text in own}) == 8  # samples have seeds of their own


@pytest.mark.parametrize("requests_in_a_shard", [1, 4, 100])
def test_a_second_run_asks_nothing(
    write: Write, monkeypatch: pytest.MonkeyPatch, requests_in_a_shard: int
) -> None:
    monkeypatch.setattr(module, "SHARD_REQUESTS", requests_in_a_shard)
    first = write(planned_task(), Model())
    again = write(planned_task(), model := Model())
    assert (model.calls, again) == (0, first)


def test_a_model_is_not_loaded_for_what_is_there(write: Write, tmp_path: Path) -> None:
    write(planned_task(), Model())

    def load() -> Model:
        raise AssertionError("a model is loaded for nothing")

    store, shards = RunStore(tmp_path), TextShards.of(planned_task(), "m")
    assert shards.missing(store) == []
    write_texts(store, shards, label="", model=load, progress=SilentProgress())


def test_samples_of_a_question_are_never_torn_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    # By hand: 5 questions of 3 samples in shards of up to 7: 2 questions each.
    monkeypatch.setattr(module, "SHARD_REQUESTS", 7)
    shards = TextShards.of(planned_task(samples=3, left_out=9), "m")
    assert [[index for index, _ in piece] for piece in shards.requests] == [
        [0, 0, 0, 1, 1, 1], [2, 2, 2, 3, 3, 3], [4, 4, 4],
    ]  # fmt: skip
    assert len(set(shards.keys)) == 3


def test_a_text_is_told_as_soon_as_its_last_sample_is_written(write: Write) -> None:
    told: list[tuple[int, tuple[str, ...]]] = []
    texts = write(planned_task(), Model(), lambda index, own: told.append((index, own)))
    # The last request is written first.
    assert [index for index, _ in told] == [4, 2, 1, 0]
    assert all(texts[index] == own for index, own in told)


def test_what_was_written_before_an_error_is_kept(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SHARD_REQUESTS", 4)
    with pytest.raises(NumericalError):
        write(planned_task(), Model(fails_at=4))
    write(planned_task(), model := Model())
    assert model.calls == 1  # of two pieces


def test_other_models_and_requests_have_texts_of_their_own(write: Write) -> None:
    write(planned_task(samples=1), Model())
    for changed, name in (
        (planned_task(samples=1), "another"),
        (planned_task(samples=1, n=4), "m"),
        (planned_task(samples=1, decoding=Decoding(5)), "m"),
        (planned_task(samples=1, decoding=Decoding(4, stop=("\n",))), "m"),
        (planned_task(samples=2), "m"),
    ):
        write(changed, model := Model(), name=name)
        assert model.calls == 1


def test_tasks_that_ask_the_same_share_texts(write: Write) -> None:
    write(planned_task(samples=1), Model())
    write(planned_task(samples=1, name="another"), model := Model())
    assert model.calls == 0


def test_the_key_of_all_texts_is_that_of_all_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHARD_REQUESTS", 1)
    one, other = TextShards.of(planned_task(), "m"), TextShards.of(planned_task(n=4), "m")
    assert one.keys[:-1] == other.keys
    assert one.key != other.key
    assert one.key == TextShards.of(planned_task(), "m").key
