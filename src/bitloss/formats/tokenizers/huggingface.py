"""A tokenizer of transformers as the run uses it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from bitloss.errors import CheckpointError, UsageError
from bitloss.formats.gguf.tokenizer.vocabulary import Vocabulary
from bitloss.formats.storage.directory import parse_file
from bitloss.requests import Conversation
from bitloss.spec.fingerprint import canonical_json, sha256_text
from bitloss.types import IntArray

__all__ = ["HFTokenizer", "eos_ids", "read_json"]

# What transformers gives every template: nobody else has to.
_NOT_ARGUMENTS = frozenset(
    {"messages", "tools", "documents", "add_generation_prompt", "raise_exception", "strftime_now",
     "bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token",
     "additional_special_tokens"}
)  # fmt: skip


@dataclass(frozen=True)
class HFTokenizer:
    """Satisfies `bitloss.types.TextTokenizer` with a tokenizer of transformers.

    Attributes:
        load: makes the transformers object; called once, when it is first needed.
        listed: for GGUF, the vocabulary as the file has it.
        unknown_splitting: why the files do not tell how text is split before it is encoded; empty
            where they do.
    """

    load: Callable[[], Any]
    listed: Vocabulary | None = None
    unknown_splitting: str = ""

    @cached_property
    def hf(self) -> Any:
        """The transformers object."""
        return self.load()

    @property
    def bos_id(self) -> int | None:
        """Id of the beginning-of-sequence token, if there is one."""
        return None if self.hf.bos_token_id is None else int(self.hf.bos_token_id)

    @property
    def eos_id(self) -> int | None:
        """Id of the end-of-sequence token, if there is one."""
        return None if self.hf.eos_token_id is None else int(self.hf.eos_token_id)

    @cached_property
    def adds_bos(self) -> bool:
        """Whether encoding with special tokens puts BOS in front."""
        ids = self.encode("a", special=True)
        return self.bos_id is not None and len(ids) > 1 and int(ids[0]) == self.bos_id

    @cached_property
    def added(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Ids that the tokenizer's own rules put before a text and behind it."""
        plain, whole = (self._ids("a", special=special).tolist() for special in (False, True))
        count = len(whole) - len(plain)
        for before in range(count + 1):
            if whole[before : before + len(plain)] == plain:
                return tuple(whole[:before]), tuple(whole[before + len(plain) :])
        return (), ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader of results with this tokenizer should know."""
        before, behind = self.added
        notes = []
        if self.unknown_splitting:
            notes.append(self.unknown_splitting)
        if behind:
            names = ", ".join(self._name(token) for token in behind)
            notes.append(
                f"the tokenizer appends {names} to a text: it is not scored, and not put before "
                "an answer"
            )
        if self.bos_id is not None and self.bos_id not in before:
            notes.append(f"the tokenizer has a BOS ({self._name(self.bos_id)}) and does not add it")
        return tuple(notes)

    def _name(self, token: int) -> str:
        return f"`{self.hf.convert_ids_to_tokens(token)}`"

    @property
    def size(self) -> int:
        """Number of tokens, added ones included."""
        return len(self.hf) if self.listed is None else len(self.listed.tokens)

    @cached_property
    def digest(self) -> str:
        """Sha256 (hex) over everything that decides the ids of a text."""
        backend = getattr(self.hf, "backend_tokenizer", None)
        rules = json.loads(backend.to_str()) if backend is not None else type(self.hf).__name__
        if isinstance(rules, dict):  # set by calls, not by the files
            rules = {key: rules[key] for key in rules if key not in ("truncation", "padding")}
        special = [self.bos_id, self.eos_id, self.adds_bos]
        return sha256_text(canonical_json([rules, self.vocabulary(), special]))

    def vocabulary(self) -> dict[str, int]:
        """Ids by token string, as the tokenizer's files spell it."""
        if self.listed is not None:
            return {token: number for number, token in enumerate(self.listed.tokens)}
        return {token: int(number) for token, number in self.hf.get_vocab().items()}

    def encode(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        """Token ids of `text`, shape ``[n]``.

        Args:
            text: what is encoded.
            special: let the tokenizer put its tokens (BOS) before the text. What it would put
                behind is left off: an EOS is no part of the text, and nothing comes after it.
            parse_special: read the texts of special tokens as these tokens, not as text.
        """
        ids = self._ids(text, special=special, parse_special=parse_special)
        behind = len(self.added[1]) if special else 0
        return ids[: len(ids) - behind]

    def _ids(self, text: str, *, special: bool, parse_special: bool = True) -> IntArray:
        # verbose: the length warning is about the model's context, which windows respect.
        encoding = self.hf(
            text, add_special_tokens=special, verbose=False, return_attention_mask=False,
            return_token_type_ids=False, split_special_tokens=not parse_special,
        )  # fmt: skip
        return np.asarray(encoding["input_ids"], dtype=np.int32)

    def decode(self, ids: Sequence[int], *, keep: Collection[str] = ()) -> str:
        """Text of generated ids; ids that nobody has are left out.

        Args:
            ids: token ids.
            keep: special tokens that stay in the text; all others are left out.
        """
        if not keep:
            text: str = self.hf.decode(list(ids), skip_special_tokens=True)
            return text
        left_out = {n for n, token in self._special.items() if token not in keep}
        kept: str = self.hf.decode([n for n in ids if n not in left_out], skip_special_tokens=False)
        return kept

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids, special tokens included and nothing tidied up."""
        text: str = self.hf.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def piece(self, token: int) -> str:
        """The text that a token adds within a text; bytes that are no character are U+FFFD."""
        before, anchor = self._anchor
        return self.text([*anchor, token]).removeprefix(before)

    @cached_property
    def _anchor(self) -> tuple[str, list[int]]:
        """A text and its ids: some decoders take a blank off the first token of a text."""
        ids = self.encode("a", special=False).tolist()
        return self.text(ids), ids

    @cached_property
    def _special(self) -> dict[int, str]:
        """Texts of the tokens that decoding leaves out, by id."""
        added = self.hf.added_tokens_decoder.items()
        return {int(n): str(token.content) for n, token in added if token.special}

    @property
    def bos_text(self) -> str:
        """The beginning-of-sequence token as text; empty where there is none."""
        return str(self.hf.bos_token or "")

    def chat(self, conversations: Sequence[Conversation]) -> tuple[str, Conversation]:
        """A conversation in the model's chat template, up to where the answer begins.

        The text has the template's special tokens in it, so it is encoded without adding any.

        Args:
            conversations: the same in several ways, for templates that do not take all roles.

        Returns:
            The text, and the first conversation that the template takes.

        Raises:
            UsageError: the tokenizer has no template, or the template refuses a message, takes no
                tools, or does not know an argument.
        """
        if not self.hf.chat_template:
            raise UsageError(
                f"the tokenizer of {self.hf.name_or_path} has no chat template",
                hint="drop --chat, or use a chat-tuned model",
            )
        from jinja2 import TemplateError

        refused: Exception | None = None
        for conversation in conversations:
            self._require_arguments(conversation.arguments)
            try:
                text = self._rendered(conversation)
            # A template may do arithmetic on what it is given: a message without content.
            except (TemplateError, TypeError) as error:
                refused = error
                continue
            if conversation.tools and text == self._rendered(replace(conversation, tools=())):
                raise UsageError(
                    f"the chat template of {self.hf.name_or_path} takes no tools",
                    hint="omit the tasks that have tools, or use a model that was trained to call "
                    "them",
                )
            return text, conversation
        raise UsageError(
            f"the chat template of {self.hf.name_or_path} refuses a message: {refused}",
            hint="drop --chat, or correct tokenizer_config.json or chat_template.jinja",
        ) from refused

    def _rendered(self, conversation: Conversation) -> str:
        text: str = self.hf.apply_chat_template(
            [dict(message) for message in conversation.messages],
            tools=[dict(tool) for tool in conversation.tools] or None,
            tokenize=False,
            add_generation_prompt=True,
            **conversation.arguments,
        )
        return text

    def _require_arguments(self, arguments: Collection[str]) -> None:
        """Refuse what the template would ignore without a word."""
        if not arguments:
            return
        from jinja2 import Environment, meta

        templates = self.hf.chat_template
        texts = templates.values() if isinstance(templates, dict) else [templates]
        known: set[str] = set()
        for text in texts:
            environment = Environment(extensions=["jinja2.ext.loopcontrols"])
            # Blocks that transformers adds are not part of the question here.
            text = re.sub(r"\{%-?\s*(?:end)?generation\s*-?%\}", "", text)
            known |= meta.find_undeclared_variables(environment.parse(text))
        own = known - _NOT_ARGUMENTS
        if unknown := [name for name in arguments if name not in own]:
            takes = f"it takes {', '.join(sorted(own))}" if own else "it takes none"
            raise UsageError(
                f"the chat template of {self.hf.name_or_path} has no argument `{unknown[0]}`; "
                f"{takes}",
                hint="correct or remove --template-arg",
            )


def eos_ids(tokenizer: HFTokenizer, path: Path) -> frozenset[int]:
    """Tokens that end a generation: the tokenizer's, and those of the model's own settings.

    These are what transformers' `generate` stops at: ``generation_config.json`` (a chat model's
    end of turn often stands only there), or ``config.json`` where that is absent.

    Args:
        tokenizer: the model's.
        path: its directory; a file, or a directory without settings, adds nothing.

    Raises:
        CheckpointError: the settings are not JSON, or not ids.
    """
    found = set() if tokenizer.eos_id is None else {tokenizer.eos_id}
    file = path / "generation_config.json"
    if not file.is_file():
        file = path / "config.json"
    value = read_json(file).get("eos_token_id")
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(number, int) for number in values):
        raise CheckpointError(
            f"{file}: `eos_token_id` is {value!r}; expected a token id or a list of them",
            hint="correct it, or download the file again",
        )
    return frozenset(found.union(values))


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file; empty where there is no file.

    Raises:
        CheckpointError: not JSON, or no object.
    """
    if not file.is_file():
        return {}
    value = parse_file(file.read_bytes(), file)
    if not isinstance(value, dict):
        raise CheckpointError(
            f"{file}: expected a JSON object, got {type(value).__name__}",
            hint="download or copy it again",
        )
    return value
