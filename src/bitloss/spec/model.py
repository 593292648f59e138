"""What a user may write where a model is expected.

./models/llama             a directory with config.json and safetensors
./models/llama-q4.gguf     one GGUF file
org/name                   a model on the hub
org/name@revision          at a commit, tag or branch
org/name-GGUF:Q4_K_M       one GGUF of a hub repository, as llama.cpp writes it
org/name.pack              a pack on the hub
gptq-4                     a recipe, wherever a variant is expected
pocket                     the model bundled with bitloss
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bitloss.contents.kinds import is_pack
from bitloss.errors import CheckpointError, UnknownName, UsageError, not_there
from bitloss.spec.calibration import DEFAULT_CALIBRATION, Calibration
from bitloss.spec.recipe import Recipe, common_recipes, is_recipe_name, parse_recipe
from bitloss.spec.ways import Way

__all__ = [
    "BUILTIN_MODELS",
    "PACK_SUFFIX",
    "ModelRef",
    "is_hub_pack",
    "names_pack",
    "parse_model",
    "parse_variant",
]

BUILTIN_MODELS = ("pocket",)
"""Models bundled with bitloss, by name; a directory of that name is `./pocket`."""

PACK_SUFFIX = ".pack"
"""What names of packs end in."""

_PLACES = "give a directory, a .gguf file or a hub id (org/name)"
_HUB = re.compile(r"^[\w.-]+/[\w.-]+(?:@(?P<revision>[\w./-]+))?(?::(?P<quant>[\w.-]+))?$")


@dataclass(frozen=True, slots=True)
class ModelRef:
    """Where a model is to be found, or how it is to be made.

    Attributes:
        text: as the user wrote it; the name in tables.
        kind: ``"path"``, ``"builtin"``, ``"hub"``, ``"recipe"``, or, for a name that only a server
            knows, ``"served"``.
        path: for paths.
        repo: for hub models, ``org/name``.
        revision: for hub models, None is the default branch.
        gguf: for hub models, the wanted GGUF type in upper case, None for safetensors.
        recipe: for recipes.
        replicate_of: for the second and further ones of a recipe that is made several times, what
            the user wrote, which is the first one's name.
        way: how it is run; None is by the run's first engine, as that computes.
        run_of: for a variant that is run in a further way, its name in the first.
    """

    text: str
    kind: Literal["path", "builtin", "hub", "recipe", "served"]
    path: Path | None = None
    repo: str | None = None
    revision: str | None = None
    gguf: str | None = None
    recipe: Recipe | None = None
    replicate_of: str | None = None
    way: Way | None = None
    run_of: str | None = None


def is_hub_pack(text: str) -> bool:
    """Whether a text names a pack on the hub: nothing of that name is here, and it ends in
    ``.pack``.
    """
    match = _HUB.match(text)
    named = match is not None and text.partition("@")[0].endswith(PACK_SUFFIX)
    return named and not text.startswith((".", "~")) and not Path(text).exists()


def names_pack(text: str) -> bool:
    """Whether a text names a pack, here or on the hub; nothing is fetched."""
    return is_pack(Path(text).expanduser()) or is_hub_pack(text)


def parse_model(
    text: str,
    *,
    allow_recipe: bool = False,
    calibration: Calibration = DEFAULT_CALIBRATION,
    seed: int = 0,
) -> ModelRef:
    """Decide what the text means: a bundled model, an existing path, a recipe or a hub id.

    Args:
        text: as the user wrote it.
        allow_recipe: whether a recipe may stand here.
        calibration: for recipes that need a text; see `parse_recipe`.
        seed: for recipes; see `parse_recipe`.

    Raises:
        CheckpointError: it looks like a path and nothing is there.
        UnknownName: it is neither a path nor a hub id nor (where allowed) a recipe.
        UsageError: it is a recipe where none is allowed, or one that cannot be (`parse_recipe`).
    """
    if text in BUILTIN_MODELS:
        return ModelRef(text, "builtin")
    path = Path(text).expanduser()
    if path.exists():
        return ModelRef(text, "path", path=path)
    if is_recipe_name(text):
        if not allow_recipe:
            raise UsageError(f"`{text}` is a recipe; a model is expected here", hint=_PLACES)
        recipe = parse_recipe(text, calibration=calibration, seed=seed)
        return ModelRef(text, "recipe", recipe=recipe)
    match = _HUB.match(text)
    looks_local = text.startswith((".", "/", "~")) or text.endswith((".gguf", ".safetensors"))
    if match is None or looks_local or text.count("/") > 1:
        if "/" not in text and not looks_local:
            raise UnknownName(
                "model or recipe" if allow_recipe else "model", text,
                (*BUILTIN_MODELS, *(common_recipes() if allow_recipe else ())),
                hint="" if allow_recipe else _PLACES,
            )  # fmt: skip
        raise not_there(
            CheckpointError(
                f"no model at `{text}`: no such file or directory",
                hint="check the path, or give a hub id (org/name)",
            )
        )
    repo = text.split("@")[0].split(":")[0]
    quant = match["quant"]
    return ModelRef(
        text, "hub", repo=repo, revision=match["revision"], gguf=quant and quant.upper()
    )


def parse_variant(
    text: str, *, engines: Sequence[str], calibration: Calibration, seed: int
) -> ModelRef:
    """Decide what a variant's name means in a run.

    Args:
        text: as the user wrote it.
        engines: of the run. If all are at an address (``server=URL``), no files are needed, and a
            name that is no path is one that the server knows.
        calibration: for recipes; see `parse_recipe`.
        seed: for recipes; see `parse_recipe`.

    Raises:
        BitlossError: see `parse_model`.
    """
    if all("=" in engine for engine in engines) and not Path(text).expanduser().exists():
        return ModelRef(text, "served")
    return parse_model(text, allow_recipe=True, calibration=calibration, seed=seed)
