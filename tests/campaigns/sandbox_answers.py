"""Right answers of every common type, each with tests that it passes in plain Python.

By name: the solution, which defines ``f``, and the tests.
"""

from __future__ import annotations

__all__ = ["RIGHT"]

_POINT = (
    "class Point:\n  def __init__(self, x, y=0): self.x, self.y = x, y\n"
    "  def __eq__(self, o): return isinstance(o, Point) and (self.x, self.y) == (o.x, o.y)\n"
    "  def __hash__(self): return hash((self.x, self.y))\n"
    "  def __lt__(self, o): return self.x < o.x\n"
    "  def __add__(self, o): return Point(self.x + o.x, self.y + o.y)\n"
    "  def __repr__(self): return f'Point({self.x}, {self.y})'\n"
    "  def norm(self, p=1): return abs(self.x) ** p + abs(self.y) ** p\n"
)
_STACK = (
    "class f:\n  def __init__(self, items=()): self.items = list(items)\n"
    "  def push(self, x): self.items.append(x)\n  def pop(self): return self.items.pop()\n"
    "  def __len__(self): return len(self.items)\n"
    "  def __getitem__(self, i): return self.items[i]\n"
    "  @classmethod\n  def of(cls, *items): return cls(items)\n"
)
_ECHO = "def f(x): return x"


def _returned(
    value: str, *, imports: str = "", tests: str = "assert f() == expected"
) -> tuple[str, str]:
    """A solution that returns an expression's value, which the tests write as well."""
    return f"{imports}\ndef f(): return {value}", f"{imports}\nexpected = {value}\n{tests}"


RIGHT: dict[str, tuple[str, str]] = {
    "None": ("def f(): pass", "assert f() is None"),
    "True": ("def f(): return True", "assert f() is True"),
    "int": _returned("-7"),
    "a large int": _returned("10 ** 30000"),
    "float": _returned("0.1 + 0.2"),
    "infinity": _returned("float('inf')"),
    "NaN": ("def f(): return float('nan')", "x = f()\nassert x != x"),
    "minus zero": ("def f(): return -0.0", "assert str(f()) == '-0.0'"),
    "complex": _returned("1 + 2j"),
    "str": _returned("'ä\\U0001f600'"),
    "bytes": _returned("b'\\0\\xff'"),
    "bytearray": _returned("bytearray(b'ab')", tests="assert f() == expected == b'ab'\nassert type(f()) is bytearray"),
    "list": _returned("[1, 'a', None, [2.5]]"),
    "tuple": _returned("(1, (2, 3))"),
    "set": _returned("{1, 2, 3}"),
    "frozenset": _returned("frozenset('abc')"),
    "dict": _returned("{1: 'a', (2, 3): [4]}", tests="assert f() == expected and list(f()) == list(expected)"),
    "range": _returned("range(2, 20, 3)", tests="assert f() == expected and list(f()) == [2, 5, 8, 11, 14, 17]"),
    "empty range": _returned("range(0)"),
    "a range's members": ("def f(n): return range(n)", "assert 3 in f(5) and len(f(5)) == 5 and f(5)[-1] == 4"),
    "slice": _returned("slice(1, None, 2)"),
    "Ellipsis": ("def f(): return ...", "assert f() is ..."),
    "dict keys": ("def f(d): return d.keys()", "assert f({'a': 1, 'b': 2}) == {'a', 'b'}\nassert list(f({'b': 1, 'a': 2})) == ['b', 'a']"),
    "dict values": ("def f(d): return d.values()", "assert list(f({'a': 1, 'b': 1})) == [1, 1] and sum(f({1: 2})) == 2"),
    "dict items": ("def f(d): return d.items()", "assert f({'a': 1}) == {('a', 1)} and dict(f({1: [2]})) == {1: [2]}"),
    "OrderedDict": _returned("OrderedDict([(1, 2), (3, 4)])", imports="from collections import OrderedDict", tests="assert f() == expected and f() != OrderedDict([(3, 4), (1, 2)])"),
    "an OrderedDict's keys": _returned("OrderedDict(a=1, b=2).keys()", imports="from collections import OrderedDict"),
    "Counter": _returned("Counter('aab')", imports="from collections import Counter", tests="assert f() == expected and f().most_common(1) == [('a', 2)]"),
    "defaultdict": _returned("defaultdict(list, a=[1])", imports="from collections import defaultdict", tests="assert f() == expected == {'a': [1]} and f()['z'] == []"),
    "deque": _returned("deque([1, 2, 3], maxlen=5)", imports="from collections import deque", tests="d = f()\nassert d == expected and d.maxlen == 5\nd.rotate(1)\nassert list(d) == [3, 1, 2]"),
    "namedtuple": ("from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)", "assert f() == (1, 2) and f().x == 1 and f()._asdict() == {'x': 1, 'y': 2}"),
    "typing.NamedTuple": ("from typing import NamedTuple\nclass P(NamedTuple):\n  x: int\n  y: int = 2\ndef f(): return [P(1)]", "assert f()[0].y == 2 and f() == [(1, 2)]"),
    "array": _returned("array('d', [1.5, 2])", imports="from array import array"),
    "Decimal": _returned("Decimal('1.10')", imports="from decimal import Decimal", tests="assert f() == expected and str(f()) == '1.10' and f() + 1 == Decimal('2.1')"),
    "Decimal beside a float": ("from decimal import Decimal\ndef f(x): return Decimal(x) / 4", "assert f(1) == 0.25 and float(f(2)) == 0.5"),
    "Decimal infinity": _returned("Decimal('-Infinity')", imports="from decimal import Decimal"),
    "Fraction": _returned("Fraction(6, 4)", imports="from fractions import Fraction", tests="assert f() == expected == 1.5 and f().numerator == 3"),
    "fractions in a list": _returned("[Fraction(1, 3), Fraction(2)]", imports="from fractions import Fraction"),
    "date": _returned("date(2024, 2, 29)", imports="from datetime import date", tests="assert f() == expected and f().weekday() == 3 and f().isoformat() == '2024-02-29'"),
    "datetime": _returned("datetime(2024, 2, 29, 1, 2, 3, 4)", imports="from datetime import datetime"),
    "datetime in a zone": _returned("datetime(2024, 1, 1, tzinfo=timezone(timedelta(hours=2)))", imports="from datetime import datetime, timedelta, timezone"),
    "datetime in UTC": _returned("datetime(2024, 1, 1, tzinfo=timezone.utc)", imports="from datetime import datetime, timezone"),
    "time": _returned("time(1, 2, 3, fold=1)", imports="from datetime import time"),
    "timedelta": _returned("timedelta(days=-1, seconds=5)", imports="from datetime import timedelta", tests="assert f() == expected and f().total_seconds() == -86395"),
    "a date from a date": ("from datetime import timedelta\ndef f(d, n): return d + timedelta(days=n)", "from datetime import date\nassert f(date(2024, 2, 28), 2) == date(2024, 3, 1)"),
    "UUID": _returned("UUID(int=5)", imports="from uuid import UUID"),
    "path": _returned("Path('a') / 'b'", imports="from pathlib import Path"),
    "a type": ("def f(x): return type(x)", "assert f(1) is int and f('a') == str and f(None) is type(None)"),
    "an instance": (_POINT + "def f(x, y): return Point(x, y)", "p = f(1, 2)\nassert p.x == 1 and p.y == 2 and p.norm(2) == 5 and type(p).__name__ == 'Point'"),
    "instances that are equal": (_POINT + "def f(x): return Point(x)", "assert f(1) == f(1) and f(1) != f(2) and not f(1) == f(2)"),
    "instances in a set": (_POINT + "def f(x): return Point(x)", "assert len({f(1), f(1), f(2)}) == 2 and f(1) in [f(2), f(1)]"),
    "instances that are sorted": (_POINT + "def f(x): return Point(x)", "assert [p.x for p in sorted([f(3), f(1), f(2)])] == [1, 2, 3]"),
    "instances that are added": (_POINT + "def f(x): return Point(x, 1)", "assert (f(1) + f(2)).y == 2 and f(1) + f(2) != f(3)"),
    "an instance's text": (_POINT + "def f(x): return Point(x)", "assert str(f(1)) == repr(f(1)) == 'Point(1, 0)' and f'{f(2)}' == 'Point(2, 0)'"),
    "an instance that goes back": (_POINT + "def f(x): return x.norm() if isinstance(x, Point) else Point(x)", "assert f(f(3)) == 3"),
    "an instance that is changed": (_POINT + "def f(x): return Point(x)", "p = f(1)\np.x = 5\nassert p.norm() == 5 and not hasattr(p, 'z')"),
    "instances in a dict": (_POINT + "def f(x): return {'p': [Point(x)]}", "assert f(4)['p'][0].x == 4"),
    "a dataclass": ("from dataclasses import dataclass\n@dataclass\nclass P:\n  x: int\n  y: int = 2\ndef f(x): return P(x)", "assert f(1) == f(1) and f(1).y == 2 and str(f(1)) == 'P(x=1, y=2)'"),
    "an enum": ("from enum import Enum\nclass C(Enum):\n  RED = 1\ndef f(): return C.RED", "assert f().name == 'RED' and f().value == 1 and f() is f()"),
    "an enum of ints": ("from enum import IntEnum\nclass C(IntEnum):\n  RED = 1\ndef f(): return C.RED", "assert f() == 1"),
    "an instance with items": ("class V:\n  def __init__(s, i): s.i = i\n  def __len__(s): return len(s.i)\n  def __getitem__(s, k): return s.i[k]\n  def __iter__(s): return iter(s.i)\ndef f(*i): return V(i)", "assert len(f(1, 2)) == 2 and f(4, 5)[1] == 5 and list(f(1, 2)) == [1, 2] and not f() and 2 in f(1, 2)"),
    "an instance that is a number": ("class N:\n  def __init__(s, n): s.n = n\n  def __int__(s): return s.n\n  def __float__(s): return s.n + .5\n  def __abs__(s): return abs(s.n)\n  def __neg__(s): return N(-s.n)\ndef f(n): return N(n)", "assert int(f(2)) == 2 and float(f(2)) == 2.5 and abs(f(-3)) == 3 and int(-f(1)) == -1"),
    "a class": (_STACK, "s = f()\ns.push(1)\ns.push([2])\nassert len(s) == 2 and s.pop() == [2] and s[0] == 1\nassert f.of(7, 8).items == [7, 8]"),
    "a class with a context of its own": ("class f:\n  count = 0\n  def __init__(self): f.count += 1", "f()\nf()\nassert f.count == 2"),
    "a generator": ("def f(n):\n  for i in range(n): yield i * i", "assert list(f(4)) == [0, 1, 4, 9] and sum(f(3)) == 5"),
    "a generator without end": ("def f():\n  a, b = 0, 1\n  while True:\n    yield a\n    a, b = b, a + b", "from itertools import islice\nassert list(islice(f(), 7)) == [0, 1, 1, 2, 3, 5, 8]"),
    "a generator that is sent to": ("def f():\n  total = 0\n  while True:\n    total += (yield total) or 0", "g = f()\nnext(g)\nassert g.send(2) == 2 and g.send(3) == 5"),
    "a generator that returns": ("def f():\n  yield 1\n  return 2", "def all_of():\n  end = yield from f()\n  yield end\nassert list(all_of()) == [1, 2]"),
    "a generator that raises": ("def f():\n  yield 1\n  raise ValueError('two')", "g = f()\nassert next(g) == 1\ntry:\n  next(g)\n  assert False\nexcept ValueError as e:\n  assert str(e) == 'two'"),
    "a generator by its type": ("def f(): yield 1", "import inspect\nassert inspect.isgenerator(f()) and next(f()) == 1"),
    "map": ("def f(x): return map(abs, x)", "assert list(f([-1, 2])) == [1, 2]"),
    "zip": ("def f(a, b): return zip(a, b)", "assert dict(f('ab', [1, 2])) == {'a': 1, 'b': 2}"),
    "filter": ("def f(x): return filter(None, x)", "assert list(f([0, 1])) == [1]"),
    "reversed": ("def f(x): return reversed(x)", "assert list(f([1, 2])) == [2, 1]"),
    "enumerate": ("def f(x): return enumerate(x)", "for i, c in f('ab'):\n  assert 'ab'[i] == c"),
    "an iterator of its own": ("class I:\n  def __init__(s): s.n = 0\n  def __iter__(s): return s\n  def __next__(s):\n    s.n += 1\n    if s.n > 2: raise StopIteration\n    return s.n\ndef f(): return I()", "from collections.abc import Iterator\nassert list(f()) == [1, 2] and next(f()) == 1 and isinstance(f(), Iterator)"),
    "an iterator that is used up": (_ECHO, "it = f(iter([1, 2, 3]))\nassert next(it) == 1 and list(it) == [2, 3]"),
    "a closure": ("def f(n): return lambda x: x + n", "add = f(3)\nassert add(4) == 7 and f(1)(1) == 2 and callable(add)"),
    "a closure with state": ("def f():\n  n = 0\n  def count():\n    nonlocal n\n    n += 1\n    return n\n  return count", "c = f()\nassert [c(), c(), c()] == [1, 2, 3] and f()() == 1"),
    "closures in a list": ("def f(n): return [lambda x, i=i: x * i for i in range(n)]", "assert [g(2) for g in f(3)] == [0, 2, 4]"),
    "a closure that goes back": ("def f(g, x): return (lambda y: g + y) if isinstance(g, int) else g(x)", "assert f(f(1, None), 4) == 5"),
    "composed functions": ("def f(*fs):\n  def g(x):\n    for h in fs: x = h(x)\n    return x\n  return g", "assert f(lambda x: x + 1, str, lambda s: s * 2)(4) == '55'"),
    "a partial": ("from functools import partial\ndef f(n): return partial(pow, n)", "assert f(2)(5) == 32"),
    "a function's name": ("def f():\n  def inner(): pass\n  return inner", "assert f().__name__ == 'inner'"),
    "a decorator": ("import functools\ndef f(g):\n  @functools.wraps(g)\n  def h(*a, **k): return g(*a, **k) * 2\n  return h", "@f\ndef three(x, *, y=0): return 3 + x + y\nassert three(1) == 8 and three(1, y=2) == 12 and three.__name__ == 'three'"),
    "a curried function": ("def f(g):\n  n = g.__code__.co_argcount\n  def take(*a): return g(*a) if len(a) == n else lambda *b: take(*a, *b)\n  return take", "assert f(lambda a, b, c: a + b * c)(1)(2)(3) == 7"),
    "a builtin that the tests pass": ("def f(g, x): return g(x)", "import math, operator\nassert f(len, 'abc') == 3 and f(int, '7') == 7 and f(str.upper, 'a') == 'A' and f(math.sqrt, 4) == 2 and f(operator.neg, 1) == -1"),
    "a lambda that the tests pass": ("def f(g, xs): return [g(x) for x in xs]", "assert f(lambda x: x * x, [1, 2]) == [1, 4]"),
    "a lambda as a key": ("def f(xs, key): return sorted(xs, key=key)", "assert f(['bb', 'a'], key=lambda s: len(s)) == ['a', 'bb']"),
    "a lambda with state": ("def f(g):\n  for i in range(3): g(i)", "seen = []\nf(seen.append)\nassert seen == [0, 1, 2]"),
    "a lambda that raises": ("def f(g):\n  try: return g()\n  except ZeroDivisionError: return 'caught'", "assert f(lambda: 1 / 0) == 'caught'"),
    "a lambda whose exception comes back": ("def f(g): return g()", "try:\n  f(lambda: [][0])\n  assert False\nexcept IndexError: pass"),
    "a lambda that calls f": ("def f(n, g=None): return g(n) if g else n + 1", "assert f(1, lambda n: f(n) * 10) == 20"),
    "a lambda that comes back": (_ECHO, "g = lambda: 1\nassert f(g) is g"),
    "a lambda in a dict": ("def f(d): return d['g'](2)", "assert f({'g': lambda x: x + 1}) == 3"),
    "a predicate": ("def f(p, xs): return next((x for x in xs if p(x)), None)", "assert f(lambda x: x > 2, [1, 2, 3]) == 3 and f(bool, []) is None"),
    "a lambda called from threads": ("from concurrent.futures import ThreadPoolExecutor\ndef f(g, xs):\n  with ThreadPoolExecutor(4) as pool: return list(pool.map(g, xs))", "assert f(lambda x: x * 2, range(20)) == list(range(0, 40, 2))"),
    "an iterator that the tests pass": ("def f(it): return [next(it), next(it)]", "it = iter('abc')\nassert f(it) == ['a', 'b'] and list(it) == ['c']"),
    "a generator that the tests pass": ("def f(g): return sum(g)", "assert f(x * x for x in range(4)) == 14"),
    "an iterator without end": ("from itertools import islice\ndef f(it): return list(islice(it, 3))", "from itertools import count\nassert f(count(5)) == [5, 6, 7]"),
    "a list changed": ("def f(a): a.sort()", "a = [3, 1, 2]\nassert f(a) is None and a == [1, 2, 3]"),
    "a list emptied": ("def f(a): a.clear()", "a = [1]\nf(a)\nassert a == []"),
    "a list that is returned": ("def f(a):\n  a.append(1)\n  return a", "a = []\nassert f(a) is a and a == [1]"),
    "a matrix changed": ("def f(m):\n  for row in m: row.reverse()", "m = [[1, 2], [3, 4]]\nfirst = m[0]\nf(m)\nassert m == [[2, 1], [4, 3]] and m[0] is first"),
    "rows that change places": ("def f(m): m.sort()", "one, two = [2], [1]\nm = [one, two]\nf(m)\nassert m[0] is two and m[1] is one and one == [2]"),
    "one row thrice": ("def f(m): m[0][0] = 9", "m = [[0]] * 3\nf(m)\nassert m == [[9], [9], [9]]"),
    "a list within itself": ("def f(a): a.append(a)", "a = []\nf(a)\nassert a[0] is a"),
    "a dict changed": ("def f(d): d['b'] = d.pop('a')", "d = {'a': 1}\nf(d)\nassert d == {'b': 1}"),
    "a dict within a dict": ("def f(d): d['x'].setdefault('y', []).append(1)", "d = {'x': {}}\nf(d)\nf(d)\nassert d == {'x': {'y': [1, 1]}}"),
    "a set changed": ("def f(s): s |= {3}", "s = {1}\nf(s)\nassert s == {1, 3}"),
    "a bytearray changed": ("def f(b): b[0] = 65", "b = bytearray(b'zz')\nf(b)\nassert b == b'Az'"),
    "a deque changed": ("def f(d): d.appendleft(0)", "from collections import deque\nd = deque([1])\nf(d)\nassert list(d) == [0, 1]"),
    "a Counter changed": ("def f(c): c['a'] += 2", "from collections import Counter\nc = Counter('a')\nf(c)\nassert c == {'a': 3}"),
    "changed by keyword": ("def f(*, out): out.append(1)", "a = []\nf(out=a)\nassert a == [1]"),
    "changed before an exception": ("def f(a):\n  a.append(1)\n  raise ValueError", "a = []\ntry: f(a)\nexcept ValueError: pass\nassert a == [1]"),
    "a default that is kept": ("def f(x, a=[]):\n  a.append(x)\n  return a", "f(1)\nassert f(2) == [1, 2]"),
    "an exception": ("def f(x): raise ValueError(f'no {x}')", "try:\n  f(1)\n  raise SystemExit('none')\nexcept ValueError as e:\n  assert e.args == ('no 1',)"),
    "an exception of its own": ("class E(LookupError): pass\ndef f(): raise E", "try:\n  f()\n  assert False\nexcept LookupError: pass"),
    "an assertion": ("def f(x): assert x > 0, 'positive'", "try: f(0)\nexcept AssertionError as e: caught = str(e)\nassert caught == 'positive'\nf(1)"),
    "an exception in a with": ("def f(): raise KeyError('k')", "import contextlib\ncaught = True\nwith contextlib.suppress(KeyError):\n  f()\n  caught = False\nassert caught"),
    "unittest's assertions": ("def f(x):\n  if x < 0: raise ValueError\n  return x", "import unittest\nt = unittest.TestCase()\nt.assertEqual(f(1), 1)\nwith t.assertRaises(ValueError): f(-1)\nt.assertRaises(ValueError, f, -2)"),
    "a coroutine": ("import asyncio\nasync def f(x):\n  await asyncio.sleep(0)\n  return x + 1", "import asyncio\nassert asyncio.run(f(1)) == 2"),
    "a byte order mark": ("\ufeffdef f(): return 1", "assert f() == 1"),
    "carriage returns": ("def f(x):\r\n    return x\r\n", "assert f(1) == 1"),
    "a form feed and tabs": ("\x0cdef f(x):\n\treturn x\n", "assert f(1) == 1"),
    "a lambda by name": ("f = lambda x: x + 1", "assert f(1) == 2"),
    "a cached function": ("import functools\n@functools.cache\ndef f(n): return n if n < 2 else f(n - 1) + f(n - 2)", "assert f(80) == 23416728348467685"),
    "a callable instance": ("class C:\n  def __call__(self, x): return x * 2\nf = C()", "assert f(4) == 8"),
    "deep recursion": ("import sys\nsys.setrecursionlimit(5000)\ndef f(n): return n and 1 + f(n - 1)", "assert f(3000) == 3000"),
    "a nested list": ("def f(n):\n  a = []\n  for _ in range(n): a = [a]\n  return a", "a = f(60)\nfor _ in range(60): (a,) = a\nassert a == []"),
    "tests that exit": (_ECHO, "import sys\nif f(1) != 1: sys.exit(1)\nsys.exit(0)"),
    "numpy beside a result": ("def f(x): return [i / 3 for i in x]", "import numpy as np\nnp.testing.assert_allclose(f([1, 2]), [1 / 3, 2 / 3])"),
}  # fmt: skip
