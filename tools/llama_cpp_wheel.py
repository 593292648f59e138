"""Install llama-cpp-python as this processor needs it, from a wheel that is built once and kept.

    python tools/llama_cpp_wheel.py llama-cpp-python==0.3.36

Building takes minutes, so the wheel is kept in the user's cache folder, outside of the checkout:
another checkout, or this one after ``make clean``, installs it in seconds. Standard library only:
``make install`` runs this file before anything is installed.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

__all__ = ["cache_folder", "install", "kept_wheel"]

ROOT = Path(__file__).resolve().parents[1]


def cache_folder() -> Path:
    """Where wheels are kept: ``$XDG_CACHE_HOME/bitloss/wheels``, by default in ``~/.cache``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "bitloss", "wheels")


def kept_wheel(requirement: str, cmake_args: str) -> Path:
    """The wheel of a requirement, built where none is kept.

    Args:
        requirement: name and version, ``llama-cpp-python==0.3.36``.
        cmake_args: value of ``CMAKE_ARGS`` for the build.

    Raises:
        subprocess.CalledProcessError: the build failed; nothing is kept then.
    """
    # What decides the bytes of a build: version, switches, Python, system, C library, processor
    # (which CMake's own defaults ask where the switches do not name instruction sets).
    facts = (
        requirement, cmake_args, sys.version, sysconfig.get_platform(), *platform.libc_ver(),
        platform.processor(), os.environ.get("CC", ""), os.environ.get("CXX", ""),
        os.environ.get("CFLAGS", ""), os.environ.get("CXXFLAGS", ""),
    )  # fmt: skip
    key = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    kept = cache_folder() / f"{requirement.replace('==', '-')}-{key}"
    if not any(kept.glob("*.whl")):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="building-") as folder:
            built = Path(folder, "built")
            # Without pip's cache, which would hand back a wheel built with other switches.
            _pip(
                "wheel", "--no-cache-dir", "--no-deps", "--wheel-dir", str(built), requirement,
                CMAKE_ARGS=cmake_args,
            )  # fmt: skip
            try:
                built.rename(kept)
            except OSError:  # another process was faster
                if not any(kept.glob("*.whl")):
                    raise
    (wheel,) = kept.glob("*.whl")
    return wheel


def install(requirement: str, cmake_args: str) -> None:
    """Put the wheel of a requirement, and what it requires, into this interpreter's environment."""
    wheel = kept_wheel(requirement, cmake_args)
    # The same version may be there already, built with other switches.
    _pip("install", "--no-deps", "--force-reinstall", str(wheel))
    _pip("install", requirement)


def _pip(*arguments: str, **variables: str) -> None:
    environment = {**os.environ, **variables}
    subprocess.run([sys.executable, "-m", "pip", *arguments], env=environment, check=True)


if __name__ == "__main__":
    # A file of its own, since the package cannot be imported yet.
    arguments = subprocess.run(
        [sys.executable, str(ROOT / "src" / "bitloss" / "doctor" / "cpu.py")],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    try:
        install(sys.argv[1], arguments.stdout.strip())
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
