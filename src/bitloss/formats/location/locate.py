"""From what the user wrote to files on this machine, downloading where needed.

Downloads go into the hub's own cache (``HF_HOME``), shared with every other tool that uses it,
so a model that another tool fetched is not fetched again, and a fetched one works offline.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bitloss.errors import (
    BitlossError,
    CheckpointError,
    HubError,
    StorageError,
    UsageError,
    not_there,
)
from bitloss.formats.location.builtin import builtin_model
from bitloss.formats.location.hub_files import choose_files, choose_gguf, choose_pack
from bitloss.spec.model import PACK_SUFFIX, ModelRef, is_hub_pack, parse_model
from bitloss.system_errors import disk_is_full
from bitloss.types import Progress

__all__ = ["locate", "pack_folder"]

_OFFLINE = "check the network, or give a local path"


def locate(
    ref: ModelRef,
    *,
    progress: Progress,
    trust_remote_code: bool = False,
    weights: bool = True,
    endpoint: str | None = None,
    cache: Path | None = None,
) -> Path:
    """The directory of a safetensors model or of a pack, or the (first) file of a GGUF.

    Args:
        ref: a path or a hub model; recipes are made elsewhere.
        progress: draws the download, in bytes.
        trust_remote_code: whether the model's own Python files are fetched too.
        weights: False leaves a hub model's safetensors where they are: its configuration and
            tokenizer are enough; of a pack its document.
        endpoint: the hub's address; None asks ``HF_ENDPOINT``.
        cache: the hub's cache directory; None asks ``HF_HUB_CACHE`` and ``HF_HOME``.

    Raises:
        CheckpointError: the path is gone, or a bundled model is damaged.
        UsageError: the reference is a recipe.
        UnsupportedModel: the repository has no weights bitloss reads.
        HubError: the hub cannot be reached, refuses, or does not have it.
        StorageError: the cache cannot be written or has no room.
    """
    if ref.kind == "builtin":
        return builtin_model(ref.text)
    if ref.path is not None:
        if not ref.path.exists():
            raise not_there(CheckpointError(f"no model at `{ref.path}`", hint="check the path"))
        return ref.path
    if ref.repo is None:
        raise UsageError(
            f"`{ref.text}` is a recipe; a model is expected here",
            hint="give a directory, a .gguf file or a hub id",
        )
    with _translated(ref, ref.repo):
        repository = _Repository(ref.repo, endpoint, cache)
        commit, sizes = repository.listing(ref.revision)
        if ref.gguf is not None:
            files = choose_gguf(ref.repo, tuple(sizes), ref.gguf)
        elif ref.repo.endswith(PACK_SUFFIX):
            files = choose_pack(ref.repo, tuple(sizes), whole=weights)
        else:
            files = choose_files(
                ref.repo, tuple(sizes), weights=weights, with_code=trust_remote_code
            )
        folder = repository.download(commit, {file: sizes[file] for file in files}, progress)
    return folder / files[0] if ref.gguf is not None else folder


def pack_folder(text: str, *, progress: Progress, whole: bool = True) -> Path:
    """The directory of the pack that a text names, fetched where it is not here.

    Args:
        text: for which `bitloss.spec.model.names_pack` is true.
        progress: draws the download.
        whole: False fetches the document alone.

    Raises:
        HubError: see `locate`.
        UnsupportedModel: the repository holds no pack.
    """
    if not is_hub_pack(text):
        return Path(text).expanduser()
    return locate(parse_model(text), progress=progress, weights=whole)


class _Repository:
    """One model repository of a hub, as `huggingface_hub` shows it."""

    def __init__(self, repo: str, endpoint: str | None, cache: Path | None) -> None:
        from huggingface_hub import HfApi, constants

        self.repo = repo
        self.endpoint = endpoint
        self.cache = Path(cache or constants.HF_HUB_CACHE)
        self.api = HfApi(endpoint=endpoint, library_name="bitloss")

    def listing(self, revision: str | None) -> tuple[str, dict[str, int]]:
        """The commit that the revision stands for, and the bytes of each of its files.

        Offline, both come from the cache, if the model was ever downloaded.
        """
        import httpx2
        from huggingface_hub import RepoFile, get_cached_repo_tree, snapshot_download
        from huggingface_hub.errors import CachedRepoTreeNotFoundError, OfflineModeIsEnabled

        commit = str(self.api.resolve_revision(self.repo, revision=revision, cache_dir=self.cache))
        with suppress(CachedRepoTreeNotFoundError):
            tree = get_cached_repo_tree(self.repo, revision=commit, cache_dir=self.cache)
            return commit, {file.path: file.size for file in tree}
        try:
            entries = list(self.api.list_repo_tree(self.repo, recursive=True, revision=commit))
        except (httpx2.TransportError, OfflineModeIsEnabled):
            # Fetched by a library that keeps no listings: what is there is all there is to know.
            folder = Path(
                snapshot_download(
                    self.repo, revision=commit, cache_dir=self.cache, local_files_only=True
                )
            )
            files = [path for path in folder.rglob("*") if path.is_file()]
            return commit, {
                path.relative_to(folder).as_posix(): path.stat().st_size for path in files
            }
        return commit, {file.path: file.size for file in entries if isinstance(file, RepoFile)}

    def download(self, commit: str, sizes: dict[str, int], progress: Progress) -> Path:
        """Fetch what is not in the cache yet; returns the snapshot's directory."""
        from huggingface_hub import snapshot_download, try_to_load_from_cache

        missing = {
            file: size
            for file, size in sizes.items()
            if not isinstance(
                try_to_load_from_cache(self.repo, file, revision=commit, cache_dir=self.cache), str
            )
        }
        total = sum(missing.values())
        self._require_room(total)
        options: dict[str, Any] = {
            "repo_id": self.repo,
            "revision": commit,
            "cache_dir": self.cache,
            "endpoint": self.endpoint,
            "library_name": "bitloss",
            "allow_patterns": [_literal(file) for file in sizes],
        }
        if not missing:
            return Path(snapshot_download(**options, tqdm_class=_bar(lambda _: None)))
        with progress.task(f"downloading {self.repo}", total, unit="bytes") as advance:
            return Path(snapshot_download(**options, tqdm_class=_bar(advance)))

    def _require_room(self, needed: int) -> None:
        place = self.cache
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if needed > free:
            raise StorageError(
                f"`{self.repo}` needs {needed / 1e9:.1f} GB, {self.cache} has {free / 1e9:.1f} GB",
                hint="make room, or set HF_HOME to a larger disk",
            )


def _literal(path: str) -> str:
    """The fnmatch pattern that only this path matches."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in path)


def _bar(advance: Callable[[int], None]) -> Any:
    """A progress bar class for `huggingface_hub` that draws nothing and passes bytes on."""
    import huggingface_hub.utils

    base: Any = huggingface_hub.utils.tqdm  # type: ignore[attr-defined]

    class Bar(base):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            # Of the bars that a snapshot opens, this one counts the bytes that reach the disk.
            self._counts = kwargs.get("name") == "huggingface_hub.snapshot_download"
            super().__init__(*args, **{**kwargs, "disable": True})

        def update(self, n: float | None = 1) -> None:
            if self._counts and n:
                advance(int(n))

    return Bar


@contextmanager
def _translated(ref: ModelRef, repo: str) -> Iterator[None]:
    """Turn the faults of network, hub and disk into errors that say what to do."""
    import httpx2
    from huggingface_hub.errors import RevisionResolutionError

    try:
        yield
    # The hub's errors are transport errors and OSErrors too: one place decides by their kind.
    except (httpx2.HTTPError, OSError, ValueError, RevisionResolutionError) as error:
        raise _as_bitloss_error(error, ref, repo) from error


def _as_bitloss_error(error: Exception, ref: ModelRef, repo: str) -> BitlossError:
    from huggingface_hub import constants, errors

    if isinstance(error, errors.GatedRepoError):
        return HubError(
            f"`{repo}` is gated: its terms must be accepted first",
            hint="accept them on the model's page, then log in with `hf auth login`",
        )
    if isinstance(error, errors.RepositoryNotFoundError):
        return HubError(
            f"the hub has no model `{repo}`, or it is private",
            hint="check the spelling; for a private model log in with `hf auth login`",
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return HubError(
            f"`{repo}` has no revision `{ref.revision}`",
            hint="give a branch, a tag or a full commit hash after the @",
        )
    if isinstance(error, errors.HFValidationError):
        return HubError(f"`{repo}` is not a valid name on a hub: {error}", hint=_OFFLINE)
    if isinstance(error, errors.HfHubHTTPError):
        status = error.response.status_code
        hints = {
            401: "log in with `hf auth login`",
            403: "ask for access on the model's page, then `hf auth login`",
        }
        return HubError(
            f"the hub answered {status} for `{repo}`", hint=hints.get(status, "try again later")
        )
    if disk_is_full(error):
        return StorageError(
            f"the disk is full while downloading `{repo}`",
            hint="make room, or set HF_HOME to a larger disk; what arrived is kept",
        )
    if isinstance(error, OSError) and error.errno in (errno.EACCES, errno.EROFS, errno.EPERM):
        return StorageError(
            f"the hub's cache cannot be written: {error}",
            hint="set HF_HOME to a writable directory",
        )
    if constants.HF_HUB_OFFLINE:
        return HubError(
            f"`{ref.text}` is not in the cache, and HF_HUB_OFFLINE is set",
            hint="unset HF_HUB_OFFLINE, or give a local path",
        )
    return HubError(
        f"cannot reach the hub for `{ref.text}`, and it is not in the cache: {_root(error)}",
        hint=_OFFLINE,
    )


def _root(error: BaseException) -> str:
    """The message of the first cause, in one line: the wrappers around it repeat it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
