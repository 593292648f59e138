"""``language:*`` and ``change_case:*``: the language, and capital letters.

The rules are those of ``lm_eval/tasks/ifeval/instructions.py`` (lm-eval 0.4.13), which is Google's
instruction_following_eval. Both ask langdetect, which draws n-grams at random: unseeded, as there,
it may judge the same short text differently each time. Here every detection starts from one seed.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from bitloss.tasks.ifeval.kind import Kind, Parameters, compare
from bitloss.tasks.ifeval.words import split_words

__all__ = ["KINDS", "is_language"]

_SEED = 0


def response_language(response: str, given: Parameters) -> bool:
    """It is in that language (upstream: `ResponseLanguageChecker`)."""
    return is_language(response, given["language"])


def english_capital(response: str, given: Parameters) -> bool:
    """No small letters, and English (upstream: `CapitalLettersEnglishChecker`)."""
    return response.isupper() and is_language(response, "en")


def english_lowercase(response: str, given: Parameters) -> bool:
    """No capital letters, and English (upstream: `LowercaseLettersEnglishChecker`)."""
    return response.islower() and is_language(response, "en")


def capital_word_frequency(response: str, given: Parameters) -> bool:
    """How many tokens are in capitals (upstream: `CapitalWordFrequencyChecker`); see `words`.

    "I" and "A" are among them, and "DON'T" is two.
    """
    found = sum(1 for word in split_words(response) if word.isupper())
    return compare(found, given["capital_relation"], given["capital_frequency"])


def is_language(text: str, code: str) -> bool:
    """Whether langdetect takes the text for that language.

    Args:
        text: any.
        code: as langdetect names languages: ISO 639-1, ``zh-cn`` and ``zh-tw``.

    Returns:
        True also where there is nothing to tell a language by (digits, symbols), as upstream.
    """
    from langdetect import LangDetectException
    from langdetect.lang_detect_exception import ErrorCode

    detector = _factory().create()
    detector.append(text)
    try:
        return bool(detector.detect() == code)
    except LangDetectException as error:
        if error.code != ErrorCode.CantDetectError:
            raise
        return True


@lru_cache(maxsize=1)
def _factory() -> Any:
    """A detector factory of our own: langdetect's is shared, and its seed a class attribute.

    The profiles are read in the order of their names, not as the file system lists them, so that
    sums over languages are rounded alike on all machines.
    """
    from langdetect import PROFILES_DIRECTORY, DetectorFactory

    files = sorted(Path(PROFILES_DIRECTORY).iterdir())
    factory = DetectorFactory()
    factory.load_json_profile(
        [path.read_text(encoding="utf-8") for path in files if not path.name.startswith(".")]
    )
    factory.set_seed(_SEED)
    return factory


KINDS = {
    "language:response_language": Kind(response_language, {"language": "text"}),
    "change_case:english_capital": Kind(english_capital),
    "change_case:english_lowercase": Kind(english_lowercase),
    "change_case:capital_word_frequency": Kind(
        capital_word_frequency, {"capital_frequency": "count", "capital_relation": "relation"}
    ),
}
