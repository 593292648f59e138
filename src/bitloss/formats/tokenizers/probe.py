"""A text that shows how a tokenizer works: its pieces try what tokenizers differ in.

Prose, capitals, numbers of many lengths, lists, runs of blanks and newlines, code, other scripts,
combining marks, emoji, and texts that are special tokens somewhere. No run of blanks is longer than
what vocabularies have tokens for: longer ones llama.cpp cuts from the left, `tokenizers` not.
"""

from __future__ import annotations

__all__ = ["PROBE"]

PROBE: tuple[str, ...] = (
    "The capital of France is Paris. It isn't Rome, I'll bet; WE'VE SAID SO, and they're righ"
    "t.",
    "\u201cQuoted\u201d \u2018single\u2019 \u2014 em\u2013en \u2026 $5.00 & 100% (parentheses"
    ") [x] {y} <z> @home #tag",
    "HelloWorld helloWORLD iPhone eBay McDonald XMLHttpRequest O'Neil rock'n'roll 'tis D'Arta"
    "gnan",
    "O'Driscoll can'table he'llo d'AB", "x  12   345\t6  7",
    " leading space", "  two leading spaces", "   three", "\tleading tab", "trailing space ", "0",
    "7", "42", "123", "1234", "12345", "123456", "1234567", "12345678", "123456789",
    "In 1998 it had 2,125,246 people; 3.14159 and 1e-10, 0x1F, v1.2.3, 10:30, 2024-01-02.",
    "a1b22c333d4444e x1 1x 12ab34 \u0663\u0664\u0665 \u00bd \u00b2 \u2167",
    "\n\n1. First\n2. Second\n\n\n10. Tenth\n", "one\ntwo\n\nthree\n\n\nfour", "a\r\nb\r\n\r\nc\r",
    "word \n next", "word  \n\n  next", "end.\n\nNew", "end!\n", "\n", "\n\n", "\n\n\n", "\t\n \n",
    " ", "  ", "   ", "a b  c   d    e     f        g", "a\tb\t\tc\t\t\td", "x   \n   y",
    "   \n\n   ", "tab\t space \t mixed", "no\u00a0break ideographic\u3000space thin\u2009space",
    "def f(x):\n    return {'a': [1, 22, 333], \"b\": x ** 2}  # comment\n",
    "for (int i = 0; i < n; ++i) {\n\tsum += a[i] * 2;\n}\n", "if x == 1:\n        y = -1\n",
    "https://example.com/a/b?c=d&e=f#g user@example.com C:\\path\\file.txt /usr/bin/env",
    "<div class=\"x\">text</div> <br/> <!-- note --> ### Title ### **bold** _it_ ~~no~~ `code"
    "`",
    "$$\\frac{1}{2} \\leq \\sqrt{x^2}$$ a->b ::c =>d !== ... --- === *** +++ |||",
    "\u5317\u4eac\u662f\u4e2d\u534e\u4eba\u6c11\u5171\u548c\u56fd\u7684\u9996\u90fd\u3002"
    "\uff0c\uff1a\u201c\u4f60\u597d\u201d\uff01",
    "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8\u3067\u3059\u3002 \ud55c\uad6d\uc5b4 "
    "\ud14d\uc2a4\ud2b8 mixed\u4e2d\u6587and English",
    "caf\u00e9 na\u00efve \u00fcber stra\u00dfe \u017elu\u0165ou\u010dk\u00fd \u0440\u0443"
    "\u0441\u0441\u043a\u0438\u0439 \u0442\u0435\u043a\u0441\u0442 \u03b5\u03bb\u03bb\u03b7"
    "\u03bd\u03b9\u03ba\u03ac",
    "\u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea \u0939\u093f"
    "\u0928\u094d\u0926\u0940 \u0e44\u0e17\u0e22 \u09ac\u09be\u0982\u09b2\u09be",
    "e\u0301a\u0308 combining",
    "\u00c9COLE \u00dcBER \u041c\u043e\u0441\u043a\u0432\u0430 \u0410\u0411\u0412",
    "\U0001f600 \U0001f680\U0001f680 \U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f "
    "\u2192 \u2200x\u2208\u211d \u20ac",
    "x<s>", "x</s>", "x<unk>", "x<|endoftext|>", "x<|im_start|>", "x<|im_end|>",
    "x<start_of_turn>", "x<bos>", "x[INST]", "x<0x0A>",
)  # fmt: skip
"""Pieces of text, encoded one by one."""
