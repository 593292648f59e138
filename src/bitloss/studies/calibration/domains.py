"""The domains of text that are calibrated on and evaluated on, each in two parts.

A part for calibration and one for evaluation, which have no document in common. Domains are
written to files, so that quantizers and scoring read them as any text of a user's.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np

from bitloss import api
from bitloss.datasets import load_corpus
from bitloss.datasets.local import data_directory, find_file
from bitloss.errors import CorpusError
from bitloss.files import make_folder, write_text
from bitloss.formats.location.locate import locate
from bitloss.formats.tokenizers.loading import load_tokenizer
from bitloss.spec.calibration import DEFAULT_CALIBRATION, Calibration
from bitloss.spec.json_text import parse_json
from bitloss.spec.model import parse_model
from bitloss.studies.base import Subject

__all__ = ["DOMAINS", "NATURAL", "Domain", "DomainText", "write_domain"]

_EVALUATED = 200_000
"""Characters of the part for evaluation: some 50,000 tokens of English."""

_FOR_CALIBRATION = 0.4
"""Share of a text's documents, where calibration and evaluation have no files of their own."""

_OWN_EVALUATED = 8192
_OWN_MOST = 65_536
_OWN_LENGTH = 256


@dataclass(frozen=True, slots=True)
class DomainText:
    """A domain's two parts."""

    calibration: str
    evaluation: str


@dataclass(frozen=True, slots=True)
class Domain:
    """A kind of text.

    Attributes:
        name: as levels spell it.
        what: in a few words.
        read: its two parts for a model. Raises `BitlossError` where there is none.
        natural: whether people wrote it, so that it stands for a use of the model.
        capability: that is at home in this text (`bitloss.tasks.base.CAPABILITIES`); ``""`` for
            none.
        task: evaluated where the user asks for nothing else; ``""`` for none. One that has models
            write would take hours, so it has to be asked for.
        bundled_task: the same for the bundled model, whose texts are short.
    """

    name: str
    what: str
    read: Callable[[Subject], DomainText]
    natural: bool = True
    capability: str = ""
    task: str = ""
    bundled_task: str = ""

    def task_for(self, subject: Subject) -> str:
        """The task that a model is given by default."""
        return self.bundled_task if _is_bundled(subject) else self.task


def write_domain(domain: Domain, subject: Subject) -> tuple[Path, Path]:
    """The files of a domain: the part for calibration, and the one for evaluation.

    Raises:
        BitlossError: there is no such text here.
    """
    parts = domain.read(subject)
    calibration, evaluation = subject.folder / "calibration" / domain.name, subject.folder
    make_folder(calibration.parent)
    write_text(calibration, parts.calibration)
    evaluation = evaluation / domain.name
    write_text(evaluation, parts.evaluation[:_EVALUATED])
    return calibration, evaluation


# Texts of people --------------------------------------------------------------------------------


def _data(subject: Subject) -> Path | None:
    data = subject.options.get("data")
    return None if data is None else Path(data)


def _is_bundled(subject: Subject) -> bool:
    return parse_model(subject.model).kind == "builtin"


def _of_corpora(calibration: str, evaluation: str, subject: Subject) -> DomainText:
    data = _data(subject)
    return DomainText(
        load_corpus(calibration, data=data).raw, load_corpus(evaluation, data=data).raw
    )


def _split(documents: Sequence[str], name: str) -> DomainText:
    """The first documents for calibration, the others for evaluation."""
    kept = [text for text in documents if text.strip()]
    if len(kept) < 2:
        raise CorpusError(
            f"domain `{name}`: expected two documents or more, got {len(kept)}",
            hint="use a longer text",
        )
    cut = min(len(kept) - 1, max(1, round(_FOR_CALIBRATION * len(kept))))
    return DomainText("\n\n".join(kept[:cut]), "\n\n".join(kept[cut:]))


def _paragraphs(text: str) -> list[str]:
    return re.split(r"\n\s*\n", text)


def _bundled_blocks(subject: Subject, wanted: Callable[[str], bool], name: str) -> DomainText:
    """Blocks of what the bundled model was trained on."""
    text = load_corpus("pocket-calibration-mixed", data=_data(subject)).raw
    return _split([block for block in _paragraphs(text) if wanted(block)], name)


def _prose(subject: Subject) -> DomainText:
    if _is_bundled(subject):
        return _of_corpora("pocket-calibration-prose", "pocket-prose", subject)
    return _of_corpora("wiki", "wikitext-2", subject)


def _code(subject: Subject) -> DomainText:
    if _is_bundled(subject):
        return _of_corpora("pocket-calibration-code", "pocket-code", subject)
    return _split(_paragraphs(load_corpus("code", data=_data(subject)).raw), "code")


def _web(subject: Subject) -> DomainText:
    return _split(_paragraphs(load_corpus("web", data=_data(subject)).raw), "web")


def _math(subject: Subject) -> DomainText:
    if _is_bundled(subject):
        return _bundled_blocks(subject, lambda block: "####" in block, "math")
    train, test = (_rows(subject, f"gsm8k/{part}.jsonl", "math") for part in ("train", "test"))
    parts = ["\n\n".join(f"{r['question']}\n{r['answer']}" for r in rows) for rows in (train, test)]
    return DomainText(*parts)


def _chinese(subject: Subject) -> DomainText:
    if _is_bundled(subject):
        return _bundled_blocks(subject, lambda block: bool(_HAN.search(block)), "chinese")
    rows = _rows(subject, "logiqa/logiqa-zh.jsonl", "chinese")
    return _split(
        ["\n".join([r["passage"], r["question"], *r["options"]]) for r in rows], "chinese"
    )


_HAN = re.compile(r"[\u4e00-\u9fff]")


def _rows(subject: Subject, name: str, domain: str) -> list[dict[str, str]]:
    path = find_file(data_directory(_data(subject)), (name, name.rpartition("/")[2]))
    if path is None:
        raise CorpusError(
            f"domain `{domain}`: no file `{name}` in the data directory",
            hint=f"put it at DIR/{name} and give --data DIR, or leave the domain out of --vary",
        )
    lines = path.read_text(encoding="utf-8").split("\n")
    return [parse_json(line) for line in lines if line.strip()]


# Texts made for a model -------------------------------------------------------------------------


def _calibration(subject: Subject) -> Calibration:
    chosen = subject.options.get("calibration", DEFAULT_CALIBRATION)
    return chosen if isinstance(chosen, Calibration) else DEFAULT_CALIBRATION


def _random(subject: Subject) -> DomainText:
    """Tokens drawn alike from the vocabulary, as text; some are read back as others."""
    wanted = _calibration(subject)
    path = locate(parse_model(subject.model), progress=subject.progress)
    tokenizer = load_tokenizer(path)
    generator = np.random.default_rng(int(subject.options.get("seed", 0)))

    def text(tokens: int) -> str:
        drawn = tokenizer.decode(generator.integers(0, tokenizer.size, tokens).tolist())
        # Bytes that are no character, and control characters, which no text file has.
        return "".join(c for c in drawn if c != "\ufffd" and (c.isprintable() or c in "\n\t"))

    # Half as many again, as fewer may be read back.
    return DomainText(text(wanted.samples * wanted.length * 3 // 2), text(_OWN_EVALUATED * 3 // 2))


def _own(subject: Subject) -> DomainText:
    """What the model writes by itself; kept, as writing takes a while."""
    from bitloss.quantizers.dense_copy import reference_digest
    from bitloss.runner.own_text import sample_texts

    wanted, seed = _calibration(subject), int(subject.options.get("seed", 0))
    tokens = min(wanted.samples * wanted.length, _OWN_MOST)
    path = locate(parse_model(subject.model), progress=subject.progress)
    made_of = {"model": reference_digest(path, subject.model), "tokens": tokens, "seed": seed}
    kept = subject.folder / "own.json"
    if kept.is_file():
        before = json.loads(kept.read_text(encoding="utf-8"))
        if before["made_of"] == made_of:
            return DomainText(before["calibration"], before["evaluation"])
    own = {name: value for name, value in subject.options.items() if name in _FOR_WRITING}
    spec = api.make_spec(subject.model, corpora=[], **own)
    texts = sample_texts(
        spec,
        tokens=tokens + _OWN_EVALUATED,
        length=_OWN_LENGTH,
        seed=seed,
        progress=subject.progress,
    )
    share = tokens / (tokens + _OWN_EVALUATED)
    cut = min(len(texts) - 1, max(1, round(share * len(texts))))
    parts = DomainText("\n\n".join(texts[:cut]), "\n\n".join(texts[cut:]))
    make_folder(subject.folder)
    write_text(
        kept,
        json.dumps(
            {
                "made_of": made_of,
                "calibration": parts.calibration,
                "evaluation": parts.evaluation,
            },
            ensure_ascii=False,
        ),
    )
    return parts


_FOR_WRITING = ("data", "device", "seed", "batch_tokens", "trust_remote_code")

DOMAINS = MappingProxyType(
    {
        one.name: one
        for one in (
            Domain(
                "prose",
                "articles of Wikipedia",
                _prose,
                capability="text completion",
                task="lambada",
                bundled_task="pocket_completion",
            ),
            Domain("code", "programs", _code, capability="code", bundled_task="pocket_code"),
            Domain(
                "math",
                "worked arithmetic problems",
                _math,
                capability="math",
                bundled_task="pocket_math",
            ),
            Domain(
                "chinese",
                "Chinese text",
                _chinese,
                capability="knowledge (Chinese)",
                task="ceval",
                bundled_task="pocket_knowledge_zh",
            ),
            Domain("web", "web pages", _web),
            Domain("random", "random tokens", _random, natural=False),
            Domain("own", "text that the model writes", _own, natural=False),
        )
    }
)
NATURAL = tuple(name for name, one in DOMAINS.items() if one.natural)
