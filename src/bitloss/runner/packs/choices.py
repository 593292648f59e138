"""What a run beside a pack may choose: some or all of what the pack has, and how variants run.

What decides the reference's hidden states and the items was decided when the pack was made. A run
that asks for something else is refused; one that does not ask takes what the pack has.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bitloss.errors import UsageError
from bitloss.results.pack import PackChoices, PackDocument
from bitloss.runner.packs.opened import read_document
from bitloss.spec.model import parse_variant
from bitloss.spec.options import COMPARE
from bitloss.spec.run import RunSpec, options_of
from bitloss.spec.suite import TaskChoice
from bitloss.suites.choose import choose

__all__ = ["refuse_recipes", "within_pack"]

_DECIDED = (
    "protocol", "max_length", "stride", "limit", "chat", "template_args", "thinking_budget",
    "thinking_markers", "samples", "batch_tokens", "seed",
)  # fmt: skip
_NEED_WEIGHTS = (
    ("until", "all", "a pack is compared in full"),
    ("precision", None, "a pack is compared in full"),
    ("speed", False, "the reference's speed cannot be measured without its weights"),
    ("replicates", 1, "a pack cannot be quantized"),
)
_AGAIN = "or make another pack with `bitloss pack`"


def within_pack(
    root: Path,
    given: Mapping[str, Any],
    *,
    suite: str | None,
    corpora: Sequence[str] | None,
    tasks: Sequence[str] | None,
) -> dict[str, Any]:
    """Fields of the run's `RunSpec`.

    Args:
        root: the pack's directory.
        given: the other options that the user gave, by field.
        suite: as the user named it; None is no suite.
        corpora: likewise; without any of the three it is all that the pack has.
        tasks: likewise.

    Raises:
        UsageError: something disagrees with the pack; both are named.
        StorageError: the pack cannot be read.
    """
    document = read_document(root)
    known, values = document.choices, dict(given)
    for name, without, reason in _NEED_WEIGHTS:
        if values.get(name, without) not in (None, without):
            raise UsageError(f"{root}: {reason}, got {_flag(name)}", hint=f"drop {_flag(name)}")
    for name in _DECIDED:
        own = getattr(known, name)
        if values.get(name) is not None and values[name] != own:
            raise _disagrees(root, _flag(name), own, values[name])
        values[name] = own
    values["dtype"] = _dtype(root, document, values.get("dtype"))
    if suite is None and corpora is None and tasks is None:
        chosen = {"corpora": known.corpora, "tasks": known.tasks}
    else:
        chosen = _chosen(root, known, suite, corpora, tasks)
    limits = known.corpus_limits.items()
    return {
        **values,
        **chosen,
        "suite": known.suite,
        "corpus_limits": {name: n for name, n in limits if name in chosen["corpora"]},
    }


def refuse_recipes(spec: RunSpec) -> None:
    """Refuse variants that would have to be made of the reference.

    Raises:
        UsageError: names the first of them.
    """
    for text in spec.variants:
        ref = parse_variant(text, engines=spec.engine, calibration=spec.calibration, seed=spec.seed)
        if ref.kind == "recipe":
            raise UsageError(
                f"`{text}` is a recipe, and {spec.reference} is a pack, which cannot be quantized",
                hint=f"make a file where the weights are (bitloss quantize MODEL OUT --recipe "
                f"{text}), and give that",
            )


def _dtype(root: Path, document: PackDocument, given: str | None) -> str:
    known = document.choices.dtype
    if given in (None, "auto", known):
        return known
    if given != document.reference.arithmetic:
        raise _disagrees(root, "--dtype", document.reference.arithmetic, given)
    return str(given)


def _chosen(
    root: Path,
    known: PackChoices,
    suite: str | None,
    named_corpora: Sequence[str] | None,
    named_tasks: Sequence[str] | None,
) -> dict[str, Any]:
    """Some of the pack's corpora and tasks, in its order, in which their windows stand."""
    limits: Mapping[str, int] = {}
    wanted = [TaskChoice(name=name) for name in named_tasks or ()]
    if suite is not None:
        whole = choose(suite, corpora=named_corpora, tasks=named_tasks)
        named_corpora, limits, wanted = whole["corpora"], whole["corpus_limits"], whole["tasks"]
    corpora = _found(root, "corpora", known.corpora, named_corpora or ())
    by_name = {choice.name: choice for choice in known.tasks}
    tasks = _found(root, "tasks", tuple(by_name), [choice.name for choice in wanted])
    if known.limit is None:  # one for all goes before theirs
        for name, limit in limits.items():
            if (own := known.corpus_limits.get(_bare(name))) != limit:
                raise _disagrees(root, f"the limit of corpus {name}", own, limit)
    for name, choice in zip(tasks, wanted, strict=True):
        for part in ("limit", "shots", "samples"):
            own, asked = getattr(by_name[name], part), getattr(choice, part)
            if asked not in (None, own) and not (part == "limit" and known.limit is not None):
                raise _disagrees(root, f"the {part} of task {name}", own, asked)
    return {
        "corpora": tuple(name for name in known.corpora if name in corpora),
        "tasks": tuple(choice for choice in known.tasks if choice.name in tasks),
    }


def _found(root: Path, kind: str, known: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    short = _task_name if kind == "tasks" else _bare
    names = [name if name in known else short(name) for name in wanted]
    if missing := [text for text, name in zip(wanted, names, strict=True) if name not in known]:
        has = ", ".join(known) or "none"
        raise UsageError(
            f"expected some of the {kind} that the pack {root} has ({has}), got {missing[0]}",
            hint=f"choose among those, {_AGAIN}",
        )
    return tuple(names)


def _bare(name: str) -> str:
    """A text by the name that it has in results: its file's."""
    return Path(name).name


def _task_name(name: str) -> str:
    """A task by its name in results, as far as a path tells: its file's name without suffixes."""
    bare = Path(name).name
    for suffix in (".gz", ".jsonl", ".yaml", ".yml"):
        bare = bare.removesuffix(suffix)
    return bare


def _flag(name: str) -> str:
    return next(one.flag for one in options_of(COMPARE, deep=False) if one.keyword == name)


def _disagrees(root: Path, what: str, known: Any, given: Any) -> UsageError:
    return UsageError(
        f"{what}: expected {_shown(known)}, as the pack {root} was made, got {_shown(given)}",
        hint=f"drop it, {_AGAIN}",
    )


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    return value if isinstance(value, str) else json.dumps(value)
