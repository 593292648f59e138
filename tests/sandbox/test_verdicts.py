"""Right and wrong programs and their verdicts. Oracle: what Python does with the same solution and
tests in one process, and for limits the limit that each program is written to exceed."""

from __future__ import annotations

from pathlib import Path

import pytest

from bitloss.errors import SandboxError
from bitloss.sandbox import Bubblewrap, Program

ECHO = "def f(*args, **kwargs):\n  return args[0] if args else kwargs\n"

RIGHT = {
    "calls it": ("def f(x): return x + 1", "assert f(1) == 2"),
    "keywords": ("def f(a, *, b=1): return a - b", "assert f(5, b=3) == 2"),
    "check(candidate)": ("def f(x): return x", "def check(c):\n  assert c(1) == 1\ncheck(f)"),
    "a builtin exception": (
        "def f(x): raise ValueError('no ' + x)",
        "try:\n  f('x')\nexcept ValueError as error:\n  assert error.args == ('no x',)\n"
        "else:\n  assert False",
    ),
    "an exception of its own": (
        "class Mine(KeyError): pass\ndef f(x): raise Mine(x)",
        "try:\n  f('x')\nexcept KeyError as error:\n  assert str(error) == \"'x'\"\n"
        "else:\n  assert False",
    ),
    "its arguments are the tests' own": (
        "def f(x):\n  x.append(1)\n  return x",
        "a = []\nassert f(a) is a and a == [1]\nassert f(a) == [1, 1]",
    ),
    "state between calls": (
        "n = 0\ndef f():\n  global n\n  n += 1\n  return n", "f()\nassert f() == 2",
    ),
    "a generator": ("def f(n):\n  yield from range(n)", "assert tuple(f(3)) == (0, 1, 2)"),
    "a named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x')\ndef f(): return P(1)",
        "assert f() == (1,)",
    ),
    "a counter": ("from collections import Counter\ndef f(s): return Counter(s)",
                  "assert f('aa') == {'a': 2}"),
    "not a number": ("def f(): return float('nan')", "assert f() != f()"),
    "a large integer": ("def f(): return 7 ** 9999", "assert f() == 7 ** 9999"),
    "a large list": (ECHO, "a = list(range(200000))\nassert f(a) == a"),
    "many strings": (ECHO, "a = [str(i) for i in range(50000)]\nassert f(a) == a"),
    "surrogates": (ECHO, "assert f('\\ud800\\udc00') == '\\ud800\\udc00'"),
    "dataclasses": (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\n"
        "class P:\n  x: int = 1\ndef f(): return P().x", "assert f() == 1",
    ),
    "threads": (
        "from concurrent.futures import ThreadPoolExecutor\ndef f(n):\n"
        "  with ThreadPoolExecutor(4) as pool: return sum(pool.map(abs, range(n)))",
        "assert f(10) == 45",
    ),
    "files of its own": (
        "def f(x):\n  with open('a', 'w') as a: a.write(x)\n  return open('/tmp/a').read()",
        "assert f('x') == 'x'",
    ),
    "hashes": ("import hashlib\ndef f(s): return hashlib.md5(s.encode()).hexdigest()",
               "assert f('') == 'd41d8cd98f00b204e9800998ecf8427e'"),
    "an event loop": ("import asyncio\nasync def g(): return 4\ndef f(): return asyncio.run(g())",
                      "assert f() == 4"),
    "prints": ("def f(x):\n  print(x)\n  return x", "assert f(1) == 1"),
    "its main part does not run": (
        "def f(): return 1\nif __name__ == '__main__':\n  raise SystemExit", "assert f() == 1",
    ),
    "numpy in the tests": ("def f(x): return [i / 3 for i in x]",
                           "import numpy as np\nassert np.allclose(f([1, 2]), [1 / 3, 2 / 3])"),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_programs_pass(sandbox: Bubblewrap, name: str) -> None:
    solution, tests = RIGHT[name]
    verdict = sandbox.run(Program(solution, "f", tests))
    assert verdict.passed, verdict
    assert (verdict.reason, verdict.detail) == ("passed", "")
    assert 0 < verdict.cpu_seconds < 5


@pytest.mark.parametrize(
    ("solution", "tests", "reason", "detail"),
    [
        ("def f(x): return 3", "assert f(1) == 4, 'four'", "wrong", "AssertionError: four"),
        ("def f(x): return 3", "x = 1\nassert f(x) == 4", "wrong",
         "AssertionError: assert f(x) == 4"),
        ("def f(x): raise AssertionError('mine')", "assert f(1) == 4", "error",
         "AssertionError: mine"),
        ("def f(x): return x.y", "assert f(1) == 4", "error",
         "AttributeError: 'int' object has no attribute 'y'"),
        ("def f(x): return None", "assert abs(f(1)) < 4", "error",
         "TypeError: bad operand type for abs(): 'NoneType'"),
        ("import numpy\ndef f(x): return 4", "assert f(1) == 4", "error",
         "ModuleNotFoundError: No module named 'numpy'"),
        ("def f(x):\nreturn 4", "assert f(1) == 4", "syntax",
         "IndentationError: expected an indented block after function definition on line 1 "
         "(<solution>, line 2)"),
        ("raise ValueError('\\n\\x1b[31m')", "assert f(1) == 4", "error", "ValueError:   [31m"),
    ],
)  # fmt: skip
def test_wrong_programs_say_why(
    sandbox: Bubblewrap, solution: str, tests: str, reason: str, detail: str
) -> None:
    verdict = sandbox.run(Program(solution, "f", tests))
    assert (verdict.passed, verdict.reason, verdict.detail) == (False, reason, detail)


def test_support_is_the_tests_own(sandbox: Bubblewrap) -> None:
    """Helpers come from the support; the function from the solution, where both define it."""
    support = "def double(x): return 2 * x\ndef f(x):\n  '''To be written.'''\n"
    program = Program(
        "def double(x): return 0\ndef f(x): return x", "f", "assert double(f(2)) == 4", support
    )
    assert sandbox.run(program).passed


def test_a_value_that_the_tests_cannot_end_on(bwrap: Path) -> None:
    """They spin on what the solution returned: its fault, though the time is theirs."""
    short = Bubblewrap(bwrap, tests_seconds=0.3)
    program = Program("def f(): return 10**12", "f", "assert sum(range(f())) == 0")
    verdict = short.run(program)
    assert (verdict.reason, verdict.passed) == ("cpu time", False)
    assert "the tests took" in verdict.detail
    with pytest.raises(SandboxError, match="called nothing"):
        short.run(Program("def f(): return 1", "f", "sum(range(10**12))"))
    short.close()


def test_a_value_that_is_too_much_for_the_tests(sandbox: Bubblewrap) -> None:
    verdict = sandbox.run(Program("def f(): return 10**11", "f", "assert bytes(f()) == b''"))
    assert (verdict.reason, verdict.passed) == ("memory", False)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        ("assert g(1) == 1", "NameError"), ("import no_such_module", "ModuleNotFoundError"),
        ("def", "SyntaxError"), ("f(object())", "type object"), ("pass", "without a call of `f`"),
        ("def check(c):\n  assert c(1) == 2", "any program passes"),
        ("import os\nos._exit(0)", "without a verdict"),
    ],
)  # fmt: skip
def test_tests_that_cannot_run_are_no_verdict(sandbox: Bubblewrap, tests: str, said: str) -> None:
    with pytest.raises(SandboxError, match=said):
        sandbox.run(Program("def f(x): return x", "f", tests))


def test_tests_that_end_on_an_answer_fail_it(sandbox: Bubblewrap) -> None:
    """The run goes on: what a solution returned may be more than the tests' process can hold."""
    verdict = sandbox.run(Program("def f(x): return x", "f", "import os\nf(1)\nos._exit(0)"))
    assert (verdict.passed, verdict.reason) == (False, "error")


def test_tests_that_catch_everything_do_not_pass_on_a_dead_solution(sandbox: Bubblewrap) -> None:
    tests = "try:\n  f()\nexcept BaseException:\n  pass\n"
    assert sandbox.run(Program("import os\ndef f(): os._exit(0)", "f", tests)).reason == "killed"
