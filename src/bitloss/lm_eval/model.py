"""`BitlossLM`: a model of lm-evaluation-harness 0.4.13 that bitloss's engines run.

Requests become token ids as the harness's own `hf` makes them: prompt and continuation are encoded
together, what does not fit is cut off from the left, and long texts roll over in windows. So its
numbers are comparable with those of every other model of the harness, item by item.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lm_eval.models  # noqa: F401 - the harness lists its own only while it knows none
import numpy as np
import torch
from lm_eval import utils
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model

from bitloss._version import __version__
from bitloss.errors import UsageError
from bitloss.lm_eval.engine import open_model
from bitloss.requests import GenerateRequest
from bitloss.tasks.lm_eval.generation import decoding_of
from bitloss.types import Window

__all__ = ["BitlossLM"]

_Encoded = tuple[Any, list[int], list[int]]


@register_model("bitloss")
class BitlossLM(TemplateLM):  # type: ignore[misc] # the harness's class has no types here
    """A model in one of bitloss's engines.

    Args:
        path: a directory, a GGUF file or a hub name, in any format that bitloss reads.
        pretrained: the same, as the harness's other models call it.
        reference: a model whose tokenizer is used, for a file that has none.
        engine: ``dense`` (default), ``llama.cpp`` or ``packed``.
        dtype: arithmetic: ``fp32`` (default), ``mixed`` or ``bf16``.
        device: a torch device; ``cuda:0`` is the harness's own default, in whose place the CPU is
            used where there is no such device, as `hf` does.
        max_length: tokens read at once, fewer than the model's own context.
        batch_tokens: tokens in one forward.
        trust_remote_code: run a model's own Python code.
        batch_size: the harness's; not used: prompts are put together by what they have in common.
        max_batch_size: likewise.

    Raises:
        BitlossError: the model cannot be found, opened or run.
    """

    def __init__(
        self,
        path: str | None = None,
        *,
        pretrained: str | None = None,
        reference: str | None = None,
        engine: str = "dense",
        dtype: str = "fp32",
        device: str | None = None,
        max_length: int | None = None,
        batch_tokens: int = 2048,
        trust_remote_code: bool = False,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        del batch_size, max_batch_size
        if (path is None) == (pretrained is None):
            raise UsageError(
                f"expected one model, got `path={path}` and `pretrained={pretrained}`",
                hint="write --model_args path=MODEL",
            )
        self._asked = open_model(
            str(path or pretrained), reference=reference, engine=engine, dtype=dtype,
            device=_device(device), batch_tokens=int(batch_tokens),
            trust_remote_code=bool(trust_remote_code),
        )  # fmt: skip
        own = self._asked.context
        if max_length is not None and not 1 < int(max_length) <= own:
            raise UsageError(
                f"expected `max_length` of 2 to {own}, the model's context, got {max_length}",
                hint="omit max_length",
            )
        self.max_length = own if max_length is None else int(max_length)
        self.tokenizer = self._asked.tokenizer.hf

    # What the harness asks of a tokenizer -------------------------------------------------------

    @property
    def eot_token_id(self) -> int:
        """What ends a text; the token that begins one where there is none."""
        tokenizer = self._asked.tokenizer
        return tokenizer.eos_id if tokenizer.eos_id is not None else tokenizer.bos_id or 0

    @property
    def prefix_token_id(self) -> int:
        """What a text that nothing stands before is predicted from."""
        begin = self._asked.tokenizer.bos_id
        return self.eot_token_id if begin is None else begin

    @property
    def tokenizer_name(self) -> str:
        """A name for the harness's cache of requests."""
        return f"bitloss-{self._asked.tokenizer.digest[:16]}"

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """Token ids; None adds the tokenizer's own tokens unless the text begins with them."""
        del kwargs
        begin = self._asked.tokenizer.bos_text
        special = add_special_tokens
        if special is None:
            special = not (begin and string.startswith(begin))
        return [int(one) for one in self._asked.tokenizer.encode(string, special=special)]

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """A conversation in the model's template, as `hf` does it."""
        text: str = self.tokenizer.apply_chat_template(
            chat_history,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
            continue_final_message=not add_generation_prompt,
        )
        return text

    def get_model_info(self) -> dict[str, Any]:
        """What decides the numbers, for the results' file."""
        candidate = self._asked.candidate
        identity = self._asked.engine.identity(candidate, batch_tokens=self._asked.batch_tokens)
        return {"bitloss_version": __version__, "bitloss_engine": dict(identity)}

    # Requests -----------------------------------------------------------------------------------

    def _loglikelihood_tokens(
        self, requests: Sequence[_Encoded], disable_tqdm: bool = False, **kwargs: Any
    ) -> list[tuple[float, bool]]:
        del disable_tqdm, kwargs
        windows = []
        for _, context, continuation in requests:
            if not 0 < len(continuation) <= self.max_length:
                raise UsageError(
                    f"expected a continuation of 1 to {self.max_length} tokens, the model's "
                    f"context, got {len(continuation)}",
                    hint="omit the task, or use a model with a longer context",
                )
            ids = np.array((context + continuation)[-(self.max_length + 1) :], dtype=np.int32)
            windows.append(Window(ids, len(ids) - len(continuation)))
        found = self._asked.likelihoods(windows)
        for (key, _, _), answer in zip(requests, found, strict=True):
            if key is not None:
                self.cache_hook.add_partial("loglikelihood", key, answer)
        return found

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Of each text, the log-probability of all its tokens, in nats."""
        del disable_tqdm
        encoded: list[_Encoded] = []
        counts = []
        for request in requests:
            windows = [
                utils.make_disjoint_window(window)
                for window in utils.get_rolling_token_windows(
                    token_list=self.tok_encode(request.args[0]),
                    prefix_token=self.prefix_token_id,
                    max_seq_len=self.max_length,
                    context_len=1,
                )
            ]
            encoded += [(None, list(before), list(own)) for before, own in windows]
            counts.append(len(windows))
        scores = iter(self._loglikelihood_tokens(encoded))
        found = []
        for request, count in zip(requests, counts, strict=True):
            total = sum(next(scores)[0] for _ in range(count))
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, total)
            found.append(total)
        return found

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Of each prompt, its continuation up to the first text that it is to stop at."""
        del disable_tqdm
        own = []
        for index, request in enumerate(requests):
            prompt, settings = request.args
            decoding = decoding_of(str(request.task_name), settings)
            room = self.max_length - decoding.max_new_tokens
            if room < 1:
                raise UsageError(
                    f"expected fewer new tokens than the model's context ({self.max_length}), got "
                    f"{decoding.max_new_tokens}",
                    hint="set --gen_kwargs max_gen_toks=N",
                )
            ids = np.array(self.tok_encode(prompt)[-room:], dtype=np.int32)
            own.append(GenerateRequest(ids, decoding, seed=index))
        texts = [""] * len(own)
        for index, generated in self._asked.write(own):
            texts[index] = generated.text
            self.cache_hook.add_partial("generate_until", requests[index].args, generated.text)
        return texts


def _device(asked: str | None) -> str:
    """The device, or the CPU in place of a CUDA device that is not there."""
    if asked is None or (asked.startswith("cuda") and not torch.cuda.is_available()):
        return "cpu"
    return asked
