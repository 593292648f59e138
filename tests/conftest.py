"""Fixtures every floor's tests may use."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from bitloss.results import Comparison
    from bitloss.sandbox import Bubblewrap

# Before any native library is loaded: tests run side by side on few cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# Nearly all objects live until the end: looking for garbage among them is a twentieth of the time.
gc.set_threshold(100_000, 50, 100)

# A busy machine is no fault of the code's.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _float32_by_default() -> Iterator[None]:
    """A test that leaves torch with another default dtype would fail hundreds of later ones."""
    yield
    torch = sys.modules.get("torch")
    if torch is not None and (left := torch.get_default_dtype()) != torch.float32:
        torch.set_default_dtype(torch.float32)
        pytest.fail(f"the test left torch's default dtype at {left}")


# What bitloss's own processes go by, and no library sets for itself.
_SETTINGS = ("BITLOSS_", "GPTQMODEL_", "HF_HUB_OFFLINE", "OMP_", "PYTHONPATH", "TORCHDYNAMO_")


def _settings() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_SETTINGS)}


@pytest.fixture(autouse=True)
def _environment_as_found() -> Iterator[None]:
    """Every process that a later test starts would get what a test leaves in the environment."""
    found = _settings()
    yield
    if (left := _settings()) != found:
        for name in left.keys() - found.keys():
            del os.environ[name]
        os.environ.update(found)
        changed = sorted(name for name, _ in left.items() ^ found.items())
        pytest.fail(f"the test left these variables changed: {', '.join(changed)}")


@pytest.fixture(scope="session", autouse=True)
def _preloaded() -> Iterator[None]:
    """Start workers and models' processes without the seconds that their imports take."""
    from peers.forked_python import preloaded

    with preloaded():
        yield


@pytest.fixture
def started_fresh() -> Iterator[None]:
    """Start them as users do."""
    from peers.forked_python import fresh

    with fresh():
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the checkout; tests that need it skip without it."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("the folder ../shared with real data and models is absent")
    return path


@pytest.fixture(scope="session")
def pocket() -> Path:
    """The trained model that comes along: what damages a model shows in its answers."""
    from bitloss.formats.location.builtin import builtin_model

    return builtin_model("pocket")


@pytest.fixture(scope="session")
def scribe(shared: Path) -> Path:
    """A briefly trained 4.2 M-parameter Llama that every quantizer accepts."""
    return shared / "models" / "scribe-4m"


@pytest.fixture(scope="session")
def comparison() -> Comparison:
    """The example run's result: every kind of figure, no file needed."""
    from example_run import make_comparison

    return make_comparison()


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Bubblewrap]:
    """A sandbox for all tests; they skip where there can be none, and say why."""
    from bitloss.errors import UsageError
    from bitloss.sandbox import Bubblewrap, open_sandbox

    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed (apt install bubblewrap)")
    try:
        opened = open_sandbox()
    except UsageError as error:
        pytest.skip(f"no sandbox on this machine: {error.message}")
    assert isinstance(opened, Bubblewrap)
    yield opened
    opened.close()
