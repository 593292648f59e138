"""Token ids as a server takes them, and whether it reads the same ids from a text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np

from bitloss.engines.server.client import Client
from bitloss.engines.server.probe import Offers
from bitloss.engines.tokens_read import first_difference, some_tokens, texts_to_try
from bitloss.errors import Incomparable, ServerError
from bitloss.formats.tokenizers.probe import PROBE
from bitloss.types import ExactTokenizer, IntArray

__all__ = ["Tokens"]


class Tokens:
    """Token ids and a server's view of them.

    Args:
        client: of the server.
        offers: of the model there.
        tokenizer: the reference's.
        name: of the variant, for errors.
    """

    def __init__(
        self, client: Client, offers: Offers, tokenizer: ExactTokenizer, name: str
    ) -> None:
        self._client = client
        self._offers = offers
        self._tokenizer = tokenizer
        self._name = name

    def prompt(self, ids: IntArray) -> list[int] | str:
        """What a request's ``prompt`` is.

        Raises:
            Incomparable: the server takes text only, and reads other ids from it.
        """
        if self._offers.token_ids:
            return [int(n) for n in ids]
        text = self.text(ids)
        found = self._read(text)
        if found is not None and not np.array_equal(found, ids):
            at = first_difference(found, ids)
            raise Incomparable(
                f"{self._name}: the server takes only text, and tokenizes it differently from "
                f"the reference: at {at}, expected {some_tokens(ids, at)}, got "
                f"{some_tokens(found, at)}",
                hint="serve the model with a server that takes prompts of token ids (vLLM), or use "
                "--engine llama.cpp for GGUF files",
            )
        return text

    def require_count(self, answer: Mapping[str, Any], expected: int) -> None:
        """Compare the number of tokens that the server says it has read, where only text was sent.

        Args:
            answer: to a completion.
            expected: tokens of the prompt, a BOS included.

        Raises:
            Incomparable: it has read more or fewer: a BOS of its own, or none.
        """
        used = answer.get("usage")
        read = used.get("prompt_tokens") if isinstance(used, Mapping) else None
        if not self._offers.token_ids and isinstance(read, int) and read != expected:
            raise Incomparable(
                f"{self._name}: expected the server to read {expected} tokens from a text, got "
                f"{read}",
                hint="serve the model with a server that takes prompts of token ids (vLLM, "
                "llama-server)",
            )

    def require_template(self, answer: Mapping[str, Any], expected: int) -> None:
        """Compare the number of tokens of a conversation in the server's chat template and in the
        reference's.

        Args:
            answer: to a conversation.
            expected: tokens in the reference's template.

        Raises:
            Incomparable: another template, or the same with other arguments, was applied.
        """
        used = answer.get("usage")
        read = used.get("prompt_tokens") if isinstance(used, Mapping) else None
        if isinstance(read, int) and read != expected:
            raise Incomparable(
                f"{self._name}: expected a conversation to have {expected} tokens in the server's "
                f"chat template, as in the reference's, got {read}",
                hint="serve the model with the reference's chat template and its arguments, or "
                "with completions, too",
            )

    @property
    def bos_id(self) -> int | None:
        """Of the reference."""
        return self._tokenizer.bos_id

    def piece(self, token: int) -> str:
        """The text that a token adds within a text."""
        return self._tokenizer.piece(token)

    def reread(self, ids: IntArray) -> IntArray:
        """The ids that are read from the text of some, a BOS kept."""
        text = self.text(ids)
        found = self._read(text)
        return self._tokenizer.encode(text, special=self.adds_bos) if found is None else found

    def text(self, ids: IntArray) -> str:
        """The text of ids, without the BOS that a server puts before it by itself."""
        bos = self._tokenizer.bos_id
        own = ids[1:] if self.adds_bos and len(ids) and int(ids[0]) == bos else ids
        return self._tokenizer.text([int(n) for n in own])

    @cached_property
    def adds_bos(self) -> bool:
        """Whether the server puts a BOS before a text: as it says, or as the tokenizer does."""
        found = self._read("a")
        if found is None:
            return self._tokenizer.adds_bos
        return len(found) > 1 and int(found[0]) == self._tokenizer.bos_id

    def require_same(self) -> None:
        """Compare tokens of texts that tokenizers are known to disagree on, and the texts of their
        tokens.

        Raises:
            Incomparable: they do.
        """
        self.require_same_of(texts_to_try(self._tokenizer))
        if self._offers.detokenize is not None and not self._offers.returns_ids:
            self._require_same_texts(*self._offers.detokenize)

    def require_same_of(self, texts: Sequence[str]) -> None:
        """Compare tokens of texts; does nothing where the server does not tell its own.

        Raises:
            Incomparable: they differ.
        """
        if self._offers.tokenize is None:
            return
        path, field, more = self._offers.tokenize
        bodies = [{"model": self._offers.model, field: text, **more} for text in texts]
        for index, answer in self._client.post_all(path, bodies):
            text = texts[index]
            found = self._plain(self._ids(answer))
            ours = self._plain(self._tokenizer.encode(text, special=False))
            if not np.array_equal(found, ours):
                at = first_difference(found, ours)
                raise Incomparable(
                    f"{self._name}: the served model has a different tokenizer: of {text!r}, "
                    f"expected {some_tokens(ours, at)} at {at}, got {some_tokens(found, at)}",
                    hint="serve a quantized copy of the reference, with its tokenizer",
                )

    def _require_same_texts(self, path: str, field: str) -> None:
        """Compare what ids become: texts that are written are had as text only."""
        encode = self._tokenizer.encode
        both = (
            (encode(text, special=False), encode(text, special=False, parse_special=False))
            for text in PROBE
        )
        # Texts of special tokens are left out by some servers, and kept by others.
        ids = [parsed.tolist() for parsed, plain in both if np.array_equal(parsed, plain)]
        bodies = [{"model": self._offers.model, "tokens": own} for own in ids]
        for index, answer in self._client.post_all(path, bodies):
            found, ours = answer.get(field), self._tokenizer.text(ids[index])
            # Some put a blank before a text, and some take one off.
            if not isinstance(found, str) or found.lstrip(" ") != ours.lstrip(" "):
                raise Incomparable(
                    f"{self._name}: the served model decodes tokens to other text: of "
                    f"{some_tokens(ids[index], 0)}, expected {ours!r}, got {found!r}",
                    hint="serve a quantized copy of the reference, with its tokenizer",
                )

    def _plain(self, ids: IntArray) -> IntArray:
        """Without a BOS."""
        starts = len(ids) > 0 and int(ids[0]) == self._tokenizer.bos_id
        return ids[1:] if starts else ids

    def _read(self, text: str) -> IntArray | None:
        """The ids that the server reads from a text; None if it does not say."""
        if self._offers.tokenize is None:
            return None
        path, field, more = self._offers.tokenize
        return self._ids(
            self._client.post(path, {"model": self._offers.model, field: text, **more})
        )

    def _ids(self, answer: Mapping[str, Any]) -> IntArray:
        ids = answer.get("tokens")
        if not isinstance(ids, list) or not all(isinstance(n, int) for n in ids):
            raise ServerError(
                f"server {self._client.root}: expected a list of token ids, got "
                f"{type(ids).__name__}",
                hint="check the server's log",
            )
        return np.array(ids, dtype=np.int32)

    def id_of(self, key: str) -> int:
        """The token that a key of a server's log-probabilities means; -1 where that is not certain.

        Args:
            key: an id (vLLM), ``token_id:`` and an id, or a token's text.
        """
        if self._offers.scoring == "prompt_logprobs":
            return int(key) if key.isdecimal() else -1
        if key.startswith("token_id:") and key[9:].isdecimal():
            return int(key[9:])
        return self._by_text.get(key, -1)

    @cached_property
    def _by_text(self) -> Mapping[str, int]:
        """Tokens by their text, those that share theirs left out.

        A server writes a token of incomplete bytes with or without a replacement character. Either
        may be the text of another token, which is then uncertain, too.
        """
        texts = [self._tokenizer.piece(n) for n in range(self._tokenizer.size)]
        shown = [{text, text.replace("\ufffd", "")} for text in texts]
        count = Counter(text for both in shown for text in both)
        return {
            text: n
            for n, text in enumerate(texts)
            if text and count[text] == 1 and "\ufffd" not in text
        }
