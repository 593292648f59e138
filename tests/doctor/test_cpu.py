"""Switches for llama.cpp; the names are those of ggml/CMakeLists.txt in the sdist we build."""

from __future__ import annotations

from pathlib import Path

from bitloss.doctor.cpu import cpu_flags, llama_cpp_cmake_args

AVX2 = {"avx2", "fma", "f16c", "bmi2"}
AVX512 = {"avx512f", "avx512cd", "avx512vl", "avx512dq", "avx512bw"}


def test_flags_of_the_first_processor(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nflags\t\t: fpu avx2 fma\n\nprocessor\t: 1\nflags : sse\n")
    assert cpu_flags(cpuinfo) == {"fpu", "avx2", "fma"}


def test_no_flags_where_linux_lists_none(tmp_path: Path) -> None:
    assert cpu_flags(tmp_path / "absent") == frozenset()
    (tmp_path / "arm").write_text("processor : 0\nFeatures : fp asimd\n")
    assert cpu_flags(tmp_path / "arm") == frozenset()


def test_amx_is_never_asked_for() -> None:
    args = llama_cpp_cmake_args(AVX2 | AVX512 | {"amx_int8", "amx_bf16", "amx_tile"}, "x86_64")
    assert "-DGGML_NATIVE=OFF" in args
    assert "-DGGML_AVX512=ON" in args
    assert "AMX" not in args


def test_only_what_the_processor_has_is_switched_on() -> None:
    args = llama_cpp_cmake_args(AVX2 | {"avx512f", "avx512_vnni"}, "x86_64").split()
    assert "-DGGML_AVX2=ON" in args
    assert "-DGGML_AVX512=OFF" in args  # it needs all five of its parts
    assert "-DGGML_AVX512_VNNI=OFF" in args
    assert "-DGGML_AVX2=OFF" in llama_cpp_cmake_args({"fpu", "sse2"}, "x86_64").split()


def test_other_processors_get_the_default_build() -> None:
    assert llama_cpp_cmake_args((), "aarch64") == "-DLLAVA_BUILD=OFF"
