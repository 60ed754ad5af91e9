"""``python -m benchmarks.attack.attacker``: one attack, in a process of its own."""

from __future__ import annotations

import argparse
import os
import sys
import time

from benchmarks.attack.cases import case_named
from benchmarks.attack.wire import Target
from equipment.processes.lines import say

__all__ = ("main",)


def main() -> None:
    """Runs it, and writes what came of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--case", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--multicast-port", type=int, required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    options = parser.parse_args()
    if hasattr(os, "nice"):
        os.nice(10)  # attackers are on machines of their own: they must not take the bot's time
    case = case_named(options.case)
    say({})
    sys.stdin.readline()
    until = time.monotonic() + options.seconds
    target = Target(options.port, options.multicast_port, options.key, until)
    case.attack(target)
    say({"counts": dict(target.counts), "faults": target.faults})
    sys.stdin.readline()
    os._exit(0)  # with its threads, and with its connections


if __name__ == "__main__":
    main()
