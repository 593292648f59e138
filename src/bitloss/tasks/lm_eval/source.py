"""`SOURCE`: tasks and groups of lm-evaluation-harness by name, made into tasks of bitloss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bitloss.datasets.local import data_directory
from bitloss.errors import UnknownName, UsageError, not_there
from bitloss.spec.fingerprint import canonical_json, sha256_text
from bitloss.tasks.base import Item, Task, TaskFacts, TaskItems, TaskSource, Wanted
from bitloss.tasks.lm_eval.capabilities import capability_of
from bitloss.tasks.lm_eval.harness import harness_version, loading, require_harness, silenced
from bitloss.tasks.lm_eval.identity import config_digest, documents_digest
from bitloss.tasks.lm_eval.items import Kind, kind_of, make_items
from bitloss.tasks.lm_eval.metrics import AGREEMENT, BYTE_PROBABILITY, Metrics, find_metrics
from bitloss.tasks.lm_eval.requests import ask

__all__ = ["SOURCE"]

# Raised by hand whenever a change of the bridge may change a number.
VERSION = 1
_FOLDER = "lm-eval"


# Names --------------------------------------------------------------------------------------------


def _check(wanted: Wanted) -> None:
    """See `TaskSource.check`."""
    require_harness(wanted.name)
    _folders(wanted)


def _tasks(wanted: Wanted) -> tuple[Task, ...]:
    """See `TaskSource.tasks`."""
    require_harness(wanted.name)
    loaded = _load(wanted)
    group = loaded.get("groups", {}).get(wanted.name)
    if group is not None:
        return tuple(_of_group(group, wanted))
    return tuple(_of_leaf(leaf, wanted) for leaf in loaded["tasks"].values())


def _folders(wanted: Wanted) -> list[str]:
    """The folders with task files, later ones going first."""
    folders = [path.expanduser() for path in wanted.include_path]
    for folder in folders:
        if not folder.is_dir():
            raise not_there(
                UsageError(
                    f"expected a folder with task files of lm-eval, got `{folder}`, which is "
                    f"{'a file' if folder.exists() else 'not there'}",
                    hint="correct --include-path (in a suite file: `include_path`)",
                )
            )
        if next(folder.glob("**/*.yaml"), None) is None:
            raise UsageError(
                f"expected a folder with task files of lm-eval, got `{folder}`, which has no "
                ".yaml file",
                hint="correct --include-path (in a suite file: `include_path`)",
            )
    data = data_directory(wanted.data)
    if data is not None and (data / _FOLDER).is_dir():
        folders.insert(0, data / _FOLDER)
    return [str(folder) for folder in folders]


def _load(wanted: Wanted) -> Any:
    """What the harness makes of the name: ``tasks``, ``groups`` and ``group_map``."""
    folders = _folders(wanted)
    with loading(wanted.name):
        from lm_eval.tasks import TaskManager

        # The harness's own fourteen thousand task files take seconds to list: a task that is
        # in the user's folders needs none of them.
        own = TaskManager(include_path=folders, include_defaults=False) if folders else None
        manager = own if own is not None and wanted.name in own.all_subtasks else None
        if manager is None:
            manager = TaskManager(include_path=folders or None)
        if wanted.name not in manager.all_tasks:
            raise UnknownName(
                "lm-eval task",
                wanted.name,
                manager.all_tasks,
                hint="run `lm-eval ls tasks` for a list, or add --include-path DIR for your own",
            )
        _refuse_unanswerable(wanted.name, manager)
        return manager.load([wanted.name])


def _refuse_unanswerable(name: str, manager: Any) -> None:
    """Refuse what shows in the task file alone, before data are fetched."""
    entry = getattr(manager, "task_index", {}).get(name)
    config = getattr(entry, "cfg", None)
    if isinstance(config, dict):
        _refuse(name, config.get)


def _refuse(name: str, setting: Any) -> None:
    """Refuse a task by its configuration.

    Raises:
        UsageError: it shows pictures or sounds, runs programs, or asks for what is not computed.
    """
    if setting("doc_to_image") or setting("doc_to_audio"):
        raise UsageError(
            f"task `lm-eval:{name}` is multimodal: bitloss reads text only",
            hint="leave the task out",
        )
    if setting("unsafe_code"):
        raise UsageError(
            f"task `lm-eval:{name}` runs programs that models write, outside any sandbox",
            hint="use bitloss's own `humaneval` or `humaneval_plus`, or a task file with "
            "`python_tests`",
        )
    listed = setting("metric_list") or []
    metrics = [one.get("metric") for one in listed if isinstance(one, dict)]
    if "acc_mutual_info" in metrics:
        raise UsageError(
            f"task `lm-eval:{name}` asks for the likelihood of options without their question "
            "(`acc_mutual_info`), which bitloss does not support",
            hint="copy the task, without this metric, to a folder of yours: --include-path DIR",
        )


# Groups -------------------------------------------------------------------------------------------


def _of_group(group: Any, wanted: Wanted) -> Iterator[Task]:
    """One task where the harness itself gives one number for the group; else its members."""
    if group.has_aggregation:
        parts = [_part(leaf) for leaf in group.get_all_tasks()]
        shared = _shared(parts)
        if shared is not None:
            yield _task(group.name, parts, shared, wanted, group)
            return
    for child in group:
        if hasattr(child, "get_all_tasks"):
            yield from _of_group(child, wanted)
        else:
            yield _of_leaf(child, wanted)


def _of_leaf(leaf: Any, wanted: Wanted) -> Task:
    part = _part(leaf)
    return _task(leaf.task_name, [part], part.metrics, wanted, None)


@dataclass(frozen=True, slots=True)
class _Part:
    """A task of the harness, tried: what it asks, and its metrics."""

    task: Any
    kind: Kind
    metrics: Metrics


def _part(leaf: Any) -> _Part:
    name = leaf.task_name
    _refuse(name, leaf.get_config)
    if getattr(leaf, "MULTIMODAL", False) or getattr(leaf, "UNSAFE_CODE", False):
        _refuse(name, {"doc_to_image": getattr(leaf, "MULTIMODAL", False), "unsafe_code": True}.get)
    with loading(name):
        asked = ask(leaf, first=1)
        kind = kind_of(name, asked)
        return _Part(leaf, kind, find_metrics(name, asked, kind))


def _shared(parts: Sequence[_Part]) -> Metrics | None:
    """What the parts are graded by together; None if they ask or grade differently."""
    first = parts[0]
    same = [
        metric for metric in first.metrics.scores if all(metric in p.metrics.scores for p in parts)
    ]
    if not same or any(part.kind != first.kind for part in parts):
        return None
    if any(part.metrics.pairs != first.metrics.pairs for part in parts):
        return None
    # Numbers over all documents are of one task: the harness has none for a group.
    return replace(first.metrics, scores=tuple(same), totals=())


# The task -----------------------------------------------------------------------------------------


def _task(name: str, parts: Sequence[_Part], metrics: Metrics, wanted: Wanted, group: Any) -> Task:
    kind = parts[0].kind
    loader = _Loader(name, tuple(parts), metrics, grouped=group is not None)
    loader = replace(loader, ready=loader.items(None))
    metadata = parts[0].task.get_config("metadata")
    facts = TaskFacts(
        name=f"lm-eval:{name}",
        capability=wanted.capability
        or capability_of(name, metadata if isinstance(metadata, dict) else None),
        metrics=_first(metrics.scores, group),
        source=f"lm-evaluation-harness {harness_version()}, task {name}",
        license="not stated",
        n_items=len(loader.ready),
        version=VERSION,
        decoding=kind.decoding,
        samples=kind.repeats if kind.decoding is not None else 1,
        chance=_chance(loader.ready) if kind.request == "loglikelihood" else None,
        groups=_groups(group),
    )
    ordered = replace(metrics, scores=facts.metrics)
    task = Task(
        facts,
        loader.load,
        ordered.grade,
        totals=ordered.total if metrics.totals else None,
    )
    return replace(task, chat=replace(task, load=replace(loader, chat=True).load))


def _first(metrics: Sequence[str], group: Any) -> tuple[str, ...]:
    """The metrics, the one first that the group's own number is made of."""
    listed = [] if group is None else list(group.aggregate_metric_list or [])
    for one in listed:
        wanted = getattr(one, "metric", None)
        filters = getattr(one, "filter_list", None) or ["none"]
        filters = [filters] if isinstance(filters, str) else filters
        for metric in metrics:
            own, _, filtered = metric.partition(",")
            if own == wanted and (filtered or "none") in filters:
                return (metric, *(other for other in metrics if other != metric))
    return tuple(metrics)


def _groups(group: Any) -> dict[str, str]:
    """By task, the subgroup that it is in."""
    if group is None:
        return {}
    return {
        leaf.task_name: child.name
        for child in group
        if hasattr(child, "get_all_tasks")
        for leaf in child.get_all_tasks()
    }


def _chance(items: Sequence[Item]) -> float | None:
    """What guessing one of the options scores; None where nothing is chosen."""
    if any(len(item.options) < 2 for item in items):
        return None
    return sum((1 + len(item.also_right)) / len(item.options) for item in items) / len(items)


@dataclass(frozen=True, slots=True)
class _Loader:
    """Reads the items.

    Attributes:
        name: of the task or group.
        parts: the harness's tasks.
        metrics: that they are graded by.
        grouped: whether each is a subject.
        chat: for the model's template.
        ready: the items with the task's own number of shots, without a template.
    """

    name: str
    parts: tuple[_Part, ...]
    metrics: Metrics
    grouped: bool
    chat: bool = False
    ready: tuple[Item, ...] = field(default=(), repr=False)

    def items(self, shots: int | None) -> tuple[Item, ...]:
        """All of them."""
        items: list[Item] = []
        for part in self.parts:
            with loading(part.task.task_name):
                asked = ask(part.task, shots=shots, chat=self.chat)
                kind = kind_of(part.task.task_name, asked)
                subject = part.task.task_name if self.grouped else ""
                items += make_items(asked, kind, subject=subject)
        return tuple(items)

    def load(self, data: Path | None, *, shots: int | None = None) -> TaskItems:
        """See `bitloss.tasks.base.Load`; the harness has read the data already."""
        del data
        items = self.ready if shots is None and not self.chat else self.items(shots)
        with silenced():
            configs = [config_digest(part.task) for part in self.parts]
            documents = documents_digest(item.data["asked"].doc for item in items)
        config = sha256_text("\n".join(configs))
        versions = ", ".join(dict.fromkeys(_version(part.task) for part in self.parts))
        identity = {
            "harness": harness_version(), "task": self.name, "version": versions,
            "config": config, "documents": documents, "shots": shots, "chat": self.chat,
        }  # fmt: skip
        place = f"lm-eval {harness_version()}, task {self.name}, version {versions}"
        return TaskItems(
            items,
            sha256_text(canonical_json(identity)),
            place,
            (f"{place}: configuration {config[:12]}, documents {documents[:12]}", *self._notes()),
        )

    def _notes(self) -> Iterator[str]:
        if AGREEMENT in self.metrics.scores:
            yield (
                f"`{AGREEMENT}` is whether the predicted label is the right one: the harness has "
                f"only {_words(self.metrics.totals)}, over all documents together"
            )
        if BYTE_PROBABILITY in self.metrics.scores:
            yield (
                f"`{BYTE_PROBABILITY}` is the geometric mean of the probabilities of a text's "
                f"bytes: the harness has {_words(self.metrics.totals)}, over all texts together"
            )


def _version(task: Any) -> str:
    """The version that a task states."""
    metadata = task.get_config("metadata")
    stated = metadata.get("version") if isinstance(metadata, dict) else None
    own = None if task.VERSION == "Yaml" else task.VERSION  # the harness's word for none
    return str(stated or own or "not stated")


def _words(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


SOURCE = TaskSource("lm-eval", _check, _tasks)
