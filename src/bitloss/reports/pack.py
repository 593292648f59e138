"""What a pack holds, in short."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from bitloss.results.pack import PackDocument
from bitloss.wording import divergence, join_words, size

__all__ = ["describe_pack", "render_pack"]


def describe_pack(document: PackDocument) -> dict[str, Any]:
    """A pack's identity, size and contents, for ``--json``."""
    return {
        "digest": document.digest,
        "reference": document.reference.name,
        "license": document.reference.license,
        "bytes": document.nbytes,
        "parts": _parts(document),
        "files": len(document.files),
        "arithmetic": document.reference.arithmetic,
        "states": document.reference.states,
        "noise_floors": _floors(document),
        "rounding": _rounding(document),
        "contents": [one.model_dump() for one in document.excerpts],
    }


def render_pack(document: PackDocument) -> RenderableType:
    """The same for people."""
    reference = document.reference
    parts = [f"{name} {size(n)}" for name, n in _parts(document).items()]
    stored = "" if reference.states == "fp32" else f", stored in {reference.states}"
    lines = [
        f"pack of {reference.name} (license: {reference.license or 'not stated'})",
        f"digest {document.digest}",
        f"{size(document.nbytes)} in {len(document.files)} files: {join_words(parts)}",
        f"hidden states in {reference.arithmetic}{stored}",
        *(
            f"noise floor {divergence(value)} nats per token: {name}, engine {engine}"
            for name, floors in _floors(document).items()
            for engine, value in floors.items()
        ),
        *(
            f"of that, {divergence(value)} is what {reference.states} hidden states add: {name}"
            for name, value in _rounding(document).items()
        ),
        *(
            f"holds {one.data}: {one.text} (license: {one.license or 'not stated'})"
            for one in document.excerpts
        ),
    ]
    return Group(*map(Text, lines))


def _parts(document: PackDocument) -> dict[str, int]:
    """Bytes by what they hold."""
    parts = {"hidden states": 0, "head": 0, "tokenizer": 0, "text and records": 0}
    kinds = {"states": "hidden states", "head.safetensors": "head", "tokenizer": "tokenizer"}
    for name, file in document.files.items():
        place = name.partition("/")[0].partition("-")[0]
        parts[kinds.get(place, "text and records")] += file.bytes
    return parts


def _rounding(document: PackDocument) -> dict[str, float]:
    """By corpus or task, what rounded hidden states add to its noise floors, nats per token."""
    if document.reference.states == "fp32":
        return {}
    found = {name: corpus.rounding for name, corpus in document.corpora.items()}
    return found | ({} if document.tasks is None else document.tasks.rounding)


def _floors(document: PackDocument) -> dict[str, dict[str, float]]:
    """By corpus or task and engine, in nats per token."""
    found = {
        name: {engine: floor.kl_divergence for engine, floor in corpus.floors.items()}
        for name, corpus in document.corpora.items()
    }
    if document.tasks is not None:
        for engine, floors in document.tasks.floors.items():
            for name, floor in floors.items():
                found.setdefault(name, {})[engine] = floor.kl_divergence
    return found
