"""Atomic writing and locks. Oracle: what a directory holds before and after."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from bitloss.errors import StorageError, UsageError
from bitloss.files import (
    append_text,
    locked,
    make_folder,
    remove_leftovers,
    remove_scratch,
    replacing,
    scratch_folder,
    storage_errors,
    temporary_folder,
    try_locked,
    write_text,
)
from bitloss.system_errors import disk_is_full


def fail_half_way(target: Path) -> None:
    with replacing(target) as temporary:
        temporary.write_text("half")
        raise KeyError


def test_a_file_is_there_whole_or_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "one\r\n")
    assert target.read_bytes() == b"one\r\n"
    assert target.stat().st_mode & 0o777 == 0o644
    with pytest.raises(KeyError):
        fail_half_way(target)
    assert target.read_bytes() == b"one\r\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_links_and_permissions_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "a.txt", tmp_path / "link"
    target.write_text("one")
    target.chmod(0o600)
    link.symlink_to("a.txt")
    write_text(link, "two")
    assert link.is_symlink()
    assert target.read_text() == "two"
    assert target.stat().st_mode & 0o777 == 0o600


def test_refusals(tmp_path: Path) -> None:
    for write in (write_text, append_text):
        with pytest.raises(StorageError, match="cannot write"):
            write(tmp_path / "none" / "a.txt", "x")
        with pytest.raises(StorageError, match="cannot write"):
            write(tmp_path, "x")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot write") as caught:
        make_folder(tmp_path / "file" / "folder")
    assert caught.value.hint.endswith("or give another directory with --out")


class RustError(Exception):
    """As libraries in Rust report a full disk: no `OSError`, the system's text inside."""


@pytest.mark.parametrize("place", ["s3://bucket/run", "gs://b/run", "runs/hf://x"])
def test_the_url_of_an_object_store_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """As a path it would be a folder named ``s3:``."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="expected a folder of this machine, got `") as found:
        make_folder(Path(place))
    assert found.value.hint.startswith("write to a local folder, and copy it")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_told_from_other_refusals(tmp_path: Path) -> None:
    full = [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
        RustError("I/O error: No space left on device (os error 28)"),
    ]
    for error in (*full, OSError(errno.EROFS, os.strerror(errno.EROFS)), RustError("header")):
        with (
            pytest.raises(StorageError) as caught,
            storage_errors(tmp_path, elsewhere="set X=DIR", also=(RustError,)),
        ):
            raise error
        assert disk_is_full(error) == (error in full)
        action = "free some space" if error in full else "check that the directory"
        assert caught.value.hint.startswith(action)
        assert caught.value.hint.endswith("or set X=DIR")
        assert str(tmp_path) in caught.value.message
        assert caught.value.__cause__ is error


def test_only_errors_of_storage_are_turned(tmp_path: Path) -> None:
    with pytest.raises(RustError), storage_errors(tmp_path):
        raise RustError("os error 28")


def test_a_library_that_fails_half_way_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with replacing(tmp_path / "a.bin", also=(RustError,)) as temporary:
            assert temporary.parent == tmp_path
            temporary.write_bytes(b"half")
            raise RustError("disk quota")

    with pytest.raises(StorageError, match=r"a\.bin: disk quota"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_folder_is_renamed_or_removed(tmp_path: Path) -> None:
    def fill(*, fail: bool) -> None:
        with temporary_folder(tmp_path / "new", ".making-") as folder:
            (folder / "a").write_text("x")
            if fail:
                raise KeyError
            folder.replace(tmp_path / "new" / "done")

    fill(fail=False)
    with pytest.raises(KeyError):
        fill(fail=True)
    assert [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")] == [
        "new",
        "new/done",
        "new/done/a",
    ]


def test_leftovers_of_killed_processes_are_removed(tmp_path: Path) -> None:
    (tmp_path / "records" / ".tmp-folder").mkdir(parents=True)
    (tmp_path / "records" / ".tmp-folder" / ".tmp-inside").write_text("half")
    (tmp_path / "records" / ".tmp-file").write_text("half")
    (tmp_path / "records" / "kept").write_text("complete")
    remove_leftovers(tmp_path)
    assert [path.name for path in (tmp_path / "records").iterdir()] == ["kept"]


# Keeps a temporary file, a folder and a scratch folder until its input ends.
UNFINISHED = """
import sys
from pathlib import Path
from bitloss.files import replacing, scratch_folder, temporary_folder
place = Path(sys.argv[1])
with (
    replacing(place / "file") as file,
    temporary_folder(place, ".folder-") as folder,
    scratch_folder() as scratch,
):
    (folder / "inside").touch()
    print("begun", flush=True)
    sys.stdin.read()
    folder.rename(place / "folder")
"""


@contextmanager
def unfinished(place: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has begun a file, a folder and a scratch folder, all in `place`."""
    with subprocess.Popen(
        [sys.executable, "-c", UNFINISHED, str(place)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(place)},
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        assert len(list(place.iterdir())) == 3
        yield process


def clear(place: Path) -> None:
    """What those do who come next."""
    remove_leftovers(place)
    remove_scratch()
    with temporary_folder(place, ".folder-"), scratch_folder():
        pass


def test_what_a_living_process_writes_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with unfinished(tmp_path) as process:
        clear(tmp_path)
        assert len(list(tmp_path.iterdir())) == 3
        process.communicate("")
    assert process.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_what_a_killed_process_wrote_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock went with it: nobody has to know that it was killed."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with unfinished(tmp_path) as process:
        process.kill()
    clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_scratch_folders_are_their_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / "bitloss-results").mkdir()  # a user's own
    with scratch_folder() as folder:
        assert folder.parent == tmp_path
        assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["bitloss-results"]


# Locks ------------------------------------------------------------------------------------

# Holds the lock until its input ends.
HOLDER = """
import sys
from pathlib import Path
from bitloss.files import locked
with locked(Path(sys.argv[1]), busy=sys.exit):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_by_another(lock: Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process


def refuse() -> AbstractContextManager[None]:
    raise StorageError("taken")


def test_a_lock_is_refused_while_another_process_holds_it(tmp_path: Path) -> None:
    lock = tmp_path / ".lock"
    with held_by_another(lock) as process:
        with pytest.raises(StorageError, match="taken"), locked(lock, busy=refuse):
            raise AssertionError("two processes hold one lock")
        with try_locked(lock) as free:
            assert not free
        process.kill()  # the system frees it
        process.wait()
        with locked(lock, busy=refuse), try_locked(lock) as free:
            assert not free
    with try_locked(lock) as free:
        assert free
    assert lock.exists()


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    events = []

    with held_by_another(tmp_path / ".lock") as process:

        @contextmanager
        def waiting() -> Iterator[None]:
            events.append("waits")
            assert process.stdin is not None
            process.stdin.close()
            yield
            events.append("waited")

        with locked(tmp_path / ".lock", busy=waiting):
            events.append("held")
            with try_locked(tmp_path / ".lock") as free:
                assert not free
    assert events == ["waits", "waited", "held"]


def test_a_lock_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    with (
        pytest.raises(StorageError, match="cannot write") as caught,
        locked(tmp_path / "none" / ".lock", busy=refuse, elsewhere="set X=DIR"),
    ):
        pass
    assert caught.value.hint.endswith("or set X=DIR")


def test_importing_files_is_cheap() -> None:
    program = "import sys, bitloss.files; print(*sorted(sys.modules))"
    modules = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    ).stdout.split()
    heavy = {"numpy", "torch", "safetensors", "pyarrow", "pydantic", "transformers"}
    assert not heavy & set(modules)
