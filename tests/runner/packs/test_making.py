"""Packs made, stopped, resumed, refused. Oracle: the pack that was never stopped, by its digest."""

from __future__ import annotations

import errno
import hashlib
import shutil
from pathlib import Path

import pytest

import bitloss
from bitloss.errors import StorageError, UsageError
from bitloss.packing import plan_pack
from bitloss.results.pack import PackDocument
from peers.tiny import save_tiny

SMALL = {"corpora": ["first.txt"], "tasks": ["./choice.yaml"], "limit": 3, "engines": ["dense"]}


def test_a_pack_says_what_it_holds(made: Path) -> None:
    document = PackDocument.from_json((made / "ref.pack/pack.json").read_bytes(), name="pack.json")
    assert document.reference.license == "apache-2.0"
    assert document.reference.arithmetic == "fp32"
    assert [one.data for one in document.excerpts] == [
        "first.txt", "second.txt", "choice", "contains",
    ]  # fmt: skip
    files = {
        path.relative_to(made / "ref.pack").as_posix(): path
        for path in (made / "ref.pack").rglob("*")
        if path.is_file() and path.name != "pack.json"
    }
    assert {name: one.sha256 for name, one in document.files.items()} == {
        name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()
    }
    assert str(made) not in (made / "ref.pack/pack.json").read_text()


@pytest.mark.parametrize("jobs", [1, 3, 5])
def test_a_stopped_pack_resumes_to_the_same_bytes(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jobs: int
) -> None:
    whole = bitloss.pack("./tiny", tmp_path / "whole.pack", **SMALL)
    from bitloss.runner.packs import making

    run_locally = making.run_locally

    def stopped(listed, **choices):  # type: ignore[no-untyped-def]
        run_locally(listed[:jobs], **choices)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(making, "run_locally", stopped)
        with pytest.raises(KeyboardInterrupt):
            bitloss.pack("./tiny", tmp_path / "ref.pack", **SMALL)
    assert not (tmp_path / "ref.pack").exists()
    resumed = bitloss.pack("./tiny", tmp_path / "ref.pack", **SMALL)
    assert resumed.digest == whole.digest
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["ref.pack", "whole.pack"]
    assert not list((tmp_path / "ref.pack").rglob(".*"))


def test_a_full_disk_leaves_no_pack_and_nothing_half_written(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(tensors: object, path: Path) -> None:
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.save_file", full)
        with pytest.raises(StorageError, match="the disk is full"):
            bitloss.pack("./tiny", tmp_path / "ref.pack", **SMALL)
    assert not (tmp_path / "ref.pack").exists()
    assert not list(tmp_path.rglob(".tmp-*"))
    bitloss.pack("./tiny", tmp_path / "ref.pack", **SMALL)


def test_a_pack_is_not_made_twice_and_not_replaced_by_surprise(
    inside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = bitloss.pack("./tiny", tmp_path / "ref.pack", **SMALL)
    with monkeypatch.context() as patch:
        patch.setattr("bitloss.runner.packs.making.run_locally", None)
        assert bitloss.pack("./tiny", tmp_path / "ref.pack", **SMALL) == first
    with pytest.raises(UsageError, match="holds another pack"):
        bitloss.pack("./tiny", tmp_path / "ref.pack", **{**SMALL, "limit": 2})
    second = bitloss.pack("./tiny", tmp_path / "ref.pack", force=True, **{**SMALL, "limit": 2})
    assert second.digest != first.digest
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep me")
    with pytest.raises(UsageError, match="holds something else"):
        bitloss.pack("./tiny", tmp_path / "mine", force=True, **SMALL)


def test_the_size_is_told_before_and_may_be_bounded(inside: Path, tmp_path: Path) -> None:
    planned = plan_pack("./tiny", tmp_path / "ref.pack", **SMALL)
    assert any(note.startswith("the pack: about") for note in planned.summary.notes)
    assert not list(tmp_path.iterdir())
    made = bitloss.pack("./tiny", tmp_path / "ref.pack", **SMALL)
    assert made.nbytes / 1.5 < planned.nbytes < 1.5 * made.nbytes
    with pytest.raises(UsageError, match="--max-size") as error:
        bitloss.pack("./tiny", tmp_path / "two.pack", max_size="60kB", **SMALL)
    assert error.value.hint.startswith("use --limit 1")


def test_what_rounded_states_add_is_part_of_the_noise_floor(inside: Path, tmp_path: Path) -> None:
    """Oracle: the same weights in another file, whose divergence is the rounding alone."""
    from safetensors.torch import load_file, save_file

    # Its logits are far apart: what rounding changes is above that of float32.
    (tmp_path / "sharp").mkdir()
    save_tiny(tmp_path / "sharp", "llama")
    again = shutil.copytree(tmp_path / "sharp", tmp_path / "again")
    weights = again / "model.safetensors"
    save_file(load_file(weights), weights, metadata={"format": "pt", "note": "another digest"})
    exact = bitloss.pack(tmp_path / "sharp", tmp_path / "fp32.pack", **SMALL)
    sizes = {"fp32": exact.nbytes}
    for states, numbers in (("bf16", 2), ("int8", 1)):
        path = tmp_path / f"{states}.pack"
        document = bitloss.pack(tmp_path / "sharp", path, states=states, **SMALL)
        sizes[states] = document.nbytes
        assert not (path / "states").exists()
        result = bitloss.compare(path, again, out=tmp_path / states)[str(again)]
        measured = result.corpora["first.txt"].kl_divergence.mean
        # Losses are the reference's own: a copy is neither better nor worse than it.
        assert result.corpora["first.txt"].relative_perplexity.value == pytest.approx(1, abs=1e-7)
        added = document.corpora["first.txt"].rounding
        # The pack measures from the exact states to the rounded ones, a run the other way.
        assert measured == pytest.approx(added, rel=0.2)
        assert added > 0
        base = exact.corpora["first.txt"].floors["dense"].kl_divergence
        floor = result.corpora["first.txt"].noise_floor
        assert floor is not None
        assert floor.kl_divergence == pytest.approx(base + added, rel=1e-9)
        assert document.tasks is not None
        assert result.tasks is not None
        task = result.tasks["choice"]
        assert task.kl_divergence is not None
        assert task.kl_divergence.value == pytest.approx(document.tasks.rounding["choice"], rel=0.2)
        kept = sum(one.bytes for name, one in document.files.items() if name.startswith("states"))
        whole = sum(one.bytes for name, one in exact.files.items() if name.startswith("states"))
        assert kept < whole * numbers / 4 * 1.3
    assert sizes["int8"] < sizes["bf16"] < sizes["fp32"]


def test_states_of_another_arithmetic_are_not_rounded(inside: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--dtype bf16"):
        bitloss.pack("./tiny", tmp_path / "ref.pack", states="int8", dtype="bf16", **SMALL)
    with pytest.raises(UsageError, match="expected fp32, bf16 or int8"):
        bitloss.pack("./tiny", tmp_path / "ref.pack", states="fp8", **SMALL)  # type: ignore[arg-type]
