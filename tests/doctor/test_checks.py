"""Each check against a fault that is really there: broken builds, missing rights, no network."""

from __future__ import annotations

import os
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path

import httpx2
import psutil
import pytest
from huggingface_hub import constants

from bitloss.doctor import checks
from bitloss.doctor.checks import (
    check_arithmetic,
    check_disks,
    check_hub,
    check_llama_cpp,
    check_memory,
    check_packages,
    check_python,
    check_sandbox,
)


def test_missing_extra_is_absent_with_its_command() -> None:
    (check,) = check_packages(['no-such-package>=1; extra == "gguf"'])
    assert (check.status, check.fix) == ("absent", 'pip install "bitloss[gguf]"')


def test_missing_requirement_is_broken() -> None:
    (check,) = check_packages(["no-such-package<2,>=1"])
    assert check.status == "broken"
    assert check.fix == 'pip install "no-such-package<2,>=1"'


def test_version_outside_the_range_is_broken() -> None:
    (check,) = check_packages(["pytest<1"])
    assert check.status == "broken"
    assert check.found.endswith("needed <1")


def test_version_inside_the_range_is_sound() -> None:
    (check,) = check_packages(["pytest>=1"])
    assert (check.status, check.fix) == ("ok", "")


def test_development_tools_and_repeated_extras_are_not_listed() -> None:
    assert check_packages(['x; extra == "dev"', 'y; extra == "all"']) == []


def test_every_requirement_of_ours_is_met_here() -> None:
    assert [check for check in check_packages() if check.status == "broken"] == []


def test_old_python_is_broken() -> None:
    assert check_python("3.10.1").status == "broken"
    assert check_python().status == "ok"


@pytest.mark.parametrize(("bf16", "status"), [(500.0, "ok"), (50.0, "slow")])
def test_bf16_that_gains_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, bf16: float, status: str
) -> None:
    import torch

    speeds = {torch.float32: 100.0, torch.bfloat16: bf16}
    monkeypatch.setattr(checks, "_gemm_speed", lambda _, dtype: speeds[dtype])
    check = check_arithmetic()[0]
    assert check.status == status
    assert f"fp32 100 GFLOP/s, bf16 {bf16:.0f} GFLOP/s" in check.found


def test_speed_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(checks, "_GEMM_SECONDS", 0.001)
    assert checks._gemm_speed(torch, torch.float32) > 0.01


def test_little_memory_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_memory().found.endswith("GB free")
    memory = psutil.virtual_memory()._replace(available=10**9, total=8 * 10**9)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    assert check_memory().status == "slow"
    assert check_memory().found == "1.0 of 8.0 GB free"


def test_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = {check.name: check for check in check_disks(tmp_path / "not" / "there" / "yet")}
    assert str(tmp_path / "not") in found["cache"].found
    monkeypatch.setattr(checks.os, "access", lambda *_: False)
    assert {check.status for check in check_disks(tmp_path)} == {"broken"}


def test_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITLOSS_CACHE", str(tmp_path / "elsewhere"))
    assert check_disks()[0].found.startswith(str(tmp_path / "elsewhere"))


def test_missing_packages_do_not_stop_the_other_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = [checks.Check("torch", "broken", "not installed", "pip install torch")]
    monkeypatch.setattr(checks, "check_packages", lambda: nothing)
    assert [check.name for check in checks.run_checks()] == ["python", "torch", "sandbox"]


@pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed")
def test_llama_cpp_here_is_sound() -> None:
    assert check_llama_cpp().status == "ok"


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("import os, signal; os.kill(os.getpid(), signal.SIGILL)", "SIGILL"),
        ("raise RuntimeError('llama_decode returned -3')", "llama_decode returned -3"),
        ("return {'q8_0': 0.02, 'q4_k': 7.0}", "computes wrong q4_k products"),
        ("return {'q8_0': float('nan'), 'q4_k': 0.2}", "computes wrong q8_0 products"),
    ],
)
def test_broken_llama_cpp_is_found_and_the_build_command_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, found: str
) -> None:
    (tmp_path / "sick_probe.py").write_text(
        "from bitloss.quantizers.workers import serve\n"
        f"def probe(spec, report):\n    {body}\n"
        "if __name__ == '__main__':\n    serve(probe)\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    check = check_llama_cpp("sick_probe")
    assert check.status == "broken"
    assert found in check.found
    assert "\n" not in check.found
    assert check.fix.startswith('CMAKE_ARGS="')


def test_hub_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        check = check_hub(f"http://127.0.0.1:{probe.getsockname()[1]}")
    assert check.status == "broken"
    assert httpx2.ConnectError.__name__ in check.found


def test_hub_that_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert check_hub().found == "HF_HUB_OFFLINE is set"


def test_hub_that_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from peers.hub import Hub, serve

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with serve(Hub()) as hub:
        assert check_hub(hub.url).status == "ok"


def test_sandbox_without_bubblewrap_is_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    check = check_sandbox()
    assert check.status == "absent"
    assert "apt install bubblewrap" in check.fix


def test_sandbox_that_does_not_start_is_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = tmp_path / "bwrap"
    stub.write_text("#!/bin/sh\necho no namespaces >&2\nexit 1\n")
    stub.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    check = check_sandbox()
    assert check.status == "broken"
    assert "no namespaces" in check.found


def test_sandbox_that_works_is_ok() -> None:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is not installed (apt install bubblewrap)")
    check = check_sandbox()
    if check.status == "broken":
        pytest.skip(f"no sandbox on this machine: {check.found}")
    assert check.status == "ok"
