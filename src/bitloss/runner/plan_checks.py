"""What engines, devices and names cannot do, said before a run begins."""

from __future__ import annotations

from collections.abc import Sequence

from bitloss.engines.base import PAIR_COLUMNS, Engine
from bitloss.engines.devices import describe
from bitloss.engines.evaluate import load_engine
from bitloss.errors import UnsupportedModel, UsageError
from bitloss.runner.planned import Plan
from bitloss.spec.run import RunSpec

__all__ = [
    "require_abilities",
    "require_devices",
    "require_installed",
    "require_own_name",
    "require_share",
]


def require_abilities(plan: Plan) -> None:
    """Refuse what the engines cannot do before hours of what they can."""
    for plug in plan.engines:
        if plug.top_k is not None:
            _require_fit(plan, plug)
            continue
        if plug.at is not None and plan.corpora:
            raise UnsupportedModel(
                f"engine `{plug.name}` cannot score texts: {'; '.join(plug.lacks)}",
                hint="use a server with prompt log-probabilities (vLLM, llama-server), or tasks "
                "that write only (--tasks without --corpus)",
            )
        if plug.at is not None:
            _require_fit(plan, plug)
            continue
        if missing := [name for name in PAIR_COLUMNS if name not in plug.columns]:
            raise UnsupportedModel(
                f"engine `{plug.name}` gives no `{missing[0]}`, which every result has",
                hint="choose another --engine (`bitloss list engines`)",
            )
    writes = [planned.name for planned in plan.tasks if planned.task.facts.decoding is not None]
    writers = () if plan.makes_pack else plan.engines
    for plug in (*writers, plan.reference_engine):
        if writes and "generate" not in plug.abilities:
            raise UnsupportedModel(
                f"engine `{plug.name}` cannot generate text, which task `{writes[0]}` needs",
                hint="choose tasks that score options, or another --engine",
            )


def _require_fit(plan: Plan, plug: Engine) -> None:
    """Refuse what cannot be decided where only likely tokens are known."""
    if not plan.variants:
        raise UsageError(
            f"engine `{plug.name}` runs variants, got only the reference",
            hint="use `bitloss compare`, or --engine dense",
        )
    if plug is plan.engine and len(plan.engines) > 1:
        raise UsageError(
            f"engine `{plug.name}` comes first, but gives no results to compare others with",
            hint=f"write it last: --engine dense,{plug.name}",
        )
    options = [planned.name for planned in plan.tasks if planned.task.facts.decoding is None]
    if options and len(options) == len(plan.tasks) and "score" not in plug.abilities:
        raise UnsupportedModel(
            f"engine `{plug.name}` cannot score options, which task `{options[0]}` needs: "
            f"{'; '.join(plug.lacks)}",
            hint="add tasks that write, or choose a server with prompt log-probabilities (vLLM, "
            "llama-server)",
        )
    if plan.spec.sequential or plan.spec.speed:
        what = "--speed" if plan.spec.speed else "--until and --precision"
        raise UnsupportedModel(
            f"engine `{plug.name}` cannot be used with {what}",
            hint=f"omit {what}, or choose another --engine",
        )
    named = [ref.text for ref in plan.variants if ref.run_of is None]
    if plug.only and len(named) > 1:
        raise UsageError(
            f"engine `{plug.name}` runs one model, got variants {', '.join(named)}",
            hint="compare one variant, or write the address without #MODEL",
        )


def require_own_name(plan: Plan) -> None:
    """Refuse a variant that is the reference by name and is run by another engine: a task's
    answers are kept by the model's name.
    """
    same = plan.engine.name == plan.reference_engine.name
    names = [ref.text for ref in plan.variants]
    if plan.tasks and plan.reference.name in names and not same:
        raise UsageError(
            f"variant `{plan.reference.name}` has the reference's name, but its own answers in "
            f"engine `{plan.engine.name}`",
            hint="write its path in another way, such as its absolute path",
        )


def require_devices(names: Sequence[str]) -> None:
    """Refuse devices that are not there, or that would compute other numbers than each other.

    Raises:
        UsageError: names the device.
    """
    for name in names:
        _require_device(name)
    if len(set(names)) < len(names):
        raise UsageError(
            f"expected different devices, got {', '.join(names)}", hint="name each of them once"
        )
    kinds = {describe(name): name for name in reversed(names)}
    if len(kinds) > 1:
        found = "; ".join(f"{name} is {kind}" for kind, name in kinds.items())
        raise UsageError(
            f"expected devices of one kind, which round alike, got others: {found}",
            hint="use --device with equal ones",
        )


def _require_device(name: str) -> None:
    import torch

    try:
        torch.empty(1, device=name)
    # torch raises whatever its back ends raise: AssertionError where one was not compiled in.
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"cannot compute on device `{name}`: {reason}", hint="omit --device for the CPU"
        ) from error


def require_installed(spec: RunSpec) -> None:
    """Refuse engines whose packages are missing, before a variant is made for them.

    Raises:
        MissingDependency: names the package and its extra.
    """
    for name in spec.engine:
        load_engine(name).needs()


def require_share(spec: RunSpec) -> None:
    """Refuse a share of a card's memory that is none."""
    if spec.gpu_memory is not None and spec.gpu_memory > 1:
        raise UsageError(
            f"gpu_memory: expected a share of at most 1, got {spec.gpu_memory:g}",
            hint="use 0.5 for half of the memory",
        )
