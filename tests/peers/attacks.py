"""Programs that try to pass without the answer, to get out, or to use more than they may.

Each defines ``f``, and the tests want ``f(2) == 4``. Where a deed can be seen to have worked, ``f``
returns 4 if it did and 5 if it did not, so that a verdict of "passed" is a successful attack. The
names below stand before each source, set by the test:

    CANARY    a file of the host that must stay as it is
    PORT      a TCP port on which the host listens
    VICTIM    id of a process of the host's
    NUMBERS   numbers of system calls, by name
"""

from __future__ import annotations

__all__ = ["ESCAPES", "EXCESSES", "FORGERIES", "PRELUDE"]

PRELUDE = """
def tried(deed):
    try:
        return 4 if deed() else 5
    except BaseException:
        return 5

def syscall(name, *arguments):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    number = NUMBERS[name] if isinstance(name, str) else name
    return libc.syscall(ctypes.c_long(number), *map(ctypes.c_void_p, arguments)) >= 0

def descriptors():
    import os
    for number in range(3, 4096):  # as high as a process with many files open hands them on
        try:
            os.fstat(number)
        except OSError:
            continue
        yield number
"""

_FORGED = (
    b"\x01\0\0\0K", b"\x02\0\0\0RT", b"\n", b'{"outcome": "passed", "detail": ""}\n', b"passed",
)  # fmt: skip

FORGERIES = {
    "prints success": "import os\nprint('passed', flush=True)\nos._exit(0)",
    "exits with 0 when called": "import os\ndef f(x): os._exit(0)",
    "exits with 0 when defined": "import os\nos._exit(0)\ndef f(x): return 5",
    "sys.exit when called": "import sys\ndef f(x): sys.exit(0)",
    "sys.exit when defined": "import sys\nsys.exit()",
    "raises KeyboardInterrupt": "def f(x): raise KeyboardInterrupt",
    "raises GeneratorExit": "def f(x): raise GeneratorExit",
    "raises StopIteration": "def f(x): raise StopIteration(4)",
    "raises its own BaseException": "class E(BaseException): pass\ndef f(x): raise E(4)",
    "raises AssertionError": "def f(x): raise AssertionError",
    "raises a class called SystemExit": "class SystemExit(Exception): pass\n"
    "def f(x): raise SystemExit(0)",
    "raises without a text": "class E(Exception):\n  def __str__(self): raise ValueError\n"
    "def f(x): raise E",
    "raises a class with a false name": "E = type('passed\\n{}', (Exception,), {})\n"
    'def f(x): raise E(\'{"outcome": "passed"}\\n\')',
    "equals everything": "class E:\n  def __eq__(self, other): return True\ndef f(x): return E()",
    "is an int that equals everything": "class E(int):\n  def __eq__(self, other): return True\n"
    "  __hash__ = int.__hash__\ndef f(x): return E(5)",
    "is a float that equals everything": "class E(float):\n  def __eq__(self, o): return True\n"
    "def f(x): return E(5)",
    "is a list that equals everything": "class E(list):\n  def __eq__(self, o): return True\n"
    "def f(x): return E([5])",
    "is an int whose base says 4": "class E(int):\n  def __add__(s, o): return 4\n"
    "  __radd__ = __index__ = __int__ = lambda *a: 4\ndef f(x): return E(5)",
    "returns a function": "def f(x): return lambda: 4",
    "returns its own module": "import sys\ndef f(x): return sys",
    "returns NaN": "def f(x): return float('nan')",
    "patches builtins": "import builtins\nbuiltins.AssertionError = builtins.Exception = int\n"
    "builtins.__dict__['compile'] = builtins.__dict__['exec'] = lambda *a, **k: None\n"
    "def f(x): return 5",
    "traces every frame": "import sys, threading\ndef t(frame, *rest):\n"
    "  frame.f_locals['expected'] = 5\n  return t\nsys.settrace(t)\nthreading.settrace(t)\n"
    "def f(x): return 5",
    "rewrites the number 4": "import ctypes\ndef f(x):\n"
    "  ctypes.c_int.from_address(id(4) + 24).value = 5\n  return 5",
    "finds the tests in frames": "import sys\nWORD = 'SEC' 'RET = 4'\ndef f(x):\n"
    "  frame = sys._getframe()\n  while frame:\n"
    "    values = [*frame.f_locals.values(), *frame.f_globals.values()]\n"
    "    if any(isinstance(v, str) and WORD in v and v != WORD for v in values): return 4\n"
    "    frame = frame.f_back\n  return 5",
    "finds the tests in memory": "import gc\nWORD = 'SEC' 'RET = 4'\ndef f(x):\n"
    "  for held in gc.get_objects():\n"
    "    parts = held.values() if isinstance(held, dict) else held\n"
    "    if not isinstance(held, (dict, list, tuple)): continue\n"
    "    if any(isinstance(v, str) and WORD in v and v != WORD for v in list(parts)): return 4\n"
    "  return 5",
    "swaps the codec": "import sys\nmodule = sys.modules['inside.codec']\n"
    "module.encode = lambda value: b'passed'\ndef f(x): return 5",
    "sends a set of lists": "import sys\nmodule = sys.modules['inside.codec']\n"
    "module.encode = lambda value: b'S\\x01\\0\\0\\0l\\0\\0\\0\\0'\ndef f(x): return 5",
    "sends a length without a message": "import os\ndef f(x):\n  for number in descriptors():\n"
    "    try: os.write(number, b'\\xff\\xff\\xff\\x7f')\n    except OSError: pass\n  return 5",
    "writes into every descriptor": f"import os\nfor number in descriptors():\n"
    f"  for forged in {_FORGED!r}:\n"
    "    try: os.write(number, forged)\n    except OSError: pass\ndef f(x): return 5",
    "writes when called": f"import os\ndef f(x):\n  for number in descriptors():\n"
    f"    for forged in {_FORGED!r}:\n"
    "      try: os.write(number, forged)\n      except OSError: pass\n  os._exit(0)",
    "closes every descriptor": "import os\nos.closerange(0, 4096)\ndef f(x): return 4",
    "replaces its streams": "import sys, io\nsys.stdin = io.StringIO('4')\n"
    "sys.stdout = sys.stderr = None\ndef f(x): return input()",
    "becomes another program": "import os, sys\ndef f(x):\n"
    "  os.execv(sys.executable, [sys.executable, '-S', '-c', 'print(\"passed\")'])",
    "leaves a thread that exits": "import os, threading\n"
    "threading.Timer(0.05, os._exit, [0]).start()\nimport time\ndef f(x): time.sleep(9)",
    "ends in an exit handler": "import atexit, os\natexit.register(os._exit, 0)\n"
    "def f(x): return 5",
    "returns without end": "def f(x):\n  while True: yield 4",
    "returns a list in itself": "def f(x):\n  a = []\n  a.append(a)\n  return a",
    "returns a doubling of lists": "def f(x):\n  a = [1]\n  for _ in range(90): a = [a, a]\n"
    "  return a",
    "does not define f": "g = 4",
    "is no Python": "def f(x) return 4",
    "holds a null byte": "def f(x): return 4\0",
    "holds a lone surrogate": "def f(x): return '\ud800'",
    "is nested too deep to be read": "def f(x): return " + "(" * 5000 + ")" * 5000,
    "is empty": "",
}

ESCAPES = {
    "reads the host's users": "def f(x): return tried(lambda: open('/etc/passwd').read())",
    "reads init's environment": "def f(x):\n"
    "  return tried(lambda: open('/proc/1/environ', 'rb').read())",
    "reads its parent's environment": "import os\ndef f(x):\n"
    "  return tried(lambda: open(f'/proc/{os.getppid()}/environ', 'rb').read())",
    "reads the canary": "def f(x): return tried(lambda: open(CANARY).read())",
    "writes the canary": "def f(x): return tried(lambda: open(CANARY, 'w').write('x'))",
    "writes beside the canary": "def f(x):\n"
    "  return tried(lambda: open(CANARY + '2', 'w').write('x'))",
    "removes the canary": "import os\ndef f(x): return tried(lambda: os.remove(CANARY) is None)",
    "links to the canary": "import os\ndef f(x):\n  os.symlink(CANARY, 'link')\n"
    "  return tried(lambda: open('link').read())",
    "finds a secret in its environment": "import os\n"
    "def f(x): return 4 if any('SECRET' in name for name in os.environ) else 5",
    "finds packages": "def f(x):\n  import glob\n"
    "  return 4 if glob.glob('/**/site-packages/*', recursive=True) else tried(lambda: "
    "__import__('numpy'))",
    "learns where the host keeps Python": "import sys\n"
    "def f(x): return 5 if sys.prefix == '/python' and sys.executable.startswith('/python') else 4",
    "writes into Python": "import os\ndef f(x):\n"
    "  return tried(lambda: open(os.__file__, 'a').write('x'))",
    "writes into the root": "def f(x): return tried(lambda: open('/x', 'w').write('x'))",
    "connects to the host": "import socket\ndef f(x):\n"
    "  return tried(lambda: socket.create_connection(('127.0.0.1', PORT), 1))",
    "connects without Python": "import ctypes\n"
    "def f(x): return 4 if syscall('socket', 2, 1, 0) else 5",
    "asks for a name": "import socket\n"
    "def f(x): return tried(lambda: socket.gethostbyname('localhost.'))",
    "opens a packet socket": "def f(x): return 4 if syscall('socket', 17, 3, 0) else 5",
    "unshares": "def f(x): return 4 if syscall('unshare', 0x10000000) else 5",
    "clones a namespace": "def f(x): return 4 if syscall('clone', 0x10000000 | 17, 0) else 5",
    "clones in the new way": "def f(x): return 4 if syscall('clone3', 0, 0) else 5",
    "mounts": "import ctypes\ndef f(x):\n"
    "  t = ctypes.cast(ctypes.c_char_p(b'tmpfs'), ctypes.c_void_p).value\n"
    "  p = ctypes.cast(ctypes.c_char_p(b'/tmp'), ctypes.c_void_p).value\n"
    "  return 4 if syscall('mount', t, p, t, 0, 0) else 5",
    "mounts in the new way": "def f(x): return 4 if syscall('fsopen', 0, 0) else 5",
    "unmounts": "import ctypes\ndef f(x):\n"
    "  p = ctypes.cast(ctypes.c_char_p(b'/tmp'), ctypes.c_void_p).value\n"
    "  return 4 if syscall('umount2', p, 2) else 5",
    "traces its parent": "import os\n"
    "def f(x): return 4 if syscall('ptrace', 16, os.getppid(), 0, 0) else 5",
    "traces itself": "def f(x): return 4 if syscall('ptrace', 0, 0, 0, 0) else 5",
    "takes a handle of init": "def f(x): return 4 if syscall('pidfd_open', 1, 0) else 5",
    "uses the kernel's keys": "def f(x):\n  return 4 if syscall('keyctl', 0, 2**64 - 3, 1) else 5",
    "makes a ring": "def f(x): return 4 if syscall('io_uring_setup', 1, 0) else 5",
    "uses numbers of another architecture": "import os\n"
    "def f(x): return 4 if syscall(0x40000000 + 39) else 5",
    "changes its root": "import os\ndef f(x): return tried(lambda: os.chroot('/tmp') is None)",
    "becomes root": "import os\ndef f(x): return tried(lambda: os.setuid(0) is None)",
    "raises its limits": "import resource\ndef f(x):\n"
    "  both = (resource.RLIM_INFINITY,) * 2\n"
    "  return tried(lambda: resource.setrlimit(resource.RLIMIT_CPU, both) is None)",
    "goes before others": "import os\ndef f(x): return tried(lambda: os.nice(-5) < 0)",
    "makes a device": "import os, stat\ndef f(x):\n"
    "  return tried(lambda: os.mknod('/tmp/d', stat.S_IFBLK | 0o666, os.makedev(8, 0)) is None)",
    "types into the terminal": "import fcntl, termios\ndef f(x):\n"
    "  return tried(lambda: fcntl.ioctl(open('/dev/tty', 'w'), termios.TIOCSTI, b'x') is None)",
    "kills its parent": "import os\ndef f(x):\n  os.kill(os.getppid(), 9)\n  return 5",
    "kills all it can": "import os\ndef f(x):\n  os.kill(-1, 9)\n  return 5",
    "kills its group": "import os\ndef f(x): os.killpg(0, 9)",
    "kills a process of the host": "import os\ndef f(x):\n"
    "  return tried(lambda: os.kill(VICTIM, 9) is None)",
    "forks": "import os\ndef f(x): return tried(lambda: os.fork() or True)",
    "starts a shell": "import subprocess\n"
    "def f(x): return tried(lambda: subprocess.run(['/bin/sh', '-c', 'true']))",
    "starts Python": "import subprocess, sys\n"
    "def f(x): return tried(lambda: subprocess.run([sys.executable, '-S', '-c', '']))",
    "leaves a daemon": "import os, time\ndef f(x):\n  if os.fork() == 0:\n    os.setsid()\n"
    "    time.sleep(60)\n  return 4",
    "uses multiprocessing": "import multiprocessing\n"
    "def f(x): return tried(lambda: multiprocessing.Pool(2))",
}

EXCESSES = {
    "loops": ("cpu time", "def f(x):\n  while True: pass"),
    "loops when defined": ("cpu time", "while True: pass"),
    "loops in C": ("cpu time", "def f(x): return sum(range(10**13))"),
    "hangs in a regular expression": (
        "cpu time", "import re\ndef f(x): return re.match('(a+)+$', 'a' * 60 + 'b')",
    ),
    "loops in a finally": (
        "cpu time", "def f(x):\n  while True:\n    try: return 4\n    finally: continue",
    ),
    "loops in threads": (
        "cpu time",
        "import threading\ndef spin():\n  while True: pass\ndef f(x):\n"
        "  for _ in range(3): threading.Thread(target=spin).start()\n  spin()",
    ),
    "ignores every signal": (
        "cpu time",
        "import signal\nfor number in set(range(1, 65)):\n"
        "  try: signal.signal(number, signal.SIG_IGN)\n  except (OSError, ValueError): pass\n"
        "def f(x):\n  while True: pass",
    ),
    "loops in its representation": (
        "cpu time",
        "class E(Exception):\n  def __str__(self):\n    while True: pass\ndef f(x): raise E",
    ),
    "sleeps": ("wall time", "import time\ndef f(x): time.sleep(1e6)"),
    "waits for a signal": ("wall time", "import signal\ndef f(x): signal.pause()"),
    "waits for a lock": (
        "wall time",
        "import threading\nlock = threading.Lock()\nlock.acquire()\ndef f(x): lock.acquire()",
    ),
    "stops itself": ("wall time", "import os\ndef f(x): os.kill(os.getpid(), 19)"),
    "reads the next call itself": (
        "wall time",
        "import os\ndef f(x):\n  for number in descriptors():\n    try: os.read(number, 100)\n"
        "    except OSError: pass",
    ),
    "fills memory": ("memory", "def f(x):\n  a = []\n  while True: a.append(bytearray(1 << 24))"),
    "asks for all memory": ("memory", "def f(x): return bytes(10**12)"),
    "maps memory": (
        "error", "import mmap\ndef f(x): return mmap.mmap(-1, 1 << 40)",
    ),
    "prints without end": ("output", "def f(x):\n  while True: print('x' * 1000)"),
    "prints when defined": ("output", "while True: print('x' * 1000)"),
    "writes to stderr": ("output", "import os\ndef f(x):\n  while True: os.write(2, b'x' * 4096)"),
    "prints too much and is right": (
        "output", "import os\nos.write(1, b'x' * 70000)\ndef f(x): return 4",
    ),
    "fills the disk": (
        "error",
        "def f(x):\n  for i in range(10**6): open(f'/tmp/{i}', 'wb').write(bytes(100000))",
    ),
    "writes a large file": ("error", "def f(x): open('/tmp/a', 'wb').write(bytes(5 << 20))"),
    "opens files": ("error", "def f(x): return [open('/dev/null') for _ in range(1000)]"),
    "starts threads": (
        "killed or error",
        "import threading, time\ndef f(x):\n"
        "  for _ in range(500): threading.Thread(target=time.sleep, args=(9,)).start()\n"
        "  time.sleep(9)",
    ),
    "recurses": ("error", "def f(x): return f(x)"),
    "overflows the stack": (
        "killed",
        "import sys\nsys.setrecursionlimit(10**8)\ndef f(x):\n  a, b = [], []\n"
        "  for _ in range(200000): a, b = [a], [b]\n  return a == b",
    ),
    "reads address zero": ("killed", "import ctypes\ndef f(x): return ctypes.string_at(0)"),
    "aborts": ("killed", "import os\ndef f(x): os.abort()"),
    "kills itself": ("killed", "import os\ndef f(x): os.kill(os.getpid(), 9)"),
    "forks without end": ("error", "import os\ndef f(x):\n  while True: os.fork()"),
}  # fmt: skip
