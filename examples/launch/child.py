"""Run a module as a part of the demo: ``python child.py [--without MODULE]... MODULE [ARGUMENT]...``.

The module is one of the folder above, such as ``bot``. It ends, as by Ctrl-C, once its standard input closes.
Unlike signals this works the same on every system, and even if the launcher was killed: no part of the demo is
left behind. ``--without`` makes a module impossible to import, as it is where it is not installed.
"""

import _thread
import argparse
import os
import runpy
import signal
import sys
import threading
from pathlib import Path


def end_with_stdin() -> None:
    # Not sys.stdin.read(): a thread inside it holds a lock that Python needs when it ends by itself.
    while os.read(sys.stdin.fileno(), 4096):
        pass
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        # The signal itself, since it also wakes an event loop that waits for its sockets.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--without", action="append", default=[], metavar="MODULE")
    parser.add_argument("module")
    parser.add_argument("arguments", nargs=argparse.REMAINDER)
    options = parser.parse_args()

    for name in options.without:
        sys.modules[name] = None  # type: ignore[assignment]  # Python's own way to say: never import this
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    threading.Thread(target=end_with_stdin, daemon=True).start()
    sys.argv[1:] = options.arguments
    runpy.run_module(options.module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
