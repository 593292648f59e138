"""A model card as a file: a new one, or a README whose other parts stay byte for byte as they are.

Ours are the lines between two markers, the keys ``base_model`` and ``base_model_relation`` where
the README has none, and those results in ``model-index`` that say they were measured with bitloss.
Everything else in the metadata is left as it was typed, with its comments; a second update with
the same result changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bitloss.errors import DataError
from bitloss.files import write_text
from bitloss.reports.card import CardContent, section
from bitloss.reports.card_metadata import MEASURED_WITH, metadata
from bitloss.spec.yaml_text import YamlFault, load_yaml

__all__ = ["BEGIN", "END", "new_card", "update_file", "updated_card"]

BEGIN = "<!-- bitloss: begin -->"
END = "<!-- bitloss: end -->"

_FENCE = "---"
_HINT = "correct the README's metadata, or write a card of its own with --out"


def new_card(content: CardContent) -> str:
    """A whole card: metadata, the model's name, the section.

    Raises:
        DataError: the hub's library refuses the metadata.
    """
    return updated_card(f"# {content.model_name}\n", content)


def updated_card(readme: str, content: CardContent, *, replace_base_model: bool = False) -> str:
    """A README with our part of it replaced.

    Args:
        readme: its text; line ends and a byte order mark are kept.
        content: what there is to say.
        replace_base_model: whether a base model that is there gives way.

    Raises:
        DataError: the README's metadata cannot be read, a marker stands alone, or the hub's
            library refuses the result.
    """
    mark = "\ufeff" if readme.startswith("\ufeff") else ""
    text = readme.removeprefix("\ufeff")
    newline = "\r\n" if "\r\n" in text else "\n"
    head, body = _split(text.replace("\r\n", "\n"))
    old = _parsed(head)
    wanted = _merged(old, metadata(content), replace_base_model=replace_base_model)
    head = _with_keys(head, wanted)
    body = _with_section(body, section(content))
    card = f"{_FENCE}\n{head}{_FENCE}\n{body}"
    _validate(card, {**old, **wanted})
    return mark + card.replace("\n", newline)


def update_file(path: Path, content: CardContent, *, replace_base_model: bool = False) -> Path:
    """Update a README in place; a directory without one gets a new card.

    Args:
        path: of the README, or of the directory that it is in.
        content: what there is to say.
        replace_base_model: whether a base model that is there gives way.

    Returns:
        The README.

    Raises:
        DataError: there is no such file, it is not UTF-8, or see `updated_card`.
        StorageError: it cannot be written.
    """
    target = path / "README.md" if path.is_dir() else path
    if path.is_dir() and not target.exists():
        write_text(target, new_card(content))
        return target
    try:
        readme = target.read_bytes().decode("utf-8")
    except OSError as error:
        raise DataError(
            f"cannot read {target}: {error.strerror or error}",
            hint="give a README.md, or the directory of a model",
        ) from error
    except UnicodeDecodeError as error:
        raise DataError(
            f"expected UTF-8 text, got byte 0x{error.object[error.start]:02x} at offset "
            f"{error.start} of {target}",
            hint="convert it, for example: iconv -f latin1 -t utf-8",
        ) from error
    card = updated_card(readme, content, replace_base_model=replace_base_model)
    if card != readme:
        write_text(target, card)
    return target


def _split(text: str) -> tuple[str, str]:
    """The metadata's lines, and what follows them."""
    match = re.match(r"\s*---[ \t]*\n(.*?\n|)---[ \t]*(?:\n|$)", text, re.DOTALL)
    if match is None:
        return "", f"\n{text}" if text else ""
    return match.group(1), text[match.end() :]


def _parsed(head: str) -> dict[str, Any]:
    try:
        values = load_yaml(head)
    except YamlFault as error:
        raise DataError(f"the README's metadata cannot be read: {error}", hint=_HINT) from error
    if not isinstance(values, dict | None):
        raise DataError(
            f"expected keys and values in the README's metadata, got {type(values).__name__}",
            hint=_HINT,
        )
    return values or {}


def _merged(
    old: Mapping[str, Any], ours: Mapping[str, Any], *, replace_base_model: bool
) -> dict[str, Any]:
    """Our keys with their new values; keys that stay are not in it."""
    wanted = {}
    if "base_model" in ours and (replace_base_model or not old.get("base_model")):
        wanted = {key: ours[key] for key in ("base_model", "base_model_relation")}
    elif old.get("base_model") and not old.get("base_model_relation"):
        wanted = {"base_model_relation": "quantized"}
    wanted["model-index"] = _merged_index(old.get("model-index") or [], ours["model-index"])
    return {key: value for key, value in wanted.items() if old.get(key) != value}


def _merged_index(old: Any, ours: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results of others first, as they were; then ours."""
    (entry,) = ours
    try:
        others = [
            result
            for model in old
            for result in model["results"]
            if MEASURED_WITH not in (result["dataset"].get("args") or {})
        ]
        name = old[0]["name"] if others else entry["name"]
    except (TypeError, KeyError, AttributeError, IndexError) as error:
        raise DataError("the README's model-index is not in the hub's form", hint=_HINT) from error
    if not others:
        return ours
    if len(old) > 1:
        raise DataError(
            f"expected one model in the README's model-index, got {len(old)}", hint=_HINT
        )
    return [{**old[0], "name": name, "results": [*others, *entry["results"]]}]


def _with_keys(head: str, wanted: Mapping[str, Any]) -> str:
    """The metadata's lines with some keys replaced or added."""
    import yaml

    lines = head.splitlines(keepends=True)
    for key, value in wanted.items():
        new = yaml.safe_dump(
            {key: value}, sort_keys=False, allow_unicode=True, width=10_000
        ).splitlines(keepends=True)
        node = yaml.compose("".join(lines), Loader=yaml.SafeLoader)
        places = node.value if isinstance(node, yaml.MappingNode) else []
        if isinstance(node, yaml.MappingNode) and node.flow_style:
            raise DataError("the README's metadata are in braces, on one line", hint=_HINT)
        nodes = [(k, v) for k, v in places if k.value == key]
        if not nodes:
            lines += new
            continue
        start, stop = nodes[0][0].start_mark.line, nodes[0][1].end_mark.line
        if nodes[0][1].end_mark.column > 0:
            stop += 1
        # A block's end is where the next begins: what stands between is not its own.
        while stop > start + 1 and lines[stop - 1].lstrip()[:1] in ("", "#"):
            stop -= 1
        lines[start:stop] = new
    return "".join(lines)


def _with_section(body: str, text: str) -> str:
    ours = f"{BEGIN}\n{text}{END}"
    begins, ends = body.count(BEGIN), body.count(END)
    if (begins, ends) == (0, 0):
        gap = "" if not body or body.endswith("\n\n") else "\n" if body.endswith("\n") else "\n\n"
        return f"{body}{gap}{ours}\n"
    start, stop = body.find(BEGIN), body.find(END)
    if (begins, ends) != (1, 1) or stop < start:
        raise DataError(
            f"expected one `{BEGIN}` and one `{END}` after it in the README, got {begins} and "
            f"{ends}",
            hint="remove them: the section is then written at the end",
        )
    return body[:start] + ours + body[stop + len(END) :]


def _validate(card: str, wanted: Mapping[str, Any]) -> None:
    """What the hub's library reads from the card is what was meant, and all that was there."""
    from huggingface_hub import ModelCard
    from huggingface_hub.repocard_data import model_index_to_eval_results

    head, _ = _split(card)
    if _parsed(head) != wanted:
        raise DataError("the README's metadata cannot be changed in place", hint=_HINT)
    try:
        read = ModelCard(card).data
        _, results = model_index_to_eval_results(wanted["model-index"])
        if read.get("eval_results") != results:
            raise ValueError("the results it reads are not those that were written")
        for key in ("base_model", "base_model_relation"):
            if read.get(key) != wanted.get(key):
                raise ValueError(f"it reads another {key}")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"the hub's library refuses the card: {error}", hint=_HINT) from error
