"""Wrong answers that try to steer the tests, and tests that say nothing of any answer.

A solution raises or returns what Python's own loops, comparisons and look-ups take for an end, an
absence or a match. The tests below fail every one of them in a process of its own, or would pass
in plain Python only because of such a trick.
"""

from __future__ import annotations

__all__ = ["BROKEN", "STEERING"]

# Raised: the oracle of each is that it is no answer at all.
_RAISING = {
    "StopIteration": "def f(x): raise StopIteration",
    "StopIteration with a value": "def f(x): raise StopIteration(x * x)",
    "next of nothing": "def f(x): return next(iter(()))",
    "a subclass of StopIteration": "class E(StopIteration): pass\ndef f(x): raise E",
    "a renamed class": "class E(Exception): pass\nE.__name__ = E.__qualname__ = 'StopIteration'\ndef f(x): raise E",
    "a custom mro": "class M(type):\n  def mro(c): return [c, Exception, BaseException, object]\nclass E(Exception, metaclass=M): pass\nE.__name__ = 'StopIteration'\ndef f(x): raise E",
    "a __class__ property": "class E(Exception):\n  __class__ = property(lambda s: StopIteration)\ndef f(x): raise E",
    "a false __mro__": "class M(type):\n  __mro__ = (StopIteration, Exception)\nclass E(Exception, metaclass=M): pass\ndef f(x): raise E",
    "StopAsyncIteration": "def f(x): raise StopAsyncIteration",
    "GeneratorExit": "def f(x): raise GeneratorExit",
    "IndexError": "def f(x): raise IndexError",
    "AttributeError": "def f(x): raise AttributeError",
    "KeyError": "def f(x): raise KeyError",
    "TypeError": "def f(x): raise TypeError",
    "AssertionError": "def f(x): raise AssertionError",
    "SystemExit": "def f(x): raise SystemExit(0)",
}  # fmt: skip
_CASES = "CASES = [(2, 4), (3, 9)]\nright = lambda c: f(c[0]) == c[1]\n"
_LOOPS = {
    "all(map)": "assert all(map(right, CASES))",
    "map of f": "assert all(map(lambda a, b: a == b, map(f, [2, 3]), [4, 9]))",
    "zip(map)": "for got, want in zip(map(f, [2, 3]), [4, 9]): assert got == want",
    "enumerate(map)": "for i, ok in enumerate(map(right, CASES)): assert ok, i",
    "filter": "assert not list(filter(lambda c: not right(c), CASES))",
    "not any(map)": "assert not any(map(lambda c: not right(c), CASES))",
    "next with a default": "assert next(map(right, CASES), True)",
    "max with a default": "assert max(map(lambda c: f(c[0]) - c[1], CASES), default=0) == 0",
    "iter with a sentinel": "left = [3, 2]\nfor ok in iter(lambda: left and right((left[-1], left.pop() ** 2)), []): assert ok",
    "a loop over __getitem__": "class C:\n  def __getitem__(s, i): return right(CASES[i])\nassert all(C())",
    "hasattr": "class C:\n  @property\n  def wrong(s): return f(2) == 4 or s.gone\nassert not hasattr(C(), 'gone2') and getattr(C(), 'wrong', True)",
    "a dict's update": "got = {}\ngot.update(map(lambda c: (c[0], right(c)), CASES))\nassert all(got.values())",
    "sum": "assert sum(map(lambda c: not right(c), CASES)) == 0",
    "tuple unpacking": "rest = [*map(lambda c: c[0] if not right(c) else 0, CASES)]\nassert not any(rest)",
    "a generator": "assert all(right(c) for c in CASES)",
    "accumulate": "from itertools import accumulate\nassert list(accumulate(map(right, CASES)))[-1:] in ([], [2])",
    "takewhile": "from itertools import takewhile\nassert len(list(takewhile(lambda c: not right(c), CASES))) == 0",
    "operator.length_hint": "import operator\nclass C:\n  def __length_hint__(s): return 0 if right((2, 4)) else 1\nassert operator.length_hint(C(), 0) == 0",
}  # fmt: skip
# Returned in place of the squares of 2 and 3.
_EQUAL = "class E{base}:\n  def __eq__(s, o): return True\n  def __ne__(s, o): return False\n  __hash__ = None\n"
_RETURNING = {
    "equals everything": _EQUAL.format(base="") + "def f(x): return E()",
    "an int that equals everything": _EQUAL.format(base="(int)") + "def f(x): return E(5)",
    "a list that equals everything": _EQUAL.format(base="(list)") + "def f(x): return E()",
    "a tuple that equals everything": _EQUAL.format(base="(tuple)") + "def f(x): return E()",
    "a Decimal that equals everything": "from decimal import Decimal\n" + _EQUAL.format(base="(Decimal)") + "def f(x): return E(5)",
    "a Fraction that equals everything": "from fractions import Fraction\n" + _EQUAL.format(base="(Fraction)") + "def f(x): return E(5)",
    "a date that equals everything": "from datetime import date\n" + _EQUAL.format(base="(date)") + "def f(x): return E(1, 1, 1)",
    "a deque that equals everything": "from collections import deque\n" + _EQUAL.format(base="(deque)") + "def f(x): return E()",
    "a metaclass that equals everything": "class M(type):\n  def __eq__(c, o): return True\n  __hash__ = type.__hash__\nclass E(metaclass=M): pass\ndef f(x): return E",
    "differs by nothing": "class E:\n  def __sub__(s, o): return 0\n  __rsub__ = __abs__ = __sub__ = lambda s, *o: 0\n  def __lt__(s, o): return True\n  __gt__ = __le__ = __ge__ = __lt__\ndef f(x): return E()",
    "contains everything": "class E:\n  def __contains__(s, o): return True\ndef f(x): return E()",
    "a class with a false module": "class E:\n  def __eq__(s, o): return True\nE.__module__, E.__qualname__ = 'decimal', 'Decimal'\nimport decimal\ndef f(x): return E()",
    "a named tuple with odd fields": "class E(tuple):\n  _fields = ('a b; x', 'c')\n  _make = None\ndef f(x): return E((1, 2))",
    "a class": "class f:\n  def __init__(s, x): pass\n  def __eq__(s, o): return True",
    "a function": "def f(x): return lambda *a: x * x",
    "exec": "def f(x): return exec",
    "exit": "import sys\ndef f(x): return sys.exit",
    "NotImplemented": "def f(x): return NotImplemented",
    "an exception": "def f(x): return StopIteration(x)",
    "a generator": "def f(x): yield x * x",
    "an iterator without end": "import itertools\ndef f(x): return itertools.repeat(x * x)",
    "text of it": "def f(x): return str(x * x)",
    "nothing": "def f(x): pass",
    "NaN": "def f(x): return float('nan')",
    "20,000 digits": "def f(x): return 10 ** 20000",
    "a huge Decimal": "from decimal import Decimal\ndef f(x): return Decimal('1e999999')",
    "a signalling NaN": "from decimal import Decimal\ndef f(x): return Decimal('sNaN')",
    "a mock": "from unittest.mock import MagicMock\ndef f(x):\n  m = MagicMock()\n  m.__eq__.return_value = True\n  return m",
}  # fmt: skip
_COMPARING = {
    "==": "for x, want in CASES: assert f(x) == want",
    "== on the other side, with the value as the message": "for x, want in CASES: assert want == f(x), f(x)",
    "not !=": "for x, want in CASES: assert not f(x) != want",
    "in": "for x, want in CASES: assert f(x) in [want]",
    "in a set": "for x, want in CASES: assert f(x) in {want}",
    "difference": "for x, want in CASES: assert abs(f(x) - want) < 1e-6",
    "in a list": "assert [f(x) for x, _ in CASES] == [want for _, want in CASES]",
    "index": "for x, want in CASES: [want].index(f(x))",
}  # fmt: skip

_OTHER = {
    "the sentinel": ("def f(x): return None", "for x, want in zip([2], iter(lambda: f(2), None)): pass\nassert f(2) == 4"),
    "changes what is expected": ("def f(a):\n  a.clear()\n  return 0", "assert f([1]) == 1"),
    "forges changes": ("from inside import watching\nwatching.differs = lambda *a: True\nwatching.contents = lambda v: 5\ndef f(a): return 4", "a = []\nassert f(a) == 4 and a == 5"),
    "forges a change of nothing": ("from inside import serving, codec\nserving.Server._watched = lambda *a: b'r' + codec.encode((4, ((9, ()),)))\ndef f(a): return 5", "a = []\nassert f(a) == 4"),
    "asks for objects that it was not given": ("from inside import serving, codec\nserving.Server._reply = lambda *a: b'B' + codec.encode(('call', 0, (), {}))\ndef f(x): return 5", "assert f(2) == 4"),
    "asks for exec": ("from inside import serving, codec\nserving.Server._reply = lambda *a: b'RB' + b'\\4\\0\\0\\0exec'\ndef f(x): return 5", "f(2)('raise SystemExit')"),
    "calls the tests' function with its own": ("def f(g): return g(type('E', (), {'__eq__': lambda s, o: True})())", "assert f(lambda x: x == 4) is True"),
    "swallows an assertion of the tests": ("def f(g):\n  try: g(5)\n  except BaseException: pass\n  return 4", "def g(x): assert x == 4\nassert f(g) == 4"),
    "calls back without end": ("def f(g):\n  while True: g(1)", "assert f(lambda x: x) == 4"),
    "recurses through the tests": ("def f(g): return g(g)", "assert f(lambda g: f(g)) == 4"),
    "ends in a callback": ("import os\ndef f(g): os._exit(0)", "try: f(lambda: 1)\nexcept BaseException: pass"),
    "an attribute that raises StopIteration": ("class E:\n  @property\n  def x(s): raise StopIteration\ndef f(n): return E()", "assert all(map(lambda n: f(n).x == n, [1]))"),
    "an iterator that raises in __iter__": ("class E:\n  def __iter__(s): raise StopIteration\ndef f(n): return E()", "assert all(map(lambda n: list(f(n)) == [n], [1]))"),
    "a length that raises StopIteration": ("class E:\n  def __len__(s): raise StopIteration\ndef f(n): return E()", "assert all(map(lambda n: len(f(n)) == n, [1]))"),
    "a hash that raises StopIteration": ("class E:\n  def __hash__(s): raise StopIteration\ndef f(n): return E()", "assert all(map(lambda n: f(n) in {n}, [1]))"),
    "a false name for a type": ("class int:\n  def __init__(s, x): pass\ndef f(x): return int", "assert f(1) is type(1)"),
    "returns a module": ("import os\ndef f(x): return os", "assert f(2) == 4"),
    "writes over the server": ("import sys\nfor name, m in list(sys.modules.items()):\n  if name.startswith('inside'): m.__dict__.clear()\ndef f(x): return 4", "assert f(2) == 4"),
    "16 MB of source": ("x = '" + "a" * (17 << 20) + "'\ndef f(x): return 4", "assert f(2) == 4"),
    "5 MB of brackets": ("x = " + "[" * (5 << 20) + "]" * (5 << 20) + "\ndef f(x): return 4", "assert f(2) == 4"),
    "20,000 digits in the tests' message": ("def f(x): return 10 ** 20000", "got = f(2)\nassert got == 4, f'{got}'"),
    "20,000 digits in its own exception": ("def f(x): raise ValueError(10 ** 20000)", "assert f(2) == 4"),
    "digits as arguments": ("def f(x): raise KeyError(10 ** 20000)", "try: f(2)\nexcept ValueError: pass"),
    "more than a message holds": ("def f(x): return b'a' * (17 << 20)", "assert f(2) == 4"),
    "many small things": ("def f(x): return [[]] * 3000000", "assert f(2) == 4"),
}  # fmt: skip


def _steering() -> dict[str, tuple[str, str]]:
    found = dict(_OTHER)
    for loop, tests in _LOOPS.items():
        for name, solution in _RAISING.items():
            found[f"raises {name}: {loop}"] = solution, _CASES + tests
    for compared, tests in _COMPARING.items():
        for name, solution in _RETURNING.items():
            found[f"returns {name}: {compared}"] = solution, _CASES + tests
    return found


STEERING = _steering()
"""By name, the solution and the tests, which must not pass."""

BROKEN = {
    "empty": "",
    "a comment": "# assert f(2) == 4",
    "pass": "pass",
    "a check that is never called": "def check(candidate):\n  assert candidate(2) == 4",
    "functions for pytest": "def test_f():\n  assert f(2) == 4",
    "a class for unittest": "import unittest\nclass T(unittest.TestCase):\n  def test(self): self.assertEqual(f(2), 4)",
    "unittest.main": "import unittest\nclass T(unittest.TestCase):\n  def test(self): self.assertEqual(f(2), 4)\nunittest.main()",
    "another function": "def g(x): return 4\nassert g(2) == 4",
    "a name that is written wrong": "assert ff(2) == 4",
    "a syntax error": "assert (",
    "a raise at once": "raise ValueError('broken')",
    "an import that fails": "import no_such_module\nassert f(2) == 4",
    "an exit at once": "import sys\nsys.exit(0)",
    "an exit without a word": "import os\nos._exit(0)",
    "a loop over nothing": "for x in []: assert f(x) == 4",
    "a null byte": "assert f(2) == 4\0",
    "an object that cannot be passed": "assert f(object()) == 4",
}  # fmt: skip
"""By name, tests that no verdict can come of, whatever the solution."""
