r"""How llama.cpp splits text before byte-level BPE, by the name that a file gives.

Source: ggml-org/llama.cpp, src/llama-vocab.cpp as in llama-cpp-python 0.3.36: the names in
`llama_vocab::impl::load`, the patterns in `llm_tokenizer_bpe`; the splitting in src/unicode.cpp,
`unicode_regex_split`. Each pattern splits the pieces that the one before it left, and what lies
between two matches is a piece too (a `Split` that isolates, in the words of `tokenizers`).

Where the source quotes the "original regex from tokenizer.json" beside its own, the original stands
here: it is what the model was trained with. llama.cpp's C++ patterns know no case beyond ASCII and
no possessive quantifiers, so its own ids differ from the model's on a few texts. Those texts are
listed in the tests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["PRE_TOKENIZERS", "REFUSED", "PreTokenizer"]


@dataclass(frozen=True, slots=True)
class PreTokenizer:
    """What one name means.

    Attributes:
        patterns: regular expressions, applied one after the other.
        ignore_merges: whether a piece that is a token is never built from merges.
        adds_bos: whether BOS is put in front where the file does not say.
        has_bos: whether there is a BOS where the file names none.
        bytes: whether BPE works on bytes (GPT-2's alphabet), or on characters with blanks spelled
            U+2581 and bytes as ``<0x0A>``.
    """

    patterns: tuple[str, ...]
    ignore_merges: bool = False
    adds_bos: bool = False
    bytes: bool = True


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SYMBOLS = r" ?[^\s\p{L}\p{N}]+[\r\n]*"
_NEWLINES = r"\s*[\r\n]+"
_BLANKS = r"\s+(?!\S)|\s+"

_GPT2 = (
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+" + f"|{_BLANKS}"
)  # OpenAI's encoder.py; llama.cpp leaves the last alternative to its code
_DIGIT = r"\p{N}"
_DIGITS = r"\p{N}{1,3}"


def _words(number: str, *, contractions: str = _CONTRACTIONS, word: str = _WORD) -> str:
    parts = (contractions, word, number, _SYMBOLS, _NEWLINES, _BLANKS)
    return "|".join(filter(None, parts))


_LLAMA3 = _words(_DIGITS)
_QWEN2 = _words(_DIGIT)

# Words that change from upper to lower case once at most.
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def _cased(number: str, *, contractions: str = "") -> str:
    lead = r"[^\r\n\p{L}\p{N}]?"
    return (
        f"{lead}{_UPPER}*{_LOWER}+{contractions}|{lead}{_UPPER}+{_LOWER}*{contractions}"
        rf"|{number}| ?[^\s\p{{L}}\p{{N}}]+[\r\n/]*|{_NEWLINES}|{_BLANKS}"
    )


_TEKKEN = _cased(_DIGIT)
_GPT4O = _cased(_DIGITS, contractions=f"{_CONTRACTIONS}?")
# "Same lookaheads as GPT4O but with \p{M} added": no original is quoted, this is llama.cpp's own.
_MARKED_UPPER, _MARKED_LOWER = (
    r"(?:(?=[\p{L}\p{M}])[^a-z])", r"(?:(?=[\p{L}\p{M}])[^A-Z])",
)  # fmt: skip
_GRANITE_MULTI = _GPT4O.replace(_UPPER, _MARKED_UPPER).replace(_LOWER, _MARKED_LOWER)

# Kimi-K2 (tokenization_kimi.py): Han characters stand by themselves.
_KIMI_UPPER, _KIMI_LOWER = (
    r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]",
)  # fmt: skip
_KIMI = r"[\p{Han}]+|" + _GPT4O.replace(_UPPER, _KIMI_UPPER).replace(_LOWER, _KIMI_LOWER).replace(
    r"[\r\n/]*", r"[\r\n]*"
)

_ASCII_PUNCTUATION = r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]"


def _deepseek(symbols: str) -> str:
    return (
        rf"{_ASCII_PUNCTUATION}[A-Za-z]+|[^\r\n\p{{L}}\p{{P}}\p{{S}}]?[\p{{L}}\p{{M}}]+"
        rf"| ?[\p{{P}}\p{{S}}]+{symbols}|{_BLANKS}"
    )


_DEEPSEEK3 = (
    _DIGITS,
    "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
    _deepseek(rf"[\r\n]*|{_NEWLINES}"),
)
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
# Letters of alphabets with case (Latin, Greek, Cyrillic, Armenian, Georgian, Cherokee ...).
_CASED_LETTERS = (
    "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af"
    "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1"
    "\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd"
    "\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d"
    "\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4"
    "\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec"
    "\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128"
    "\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b"
    "\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787"
    "\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a"
    "\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2"
    "\U00010cc0-\U00010cf2\U000118a0-\U000118df\U0001e900-\U0001e943"
)
_WIDE_PUNCTUATION = "!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002"
_ASIAN = (
    "[\u4e00-\u9fff\u3400-\u4dbf\uf900-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf"
    "\u0e00-\u0e7f\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af"
    "\u1100-\u11ff]+"
)
_YOUTU_ASIAN = (
    "[\uac00-\ud7a3\u3131-\u318e]+"
    "|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c\u3001-\u303f\ufe30-\ufe4f]+"
    "|[\u3105-\u312f]+|[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
)
_BLOOM = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"
_LINES = r"[^\n]+|[\n]+"

_AS_GPT2 = PreTokenizer((_GPT2,))
_AS_SMOLLM = PreTokenizer((_DIGIT, _GPT2))
_AS_LLAMA3 = PreTokenizer((_LLAMA3,))
_AS_QWEN2 = PreTokenizer((_QWEN2,))
_AS_DEEPSEEK3 = PreTokenizer(_DEEPSEEK3)
_AS_GPT4O = PreTokenizer((_GPT4O,))
_AS_BLOOM = PreTokenizer((_BLOOM,))
_AS_CHARACTERS = PreTokenizer((_LINES,), bytes=False)


def _named(pre_tokenizer: PreTokenizer, *names: str) -> dict[str, PreTokenizer]:
    return dict.fromkeys(names, pre_tokenizer)


PRE_TOKENIZERS: Mapping[str, PreTokenizer] = MappingProxyType(
    {
        "default": PreTokenizer(
            (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]"),
        ),
        "falcon": PreTokenizer((r"[\p{P}\$\+<=>\^~\|`]+", _GPT2, "[0-9][0-9][0-9]")),
        "jais-2": PreTokenizer(
            (
                _LLAMA3.removesuffix(_BLANKS)
                + "|".join(rf"\s{{{2**power}}}(?!\S)" for power in range(9, 1, -1))
                + r"|\s{1,2}(?!\S)|\s{1}",
            ),
        ),
        "minicpm5": PreTokenizer((_DIGITS, _words(r"\p{N}+")), ignore_merges=True),
        "deepseek-llm": PreTokenizer(
            (
                r"[\r\n]", rf"\s?[{_CASED_LETTERS}]+", rf"\s?[{_WIDE_PUNCTUATION}]+", r"\s+$",
                _CJK, r"\p{N}+",
            ),
        ),
        "deepseek-coder": PreTokenizer(
            (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, _DIGIT),
        ),
        "spark2_5": PreTokenizer((*_DEEPSEEK3[:2], _deepseek(r"|[\r\n]"), _DIGIT)),
        "youtu": PreTokenizer(
            (_YOUTU_ASIAN, _cased(_DIGIT, contractions=f"{_CONTRACTIONS}?")), ignore_merges=True
        ),
        "qwen35": PreTokenizer(
            (
                _words(_DIGIT, word=r"[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+").replace(
                    _SYMBOLS, r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                ),
            ),
        ),
        "viking": PreTokenizer((_BLOOM, _DIGIT)),
        "tekken": PreTokenizer((_TEKKEN,), ignore_merges=True, adds_bos=True),
        "chameleon": PreTokenizer(
            (
                "<sentinel:[0-9]+>", "(?:IMGIMG)(?:(?:A|B|C|D|E|F|G|H|I){1,4})Z",
                r"(?:[\t\n]|    |  )", _DIGIT, r"[\p{P}!-/:-@\[-`{-~]", _GPT2,
            ),
            adds_bos=True,
        ),
        "granite-embed-multi-97m": PreTokenizer((_GRANITE_MULTI,), ignore_merges=True),
        "kimi-k2": PreTokenizer((_KIMI,)),
        "superbpe": PreTokenizer((r"\p{N}+", r"(?=(?:\d{3})+(?!\d))")),
        "seed-coder": PreTokenizer(
            (_QWEN2.replace(_SYMBOLS, r" ?[^\s\p{L}\p{N}\r\n]+"),)
        ),
        "ufakzeka": PreTokenizer((_words(_DIGIT, contractions=""),)),
        "laguna": PreTokenizer((_LINES, _QWEN2)),
        "exaone-moe": PreTokenizer(
            (
                _words(_DIGIT, word=r"[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+")
                .replace(_SYMBOLS, r" ?[^\s\p{L}\p{N}]+[\r\n/]?")
                .replace(f"|{_NEWLINES}|", r"|\s*[\r\n]|"),
            ),
        ),
        # Groups of three digits from the right.
        "tiny_aya": PreTokenizer((r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O)),
        "cohere2moe": PreTokenizer((r"\d{1,3}(?=(?:\d{3})*\b)", _GPT4O)),
        # llama.cpp's code leaves what stands before a number in one piece with its first digits.
        "afmoe": PreTokenizer(
            (
                r"\P{N}*\p{N}{1,2}(?=(?:\p{N}{3})*(?!\p{N}))|\P{N}*\p{N}{3}",
                _ASIAN,
                _deepseek(rf"[\r\n]*|{_NEWLINES}"),
            ),
        ),
        **_named(
            PreTokenizer((_LLAMA3,), ignore_merges=True, adds_bos=True),
            "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0",
            "lfm2", "jina-v5-nano",
        ),
        **_named(
            _AS_GPT2, "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es",
            "jina-v2-de", "a.x-4.0", "mellum", "modern-bert", "mpt", "olmo", "jais", "trillion",
            "granite-docling", "exaone4", "jina-v1-en", "jina-v2-code", "roberta-bpe",
        ),
        **_named(
            _AS_SMOLLM, "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone",
            "minerva-7b", "mellum2",
        ),
        **_named(_AS_LLAMA3, "dbrx", "smaug-bpe", "chatglm-bpe"),
        **_named(PreTokenizer((_LLAMA3,), ignore_merges=True), "glm4", "glm5"),
        **_named(
            _AS_QWEN2, "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "stablelm2", "megrez",
            "hunyuan", "solar-open", "grok-2",
        ),
        **_named(_AS_DEEPSEEK3, "deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"),
        **_named(_AS_GPT4O, "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"),
        **_named(_AS_BLOOM, "poro-chat", "bloom", "gpt3-finnish"),
        **_named(
            PreTokenizer(
                (
                    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}"
                    r"| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
                )
            ),
            "bailingmoe", "bailingmoe2", "llada-moe",
        ),
        **_named(
            PreTokenizer((_LINES,), adds_bos=True, bytes=False),
            "gemma4", "granite-embed-multi-311m",
        ),
        "sarvam-moe": _AS_CHARACTERS,
    }
)  # fmt: skip
"""By ``tokenizer.ggml.pre``."""

REFUSED: Mapping[str, str] = MappingProxyType(
    {"whitespace": "drops blanks, and belongs to an embedding model"}
)
"""Names that llama.cpp knows and that are not built, with the reason."""
