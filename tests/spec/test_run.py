"""What a run can be, and that each option decides its fingerprint."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from bitloss import Calibration
from bitloss.api import default_run_dir
from bitloss.errors import UsageError
from bitloss.spec.fingerprint import fingerprint
from bitloss.spec.run import RunSpec, options_of
from bitloss.spec.suite import TaskChoice
from bitloss.spec.valid import parse_run, require_known

# For every field a valid value that is not its default.
OTHER: dict[str, Any] = {
    "reference": "other", "tokenizer": "t", "variants": ("gptq-4",), "corpus_limits": {"web": 3},
    "suite": "code", "corpora": ("web",), "tasks": (TaskChoice(name="mmlu"),),
    "data": Path("data"), "engine": ("other",), "cache_type": "q8_0",
    "activations": "int8", "speed": True, "protocol": "gptq", "max_length": 64, "stride": 32,
    "limit": 5, "until": "decided", "precision": 0.01, "chat": True, "samples": 10,
    "template_args": {"enable_thinking": False}, "thinking_budget": 100,
    "thinking_markers": "[THINK],[/THINK]",
    "unsafe_exec": True, "dtype": "mixed", "device": "cuda:1", "batch_tokens": 64,
    "memory": "8GB", "context_tokens": 1024, "include_path": (Path("tasks"),),
    "gpu_memory": 0.5,
    "calibration": Calibration("code", samples=3, length=64), "replicates": 3, "seed": 7,
    "trust_remote_code": True, "executor": "ray", "workers": 3, "price": 0.5,
}  # fmt: skip
WHERE = ("executor", "workers", "price")


def test_nothing_but_a_model_is_needed() -> None:
    assert parse_run({"reference": "m"}) == RunSpec(reference="m")


def test_every_value_arrives() -> None:
    spec = parse_run(OTHER)
    assert {field.name: getattr(spec, field.name) for field in fields(spec)} == OTHER
    usual = RunSpec(reference="m")
    assert [name for name, value in OTHER.items() if value == getattr(usual, name)] == []


@pytest.mark.parametrize("name", sorted({*OTHER}.difference(WHERE)))
def test_every_field_decides_the_fingerprint(name: str) -> None:
    spec = RunSpec(reference="m")
    changed = replace(spec, **{name: OTHER[name]})
    assert fingerprint(changed.to_json()) != fingerprint(spec.to_json())


@pytest.mark.parametrize("name", WHERE)
def test_where_work_is_done_does_not(name: str) -> None:
    """A run that began on a cluster is finished in the same directory by this machine."""
    spec = RunSpec(reference="m")
    assert replace(spec, **{name: OTHER[name]}).to_json() == spec.to_json()
    assert default_run_dir(replace(spec, **{name: OTHER[name]})) == default_run_dir(spec)


@pytest.mark.parametrize("change", [{"corpus": "code"}, {"samples": 3}, {"length": 64}])
def test_every_part_of_the_calibration_decides_it(change: dict[str, Any]) -> None:
    spec = RunSpec(reference="m")
    changed = replace(spec, calibration=replace(spec.calibration, **change))
    assert fingerprint(changed.to_json()) != fingerprint(spec.to_json())


def test_text_from_files_gets_its_type() -> None:
    spec = parse_run({"reference": "m", "limit": "5", "corpora": ["a", "b"], "data": "folder"})
    assert (spec.limit, spec.corpora, spec.data) == (5, ("a", "b"), Path("folder"))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("limit", 0, "limit: expected at least 1, got 0"),
        ("limit", "many", "limit: expected a valid integer"),
        ("samples", 0, "samples: expected at least 1, got 0"),
        ("batch_tokens", 0, "batch_tokens: expected at least 1, got 0"),
        ("precision", 0.0, "precision: expected more than 0, got 0.0"),
        ("precision", float("inf"), "precision: expected a finite number, got inf"),
        ("dtype", "fp16", "dtype: expected 'auto', 'fp32', 'mixed' or 'bf16', got 'fp16'"),
        ("until", "soon", "until: expected 'decided' or 'all', got 'soon'"),
        ("calibration", Calibration(samples=0), "calibration.samples: expected at least 1, got 0"),
        ("calibration", {"length": 0}, "calibration.length: expected at least 1, got 0"),
        ("tasks", [{"name": "mmlu", "shots": -1}], "tasks.0.shots: expected at least 0, got -1"),
    ],
)
def test_values_that_cannot_be(name: str, value: Any, expected: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_run({"reference": "m", name: value})
    assert caught.value.message.startswith(expected)
    assert caught.value.hint == ""


def test_bounds_of_the_flags_are_those_of_the_fields() -> None:
    for option in options_of():
        bound = option.option.minimum
        if bound is None:
            continue
        value: Any = bound - 1
        for name in reversed(option.path):
            value = {name: value}
        with pytest.raises(UsageError, match=f"expected at least {bound}"):
            parse_run({"reference": "m", **value})


@pytest.mark.parametrize(
    ("name", "hint"),
    [("batch_token", "did you mean `batch_tokens`?"), ("x", "use one of: suite, corpora, tasks")],
)
def test_options_that_do_not_exist(name: str, hint: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: no such option") as caught:
        parse_run({"reference": "m", name: 1})
    assert caught.value.hint.startswith(hint)


def test_options_that_a_function_does_not_take() -> None:
    require_known({"seed": 1}, ["seed", "data"])
    with pytest.raises(UsageError, match="sede: no such option here; chat: no such") as caught:
        require_known({"seed": 1, "sede": 2, "chat": True}, ["seed", "data"])
    assert caught.value.hint == "did you mean `seed`?"
