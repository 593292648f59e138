"""Whether two tokenizers mean the same by their ids, and give the same ids for a text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from bitloss.errors import Incomparable, UnsupportedModel
from bitloss.formats.tokenizers.huggingface import HFTokenizer
from bitloss.formats.tokenizers.probe import PROBE
from bitloss.formats.tokenizers.rules import differing_rules, merge_texts, special_tokens_note

__all__ = ["compare_tokenizers", "compare_vocabularies", "require_rows"]

# Rows that exist so that a size comes out round; no text ever becomes one of them.
_PLACEHOLDER = re.compile(
    r"^[<\[](\||)?_*(pad|unused|dummy|reserved|extra|fim_pad|placeholder)[\w .:-]*(\||)?[>\]]$",
    re.IGNORECASE,
)


_WORD = re.compile(r"\s*\S+|\s+$")
# Special tokens that are tried: some vocabularies reserve thousands.
_SPECIAL = 64
_SAME = (
    "copy the reference's tokenizer files into the variant if its weights were made from the "
    "reference, else compare a quantized copy of it"
)


def compare_tokenizers(reference: HFTokenizer, variant: HFTokenizer) -> tuple[str, ...]:
    """Hold a variant's own tokenizer against the run's: vocabulary, rules and ids of a probe.

    Returns:
        What a reader of the variant's results should know.

    Raises:
        Incomparable: an id stands for different tokens, or a text has different ids; names the
            first.
    """
    notes = [compare_vocabularies(reference, variant)]
    try:
        variant.hf  # noqa: B018 - a vocabulary can be compared where a tokenizer cannot be built
    except UnsupportedModel as error:
        notes.append(f"its own tokenizer was compared by its tokens only: {error.message}")
        return tuple(filter(None, notes))
    if reference.added != variant.added:
        raise Incomparable(
            f"different tokenizers: the reference {_adds(reference)}, the variant {_adds(variant)}",
            hint=_SAME,
        )
    notes.append(special_tokens_note(reference, variant))
    for piece in (*PROBE, *_special_texts(reference), *merge_texts(reference, variant)):
        difference = _difference(reference, variant, piece)
        if not difference:
            continue
        if variant.unknown_splitting:
            notes.append(f"{variant.unknown_splitting}; {difference}")
            break
        if _is_prefix_rule(variant, piece):
            notes.append(
                f"leading blanks are encoded differently by its own tokenizer: {difference}"
            )
            break
        raise Incomparable(f"different tokenizers: {difference}", hint=_SAME)
    else:
        if rules := differing_rules(reference, variant):
            notes.append(
                f"its own tokenizer.json differs in {', '.join(f'`{rule}`' for rule in rules)}; "
                "no text that was tried shows it"
            )
    return tuple(filter(None, notes))


def _difference(reference: HFTokenizer, variant: HFTokenizer, piece: str) -> str:
    """Where the ids of a text part, in words; empty where they do not."""

    def both(text: str) -> tuple[list[int], list[int]]:
        ours, theirs = (side.encode(text, special=False).tolist() for side in (reference, variant))
        return ours, theirs

    ours, theirs = both(piece)
    if ours == theirs:
        return ""
    # A word shows it best, if a word alone shows it.
    for word in _WORD.findall(piece):
        mine, other = both(word)
        if mine != other:
            piece, ours, theirs = word, mine, other
            break
    at = next(
        (n for n, (mine, other) in enumerate(zip(ours, theirs, strict=False)) if mine != other),
        min(len(ours), len(theirs)),
    )
    where = f" (from token {at})" if at else ""
    return (
        f"{piece!r} becomes {_around(ours, at)} in the reference and {_around(theirs, at)} in the "
        f"variant{where}"
    )


def _around(ids: Sequence[int], at: int) -> str:
    more = " ..." if len(ids) > at + 5 else ""
    return f"[{' '.join(map(str, ids[at : at + 5]))}{more}]"


def _special_texts(tokenizer: HFTokenizer) -> Iterator[str]:
    """Special tokens at the end of a text: GGUF files do not store what they do to blanks after."""
    for token in tokenizer.hf.all_special_tokens[:_SPECIAL]:
        yield f"a{token}"


def _is_prefix_rule(variant: HFTokenizer, piece: str) -> bool:
    """Whether llama.cpp's rule for leading blanks may differ from that of a tokenizer.json.

    As SentencePiece does, llama.cpp puts a blank before any text; `tokenizers` puts none before a
    text that begins with one (``Metaspace``).
    """
    return variant.listed is not None and variant.listed.model == "llama" and piece[0] == " "


def _adds(tokenizer: HFTokenizer) -> str:
    before, behind = (
        " ".join(map(str, tokenizer.hf.convert_ids_to_tokens(list(ids)))) for ids in tokenizer.added
    )
    parts = [
        f"puts {before} before a text" * bool(before),
        f"puts {behind} behind it" * bool(behind),
    ]
    return " and ".join(filter(None, parts)) or "adds nothing to a text"


def compare_vocabularies(reference: HFTokenizer, variant: HFTokenizer) -> str:
    """Hold two vocabularies against each other, id by id.

    Returns:
        An empty string where they are identical, else a note on padding: rows at the end that
        only one of them has and that no text becomes.

    Raises:
        Incomparable: an id stands for different tokens; names the first.
    """
    ours, theirs = _by_id(reference), _by_id(variant)
    padding = {"reference": 0, "variant": 0}
    for number in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(number), theirs.get(number)
        if mine == other or _spelled_alike(mine, other):
            continue
        if mine is None and _is_padding(number, other, variant):
            padding["variant"] += 1
        elif other is None and _is_padding(number, mine, reference):
            padding["reference"] += 1
        else:
            raise Incomparable(
                f"different vocabularies: id {number} is {_shown(mine)} in the reference and "
                f"{_shown(other)} in the variant",
                hint="compare a quantized copy of the reference, tokenizer included",
            )
    parts = [f"{count} rows in the {side} only" for side, count in padding.items() if count]
    return f"padded vocabulary: {' and '.join(parts)}" if parts else ""


def require_rows(tokenizer: HFTokenizer, rows: int, name: str) -> None:
    """Refuse a model with fewer rows than a tokenizer has tokens, placeholders at the end aside.

    Args:
        tokenizer: the run's.
        rows: of the model's embedding and head.
        name: the model's.

    Raises:
        Incomparable: a token has no row; names the first.
    """
    for number, token in sorted(_by_id(tokenizer).items()):
        if number >= rows and not _is_padding(number, token, tokenizer):
            raise Incomparable(
                f"{name} has {rows} rows, of its embedding and head; token {_shown(token)} of the "
                f"reference's tokenizer is number {number}",
                hint="use a quantized copy of the reference, with all of its rows",
            )


def _by_id(tokenizer: HFTokenizer) -> dict[int, str]:
    if tokenizer.listed is not None:  # where a token may stand twice
        return dict(enumerate(tokenizer.listed.tokens))
    return {number: token for token, number in tokenizer.vocabulary().items()}


def _is_padding(number: int, token: str | None, owner: HFTokenizer) -> bool:
    """Whether a token that the other side lacks is never met in text."""
    if token is None:
        return True
    if _PLACEHOLDER.match(token):
        return True
    if owner.listed is not None:
        return number in owner.listed.unused
    return bool(number == owner.hf.pad_token_id)


def _spelled_alike(one: str | None, other: str | None) -> bool:
    # llama.cpp's converter writes the blanks of user-defined tokens as blanks.
    if one is None or other is None:
        return False
    return one.replace("\u2581", " ") == other.replace("\u2581", " ")


def _shown(token: str | None) -> str:
    return "nothing" if token is None else repr(token)
